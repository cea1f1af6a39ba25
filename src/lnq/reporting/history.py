"""How the pseudo labels grew: the pictures that training drew of them every few epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from lnq.reporting.fitting import first_fitting, webp
from lnq.reporting.runs import Run

_LADDER = ((24, 1200), (16, 1000), (8, 800), (4, 640))
"""Pictures of a run, and their width in pixels, at most; the first that fits is taken."""
_QUALITY = 80


@dataclass(frozen=True)
class History:
    """Pictures of one run in the order of the epochs.

    Attributes:
        run: Place of the run in the report.
        frames: Name and `src` of each.
        words: How many of how many are shown, and which could not be read.
    """

    run: int
    frames: list[tuple[str, str]]
    words: str


def histories(runs: Sequence[Run], room: int) -> list[History]:
    """The pictures of all runs that have any, each run with an even share of the room.

    Args:
        runs: In the order of the page.
        room: Characters of the page.
    """
    with_panels = [number for number, run in enumerate(runs) if run.panels]
    return [_history(n, runs[n].panels, room // len(with_panels)) for n in with_panels]


def _history(number: int, paths: Sequence[Path], room: int) -> History:
    frames, broken = first_fitting(
        _LADDER,
        lambda step: _frames(paths, *step),
        lambda drawn: sum(len(source) for _, source in drawn[0]),
        room,
    ) or ([], [])
    words = f"{len(frames)} of {len(paths)} pictures"
    if broken:
        words += f"; not readable: {', '.join(broken)}"
    return History(number, frames, words)


def _frames(
    paths: Sequence[Path], count: int, width: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """The first, the last and others at even distances."""
    places = np.linspace(0, len(paths) - 1, min(count, len(paths))).round().astype(int)
    frames, broken = [], []
    for path in (paths[place] for place in places):
        try:
            frames.append((path.stem.replace("=", " "), _encoded(path, width)))
        except (OSError, SyntaxError, Image.DecompressionBombError):  # a broken PNG is the second
            broken.append(path.name)
    return frames, broken


def _encoded(path: Path, width: int) -> str:
    with Image.open(path) as picture:
        return webp(picture.convert("RGB"), width, 4 * width, _QUALITY)
