"""A scan as its block means of about 3.5 mm, on which body and lungs are looked for."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from lnq.volume import Grid, Volume, from_sitk, to_sitk

SEARCH_SPACING_MM = 3.5  # coarse enough to be quick, fine enough for diaphragm and chest wall


def shrink(volume: Volume) -> Volume:
    """Block means of `volume` with voxels of about `SEARCH_SPACING_MM`, float32."""
    shrinking = sitk.BinShrinkImageFilter()
    shrinking.SetShrinkFactors(_factors(volume.grid)[::-1])
    blocks = from_sitk(shrinking.Execute(to_sitk(volume)))
    return Volume(blocks.array.astype(np.float32), blocks.grid)


def _factors(grid: Grid) -> list[int]:
    """Voxels in a block along each axis."""
    return [
        int(np.clip(round(SEARCH_SPACING_MM / spacing), 1, size))
        for spacing, size in zip(grid.spacing_mm, grid.size, strict=True)
    ]


def whole_blocks(volume: Volume) -> Volume:
    """The volume without the voxels that fill no block, so that blocks are those of LPS order.

    Shrinking leaves out what remains at the end of an axis as it is stored: this cuts it off at the
    beginning of those that are stored backwards.
    """
    sides = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(volume.grid.direction)
    start = [
        size % factor if side in "RAI" else 0
        for size, factor, side in zip(
            volume.grid.size, _factors(volume.grid), sides[::-1], strict=True
        )
    ]
    grid = volume.grid.crop(start, volume.grid.size)
    return Volume(volume.array[tuple(slice(first, None) for first in start)], grid)
