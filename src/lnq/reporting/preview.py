"""One picture of what was found in a scan: the axial slice through its largest node."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from contourpy import contour_generator
from PIL import Image, ImageDraw, ImageFont

from lnq.box import Box
from lnq.errors import RunError
from lnq.files import atomic_path
from lnq.reporting.scenes import LINES
from lnq.reporting.slices import WINDOW_HU
from lnq.volume import Array, Mask, Volume, components, reorient

LONGER_SIDE = 768
"""Pixels of a picture."""
_LETTER = 24


def write_preview(scan: Volume, mask: Volume, path: Path) -> None:
    """Draws a scan's preview into a PNG file.

    Args:
        scan: HU.
        mask: 0 and 1 on the same grid.
        path: Where to.

    Raises:
        RunError: The file cannot be written.
    """
    picture = draw_preview(scan, mask)
    try:
        with atomic_path(path) as temporary:
            picture.save(temporary)
    except OSError as error:
        raise RunError(
            "cannot write a picture", where=path, why=error.strerror or str(error),
            remedy="free space, or leave the pictures out with previews=false",
        ) from error  # fmt: skip


def draw_preview(scan: Volume, mask: Volume) -> Image.Image:
    """The axial slice in which the largest node is largest, every node in it outlined.

    Without a node it is the middle slice. The patient's right is on the left, the front above.

    Args:
        scan: HU, stored in any orientation.
        mask: 0 and 1 on the same grid.
    """
    upright, marked = reorient(scan), reorient(mask).array > 0
    number = shown_slice(marked)
    _, *steps = upright.grid.spacing_mm
    lengths = [size * step for size, step in zip(marked.shape[1:], steps, strict=True)]
    pixels_per_mm = LONGER_SIDE / max(lengths)
    height, width = (max(1, round(length * pixels_per_mm)) for length in lengths)
    picture = Image.fromarray(_grey(upright.array[number])).resize((width, height))
    picture = picture.convert("RGB")
    draw = ImageDraw.Draw(picture)
    scale = (height / marked.shape[1], width / marked.shape[2])
    for line in _borders(marked[number]):
        points = [((x + 0.5) * scale[1], (y + 0.5) * scale[0]) for x, y in line]
        draw.line(points, fill=LINES["prediction"].colour, width=2)
    font = ImageFont.load_default(_LETTER)
    for letter, x, anchor in (("R", 6, "lm"), ("L", width - 6, "rm")):
        draw.text((x, height / 2), letter, fill="white", font=font, anchor=anchor)
    return picture


def shown_slice(mask: Mask) -> int:
    """The slice `z` in which the largest piece of a mask is largest; of an empty one the middle.

    Args:
        mask: `z y x`.
    """
    box = Box.around(mask)
    if box.is_empty:
        return int(mask.shape[0] // 2)
    pieces, _ = components(mask[box.slices])
    largest = np.bincount(pieces.ravel())[1:].argmax() + 1
    return int(box.start[0] + (pieces == largest).sum(axis=(1, 2)).argmax())


def _grey(section: Array) -> Array:
    low, high = WINDOW_HU
    share = np.clip((section.astype(np.float32) - low) / (high - low), 0, 1)
    return (share * 255).astype(np.uint8)


def _borders(section: Mask) -> list[Array]:
    """Lines around the pieces of a slice, as `x, y` in its pixels."""
    lines = contour_generator(z=np.pad(section, 1).astype(np.float32)).lines(0.5)
    return [np.asarray(line) - 1 for line in lines]
