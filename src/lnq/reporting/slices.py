"""Axial slices of a scan as small pictures with outlines on top, for scrolling through."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from contourpy import contour_generator
from PIL import Image

from lnq.box import Box
from lnq.reporting.fitting import first_fitting, webp
from lnq.reporting.scenes import BACKGROUND, Layers, Scene, occupied
from lnq.volume import Array, Grid, Mask, Volume

WINDOW_HU = (-160.0, 240.0)
"""Soft tissue: width 400 HU, level 40 HU."""
UNITS_PER_MM = 10
"""Coordinates of outlines are whole numbers of this unit."""

_MARGIN_MM = 25.0
_SMALLEST_MM = 150.0
_MARGIN_SLICES = 3


@dataclass(frozen=True)
class Quality:
    """How much a stack of slices may show.

    Attributes:
        slices: How many there are at most.
        side: Pixels of the longer side at most.
        webp: Quality of the compression, in [0, 100].
    """

    slices: int
    side: int
    webp: int


LADDER = (Quality(64, 320, 80), Quality(40, 256, 70), Quality(24, 224, 60), Quality(12, 192, 50))
"""The first that fits into the space of a case is taken."""


@dataclass(frozen=True)
class ShownSlice:
    """One slice.

    Attributes:
        words: Which one it is.
        image: The `href` of the picture.
        outlines: By run and kind, the outline as the `d` of an SVG path.
    """

    words: str
    image: str
    outlines: dict[int, dict[str, str]]

    def marks(self, kind: str) -> bool:
        """Whether any run has something of this kind in the slice."""
        return any(kind in outlines for outlines in self.outlines.values())


@dataclass(frozen=True)
class Stack:
    """Slices in order, from foot to head.

    Attributes:
        width: Of the pictures, in units of 1 / `UNITS_PER_MM` mm.
        height: The same.
        numbers: Indices of the slices in the scan.
        frames: The slices.
        words: Which part of the scan is shown.
    """

    width: int
    height: int
    numbers: list[int]
    frames: list[ShownSlice]
    words: str

    def nearest(self, number: int) -> int:
        """The frame nearest to a slice of the scan."""
        return int(np.abs(np.asarray(self.numbers) - number).argmin())

    @cached_property
    def characters(self) -> int:
        """How much room it takes in the page, within a few percent."""
        paths = [d for f in self.frames for kinds in f.outlines.values() for d in kinds.values()]
        tags = 90 * len(paths) + 700 * len(self.frames)
        return sum(len(f.image) for f in self.frames) + sum(map(len, paths)) + tags


def fitting_stack(scene: Scene, important: Sequence[int], room: int) -> Stack | None:
    """The best stack that needs no more than `room` characters; None where none does.

    Args:
        scene: What to show.
        important: Slices to keep when others are left out, the most important first.
        room: Characters of the page.
    """
    return first_fitting(
        LADDER,
        lambda quality: draw_stack(scene, important, quality),
        lambda stack: stack.characters,
        room,
    )


def draw_stack(scene: Scene, important: Sequence[int], quality: Quality) -> Stack:
    """Slices through everything that is marked, or through the whole scan where nothing is.

    Args:
        scene: What to show.
        important: Slices to keep when others are left out, the most important first.
        quality: Limits.
    """
    grid = scene.image.grid
    marked = occupied(list(scene.layers.values()))
    rows, columns = _region(grid, marked)
    depth = grid.size[0]
    first, last = (0, depth) if marked is None else (
        max(0, marked.start[0] - _MARGIN_SLICES), min(depth, marked.stop[0] + _MARGIN_SLICES)
    )  # fmt: skip
    numbers = _chosen(range(first, last), important, quality.slices)
    frames = [
        ShownSlice(
            _slice_words(grid, number),
            _picture(scene.image.array[number, rows, columns], quality),
            {
                run: _tint(scene.backgrounds.get(run), number, (rows, columns), grid)
                | _outlines(layers, number, (rows.start, columns.start), grid)
                for run, layers in scene.layers.items()
            },
        )
        for number in numbers
    ]
    _, height_mm, width_mm = grid.spacing_mm
    return Stack(
        round((columns.stop - columns.start) * width_mm * UNITS_PER_MM),
        round((rows.stop - rows.start) * height_mm * UNITS_PER_MM),
        numbers, frames, _stack_words(numbers, depth, last - first, quality),
    )  # fmt: skip


def _region(grid: Grid, marked: Box | None) -> tuple[slice, slice]:
    """Rows and columns to show: what is marked and a margin, moved inside the scan."""
    if marked is None:
        return slice(0, grid.size[1]), slice(0, grid.size[2])
    parts = []
    for axis in (1, 2):
        spacing, size = grid.spacing_mm[axis], grid.size[axis]
        extent = marked.size[axis] * spacing + 2 * _MARGIN_MM
        length = min(size, round(max(_SMALLEST_MM, extent) / spacing))
        start = round((marked.start[axis] + marked.stop[axis] - length) / 2)
        start = min(max(0, start), size - length)
        parts.append(slice(start, start + length))
    return parts[0], parts[1]


def _chosen(candidates: range, important: Sequence[int], limit: int) -> list[int]:
    """All candidates, or the important ones and others at even distances."""
    if len(candidates) <= limit:
        return list(candidates)
    kept = list(dict.fromkeys(n for n in important if n in candidates))[: limit // 2]
    others = np.setdiff1d(candidates, kept)
    even = np.linspace(0, len(others) - 1, limit - len(kept)).round().astype(int)
    return sorted([*kept, *others[even].tolist()])


def _picture(section: Array, quality: Quality) -> str:
    low, high = WINDOW_HU
    grey = (np.clip((section.astype(np.float32) - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return webp(Image.fromarray(grey), quality.side, quality.side, quality.webp)


def _tint(
    mask: Mask | None, number: int, region: tuple[slice, slice], grid: Grid
) -> dict[str, str]:
    """The area of known background in a slice; it comes first, below all lines."""
    section = None if mask is None else mask[number][region]
    if section is None or not section.any():
        return {}
    return {BACKGROUND: outline(section, (0, 0), (grid.spacing_mm[1], grid.spacing_mm[2]))}


def _outlines(layers: Layers, number: int, corner: tuple[int, int], grid: Grid) -> dict[str, str]:
    depth, rows, columns = layers.box.slices
    if not depth.start <= number < depth.stop:
        return {}
    start = (rows.start - corner[0], columns.start - corner[1])
    sections = {kind: mask[number - depth.start] for kind, mask in layers.masks.items()}
    return {
        kind: outline(section, start, (grid.spacing_mm[1], grid.spacing_mm[2]))
        for kind, section in sections.items()
        if section.any()
    }


def outline(section: Mask, start: tuple[int, int], spacing_mm: tuple[float, float]) -> str:
    """The border of a mask as the `d` of an SVG path.

    Args:
        section: Mask of rows and columns, not empty.
        start: Row and column of its first pixel in the picture.
        spacing_mm: Of rows and columns.
    """
    box = Box.around(section)
    padded = np.pad(section[box.slices], 1).astype(np.float32)
    # The first pixel's middle is half a pixel inside the picture; the padding adds a whole one.
    y, x = (
        (np.arange(length) + first + inside - 0.5) * step * UNITS_PER_MM
        for length, first, inside, step in zip(
            padded.shape, start, box.start, spacing_mm, strict=True
        )
    )
    lines = contour_generator(x=x, y=y, z=padded).lines(0.5)
    return "".join(_path(np.rint(np.asarray(line)).astype(int)) for line in lines)


def _path(points: Array) -> str:
    """A closed line in relative steps, without the points in the middle of straight parts."""
    steps = np.diff(points, axis=0)
    before = np.roll(steps, 1, axis=0)
    corners = points[:-1][before[:, 0] * steps[:, 1] != before[:, 1] * steps[:, 0]]
    if len(corners) < 3:
        return ""
    moves = " ".join(f"{dx} {dy}" for dx, dy in np.diff(corners, axis=0))
    return f"M{corners[0][0]} {corners[0][1]}l{moves}z"


def _slice_words(grid: Grid, number: int) -> str:
    _, rows, columns = grid.size
    _, _, z = grid.to_world(np.array([number, (rows - 1) / 2, (columns - 1) / 2]))
    return f"slice {number + 1} of {grid.size[0]}, z {z:.0f} mm".replace("-", "−")


def _stack_words(numbers: Sequence[int], depth: int, candidates: int, quality: Quality) -> str:
    part = "the whole scan" if candidates == depth else "all with anything marked on them"
    words = f"{len(numbers)} slices, {part}"
    if len(numbers) < candidates:
        words = f"{len(numbers)} of {candidates} slices, at even distances and through missed nodes"
    if quality is not LADDER[0]:
        words += f", of at most {quality.side} pixels to keep the page small"
    return words


def volume_slice(volume: Volume, world_mm: Sequence[float]) -> int:
    """The slice of a volume nearest to a place `(x, y, z)` in LPS, mm."""
    index = float(volume.grid.to_index(np.asarray(world_mm))[0])
    return int(np.clip(round(index), 0, volume.grid.size[0] - 1))


def kinds_by_frame(stack: Stack, kinds: Sequence[str]) -> Mapping[str, list[int]]:
    """Per kind of outline, the frames that show it."""
    return {k: [i for i, frame in enumerate(stack.frames) if frame.marks(k)] for k in kinds}
