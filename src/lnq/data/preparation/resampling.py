"""Between a scan's grid and the coarser or finer grid that the network works on."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from lnq.volume import Array, Grid, Volume

# A Gaussian of fewer voxels than this changes nothing that can be measured.
LEAST_SIGMA = 0.3


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
