"""Pictures that fit into what room a page has: steps of quality, and their encoding."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable
from typing import TypeVar

from PIL import Image

Step = TypeVar("Step")
Drawn = TypeVar("Drawn")


def first_fitting(
    ladder: Iterable[Step],
    draw: Callable[[Step], Drawn],
    characters: Callable[[Drawn], int],
    room: int,
) -> Drawn | None:
    """What the first step gives that fits; None where none does.

    Args:
        ladder: From the best to the smallest.
        draw: Draws one step.
        characters: How much of the page that takes.
        room: Characters there are.
    """
    for step in ladder:
        drawn = draw(step)
        if characters(drawn) <= room:
            return drawn
    return None


def webp(image: Image.Image, width: int, height: int, quality: int) -> str:
    """A picture as the `src` of an element, made smaller where it is larger than allowed.

    Args:
        image: Grey or RGB.
        width: Pixels at most.
        height: Pixels at most.
        quality: Of the compression, in [0, 100].
    """
    image.thumbnail((width, height), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, format="webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
