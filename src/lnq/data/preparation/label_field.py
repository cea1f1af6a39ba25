"""Labels on the working grid, as fields that give the annotation back at any spacing.

Slices of 3 mm cannot hold a node of 8 mm as a mask of 0 and 1: of slices of 1 mm the best of all
masks with the scan's pixels gives a Dice of 0.88 back. The field that is stored instead is 0.5 at
the node's surface, wherever that runs between the voxels.
"""

from __future__ import annotations

import numpy as np

from lnq.box import Box
from lnq.data.preparation.resampling import smoothed
from lnq.volume import Array, Grid, Volume, components, resample

SURFACE = 0.5
"""Where a field has at least this much, a voxel of the working grid is annotated."""
# Stored as int8: steps of 1/32 from -4 to almost 4. Fields reach from -1.1 to 2.6 (measured).
_STEPS = 32
# Corrections of a label's field: what nodes of 8 mm in slices of 1 and 2 mm need (measured).
CORRECTIONS = 12
# Room around what is annotated, in voxels of the working grid: no voxel further away matters.
ROOM = 3


def label_field(label: Volume, grid: Grid) -> Volume:
    """The field on `grid` which, interpolated linearly and cut at 0.5, gives the label again.

    That is how a prediction comes back to its scan. The field begins as the interpolated label and
    is corrected by what it fails to give back; voxels of the label's edge so go above 1 or below 0.

    Args:
        label: 0 or 1, its axes in the order of those of `grid`.
        grid: The working grid.

    Returns:
        float32, `SURFACE` at the label's surface.
    """
    field = np.zeros(grid.size, np.float32)
    target = _annotated_part(label, grid)
    if target is None:
        return Volume(field, grid)
    box = Box.covering(target.grid, grid)
    part = grid.crop(box.start, box.stop)
    fitted = resample(target, part, "linear").array
    for _ in range(CORRECTIONS):
        given = resample(Volume(fitted, part), target.grid, "linear", outside=np.nan).array
        missing = np.nan_to_num(target.array - given)  # nothing comes back from outside the grid
        correction = smoothed(Volume(missing, target.grid), part)
        fitted = fitted + resample(correction, part, "linear").array
    field[box.slices] = fitted
    return Volume(field, grid)


def vanished(label: Volume, mask: Volume) -> list[tuple[int, int, int]]:
    """Working voxels for the 26-connected pieces of `label` that left no voxel in `mask`."""
    box = Box.around(label.array)
    pieces, _ = components(label.array[box.slices])
    voxels = np.argwhere(pieces)
    numbers = pieces[tuple(voxels.T)]
    world = label.grid.to_world(voxels + box.start)
    nearest = np.round(mask.grid.to_index(world)).astype(int)
    inside = ((nearest >= 0) & (nearest < mask.grid.size)).all(axis=1)
    z, y, x = nearest[inside].T
    kept = np.unique(numbers[inside][mask.array[z, y, x] > 0])
    places = []
    # Pieces wholly outside the crop are lost by the crop, not by the grid.
    for number in np.setdiff1d(np.unique(numbers[inside]), kept):
        own = nearest[inside][numbers[inside] == number]
        place = own[np.linalg.norm(own - own.mean(axis=0), axis=1).argmin()]
        places.append((int(place[0]), int(place[1]), int(place[2])))
    return places


def _annotated_part(label: Volume, grid: Grid) -> Volume | None:
    """The annotated box of the label within `grid` and some room, float32; None if it is empty."""
    crop = Box.covering(grid, label.grid)
    box = Box.around(label.array[crop.slices])
    if box.is_empty:
        return None
    room = np.ceil(ROOM * np.maximum(1.0, np.divide(grid.spacing_mm, label.grid.spacing_mm)))
    start = np.maximum(crop.start, np.add(crop.start, box.start) - room).astype(int)
    stop = np.minimum(crop.stop, np.add(crop.start, box.stop) + room).astype(int)
    part = label.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] > 0
    return Volume(part.astype(np.float32), label.grid.crop(start.tolist(), stop.tolist()))


def encoded(field: Array) -> Array:
    """A field as int8, rounded down: what reaches `SURFACE` and what does not stays so."""
    codes: Array = np.clip(np.floor(field * _STEPS), -128, 127).astype(np.int8)
    return codes


def decoded(codes: Array) -> Array:
    """The inverse of `encoded`, float32, to half a step of 1/32."""
    field: Array = (codes.astype(np.float32) + 0.5) / _STEPS
    return field


def annotated(codes: Array) -> Array:
    """The mask, uint8, 0 or 1, that an encoded field stands for on the working grid."""
    mask: Array = (codes >= int(SURFACE * _STEPS)).astype(np.uint8)
    return mask
