"""Bringing an annotation onto its scan's grid without moving a voxel, or refusing it."""

from __future__ import annotations

import itertools

import numpy as np

from lnq.errors import CaseError
from lnq.volume import Array, Grid, Volume

TOLERANCE_MM = 1e-2
# Further off, the nearest voxel is no longer beyond doubt.
NEAREST_VOXELS = 0.25


def align_label(label: Volume, image_grid: Grid) -> tuple[Volume, list[str]]:
    """The annotation on the scan's grid.

    An annotation of other extent or origin goes onto the nearest voxels of the scan in world space;
    what it does not cover is background. Nothing is interpolated.

    Args:
        label: The annotation on its own grid.
        image_grid: The scan's grid.

    Returns:
        The annotation on exactly `image_grid`, and notes of what was mended.

    Raises:
        CaseError: Its sizes are the scan's in another order, its direction or voxel size is not the
            scan's, it lies more than a quarter of a voxel off the scan's voxels, or foreground lies
            outside the scan.
    """
    if label.grid.difference(image_grid, TOLERANCE_MM) is None:
        return Volume(label.array, image_grid), []
    if label.grid.size != image_grid.size and sorted(label.grid.size) == sorted(image_grid.size):
        # A header with exchanged axes: its voxels would be read in a wrong order.
        raise _refusal(
            f"its size (z, y, x) {label.grid.size} is the scan's {image_grid.size} in another "
            "order",
            "write its header anew, or export it again from the program that made it",
        )
    start, off_mm = _lattice_start(label.grid, image_grid)
    sizes = np.asarray(label.grid.size), np.asarray(image_grid.size)
    low, high = np.maximum(start, 0), np.minimum(start + sizes[0], sizes[1])
    placed = np.zeros(image_grid.size, label.array.dtype)
    if np.all(low < high):
        inside = label.array[_box(low - start, high - start)]
        placed[_box(low, high)] = inside
    lost = int(np.count_nonzero(label.array)) - int(np.count_nonzero(placed))
    if lost:
        raise _refusal(
            f"{lost} annotated voxels lie outside the scan",
            "check that label and scan belong together",
        )
    note = (
        f"label of size (z, y, x) {label.grid.size} placed in the scan of size {image_grid.size} "
        f"from voxel {tuple(int(v) for v in start)}"
    )
    if off_mm > TOLERANCE_MM:
        note += f", each voxel on the nearest one, {off_mm:.2g} mm off"
    note += ". Check in a viewer that it fits"
    return Volume(placed, image_grid), [note]


def _lattice_start(grid: Grid, image_grid: Grid) -> tuple[Array, float]:
    """Index `z y x` in the scan of the label's first voxel, and how far off that voxel it lies."""
    directions = np.abs(np.subtract(grid.direction, image_grid.direction))
    if directions.max() > 1e-3:
        shown = [np.round(g.direction, 3).tolist() for g in (grid, image_grid)]
        raise _refusal(
            f"the label's direction {shown[0]} differs from the scan's {shown[1]}",
            "resample the label onto the scan",
        )
    corners = np.array(list(itertools.product(*((0, n - 1) for n in grid.size))))
    position = image_grid.to_index(grid.to_world(corners))
    # Spacings that are rounded differently add up along an axis: the farthest corner decides.
    if _apart(position - position[0] - corners, image_grid):
        raise _refusal(
            f"the label's spacing (z, y, x) {_shown(grid.spacing_mm)} mm differs from the scan's "
            f"{_shown(image_grid.spacing_mm)} mm",
            "resample the label onto the scan",
        )
    off = position - np.round(position)
    off_mm = np.abs(off) * np.asarray(image_grid.spacing_mm)
    if _apart(off, image_grid):
        raise _refusal(
            f"the label's origin {_shown(grid.origin_mm)} mm lies between the scan's voxels "
            f"(scan origin {_shown(image_grid.origin_mm)} mm, off by up to {off_mm.max():.3g} mm)",
            "correct the origin, or resample the label onto the scan",
        )
    return np.asarray(np.round(position[0]), int), float(off_mm.max())


def _apart(off: Array, grid: Grid) -> bool:
    """Whether a distance, in voxels `z y x` of a grid, is too large to be rounding."""
    far = np.abs(off) > np.maximum(NEAREST_VOXELS, TOLERANCE_MM / np.asarray(grid.spacing_mm))
    return bool(far.any())


def _refusal(why: str, remedy: str) -> CaseError:
    return CaseError("the label does not lie on the scan's grid", why=why, remedy=remedy)


def _box(start: Array, stop: Array) -> tuple[slice, ...]:
    return tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))


def _shown(values: tuple[float, float, float]) -> str:
    return "(" + ", ".join(f"{v:.7g}" for v in values) + ")"
