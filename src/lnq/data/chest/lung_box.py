"""The box around both lungs and the mediastinum between them, to which a scan is cropped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lnq.box import Box
from lnq.data.chest.lungs import NO_LUNGS, Chest
from lnq.data.chest.morphology import sides_covered
from lnq.volume import Grid, Mask

MIN_HALF_WIDTH = 0.6  # narrower half of the box about the body's middle, as a part of the wider
_CHECK = ". Check that the scan shows a chest, in HU"


@dataclass(frozen=True)
class LungBox:
    """Where to crop a scan.

    Attributes:
        box: In the scan's voxels.
        lungs_found: False where the box is the body's or the whole scan.
        notes: What a reader of the result must know, empty in the usual case.
    """

    box: Box
    lungs_found: bool
    notes: tuple[str, ...] = ()


def lung_box(grid: Grid, chest: Chest, margin_mm: tuple[float, float, float]) -> LungBox:
    """The box around both lungs and the mediastinum between them.

    Where one side of the chest holds no or little lung (collapse, resection, field of view), the
    box is widened there to mirror the other side. Without lungs it is the body's box, without a
    body the whole scan; both are noted.

    Args:
        grid: The scan's, axes in LPS order (`lnq.volume.reorient`).
        chest: What is seen of it.
        margin_mm: Added on both sides of the lungs (z, y, x), mm, as far as the scan reaches.
    """
    coarse, body, lungs = chest.coarse.grid, chest.body, chest.lungs
    notes: tuple[str, ...] = ()
    if lungs.any():
        start, stop = _bounds(lungs)
        start, stop, widened = _balance(start, stop, lungs, body)
        if widened:
            notes = ("little lung on one side: crop widened to mirror the other",)
        box = _in_voxels_of(grid, coarse, start, stop, margin_mm)
        return LungBox(box, True, notes)
    if body.any():
        box = _in_voxels_of(grid, coarse, *_bounds(body), margin_mm)
        return LungBox(box, False, (f"{NO_LUNGS}: cropped to the body{_CHECK}",))
    whole = Box((0, 0, 0), grid.size)
    return LungBox(whole, False, (f"neither lungs nor body found: nothing cropped{_CHECK}",))


def _balance(
    start: NDArray[np.int64], stop: NDArray[np.int64], lungs: Mask, body: Mask
) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Widens a box of which one side, seen from the body's middle, is much narrower."""
    filled = (body | (sides_covered(body) >= 3))[start[0] : stop[0]]
    mass = np.cumsum(filled.sum(axis=(0, 1)))
    if mass[-1] == 0:
        return start, stop, False
    # The median, not the middle of the extent: an arm on one side would move that by its width.
    middle = float(np.interp(mass[-1] / 2, mass, np.arange(1, len(mass) + 1)))
    right, left = middle - start[2], stop[2] - middle
    wide = max(right, left)
    if min(right, left) >= MIN_HALF_WIDTH * wide:
        return start, stop, False
    start, stop = start.copy(), stop.copy()
    start[2] = max(0, int(np.floor(middle - wide)))
    stop[2] = min(lungs.shape[2], int(np.ceil(middle + wide)))
    return start, stop, True


def _bounds(mask: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    box = Box.around(mask)
    return np.array(box.start), np.array(box.stop)


def _in_voxels_of(
    fine: Grid,
    coarse: Grid,
    start: NDArray[np.int64],
    stop: NDArray[np.int64],
    margin_mm: tuple[float, float, float],
) -> Box:
    margin = np.asarray(margin_mm) / coarse.spacing_mm
    # Voxel edges, not centres: half a voxel before the first and after the last. The nearest ones;
    # half-way, the outer ones, whatever rounding a file's header has seen.
    first = fine.to_index(coarse.to_world(start - 0.5 - margin))
    last = fine.to_index(coarse.to_world(stop - 0.5 + margin))
    begin, end = np.ceil(first - 1e-3).astype(int), np.floor(last + 1.0 + 1e-3).astype(int)
    return Box.within(fine.size, begin, end)
