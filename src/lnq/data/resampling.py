"""Between a scan's grid and the coarser or finer grid that the network works on."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lnq.data.lungs import Box
from lnq.volume import Array, Grid, Volume, components, resample

# A Gaussian of fewer voxels than this changes nothing that can be measured.
LEAST_SIGMA = 0.3
# Corrections of a label's field: what nodes of 8 mm in slices of 1 and 2 mm need (measured).
CORRECTIONS = 12
# Room around what is annotated, in voxels of the working grid: no voxel further away matters.
ROOM = 3


def working_grid(crop: Grid, spacing_mm: tuple[float, float, float]) -> Grid:
    """The grid of `spacing_mm` over the extent of `crop`; both ends share what does not fit."""
    grid = crop.with_spacing(spacing_mm)
    middle_crop, middle = (np.asarray(g.size) / 2 - 0.5 for g in (crop, grid))
    shift = crop.to_world(middle_crop) - grid.to_world(middle)
    origin = tuple(float(v) for v in np.asarray(grid.origin_mm) + shift)
    return Grid(grid.size, grid.spacing_mm, (origin[0], origin[1], origin[2]), grid.direction)


def smoothed(volume: Volume, grid: Grid) -> Volume:
    """The volume at the resolution of a coarser grid: linear interpolation alone would alias.

    Along each axis that loses resolution, a Gaussian widens the old voxel's profile to the new
    one's (full widths at half maximum add up squared): one thin, noisy slice then does not stand
    for 3 mm.

    Args:
        volume: float32, axes in the order of those of `grid`.
        grid: Of the resolution that is wanted.
    """
    array: Array = volume.array
    for axis, (old, new) in enumerate(zip(volume.grid.spacing_mm, grid.spacing_mm, strict=True)):
        widening = max(0.0, (new / old) ** 2 - 1.0)
        sigma = float(np.sqrt(widening / (8.0 * np.log(2.0))))
        if sigma >= LEAST_SIGMA:
            array = ndimage.gaussian_filter1d(array, sigma, axis=axis, mode="nearest", truncate=3.0)
    return Volume(array, volume.grid)


def label_field(label: Volume, grid: Grid) -> Volume:
    """The field on `grid` which, interpolated linearly and cut at 0.5, gives the label again.

    That is how a prediction comes back to its scan. The field begins as the interpolated label and
    is corrected by what it fails to give back; voxels of the label's edge so go above 1 or below 0.

    Args:
        label: 0 or 1, its axes in the order of those of `grid`.
        grid: The working grid.

    Returns:
        float32, 0.5 at the label's surface.
    """
    field = np.zeros(grid.size, np.float32)
    target = _annotated_part(label, grid)
    if target is None:
        return Volume(field, grid)
    box = Box.covering(target.grid, grid)
    part = grid.crop(box.start, box.stop)
    found = resample(target, part, "linear").array
    for _ in range(CORRECTIONS):
        given = resample(Volume(found, part), target.grid, "linear", outside=np.nan).array
        missing = np.nan_to_num(target.array - given)  # nothing comes back from outside the grid
        found = found + resample(smoothed(Volume(missing, target.grid), part), part, "linear").array
    field[box.slices] = found
    return Volume(field, grid)


def vanished(label: Volume, mask: Volume) -> list[tuple[int, int, int]]:
    """Working voxels for the 26-connected pieces of `label` that left no voxel in `mask`."""
    where = ndimage.find_objects((label.array > 0).view(np.uint8))
    if not where:
        return []
    pieces, _ = components(label.array[where[0]])
    voxels = np.argwhere(pieces)
    numbers = pieces[tuple(voxels.T)]
    in_label = voxels + [s.start for s in where[0]]
    nearest = np.round(mask.grid.to_index(label.grid.to_world(in_label))).astype(int)
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
    where = ndimage.find_objects((label.array[crop.slices] > 0).view(np.uint8))
    if not where:
        return None
    first, last = (np.asarray([getattr(s, end) for s in where[0]]) for end in ("start", "stop"))
    room = np.ceil(ROOM * np.maximum(1.0, np.divide(grid.spacing_mm, label.grid.spacing_mm)))
    start = np.maximum(crop.start, crop.start + first - room).astype(int)
    stop = np.minimum(crop.stop, crop.start + last + room).astype(int)
    part = label.array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] > 0
    return Volume(part.astype(np.float32), label.grid.crop(start.tolist(), stop.tolist()))
