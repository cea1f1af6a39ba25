"""Image files that are what was to be written, or nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.errors import CaseError, LnqError, RunError
from lnq.files import atomic_path
from lnq.volume import Grid, Volume, from_sitk, to_sitk


def write_volume(volume: Volume, path: Path) -> None:
    """Writes an image file that reads back as it should, or none.

    The format's library tells nobody when the disk is full; hence the file is read again.

    Args:
        volume: What to write; bool becomes uint8.
        path: Where to; the suffix chooses the format.

    Raises:
        CaseError: The format cannot hold the grid.
        RunError: The file cannot be written, or reads back otherwise.
    """
    is_nifti = path.name.lower().endswith((".nii", ".nii.gz"))
    storable = _as_nifti_holds_it(volume, path) if is_nifti else volume
    try:
        with atomic_path(path) as temporary:
            sitk.WriteImage(to_sitk(storable), temporary, useCompression=True)
            written = from_sitk(sitk.ReadImage(temporary))
            difference = written.grid.difference(volume.grid)
            if difference is None and not np.array_equal(written.array, volume.array):
                difference = "other voxels"
            if difference is not None:
                raise LnqError("it reads back differently", why=difference)
    except (OSError, RuntimeError, LnqError) as error:
        raise RunError(
            "cannot write an image", where=path, why=str(error).strip().splitlines()[-1],
            remedy="free space or choose another output folder",
        ) from error  # fmt: skip


def _as_nifti_holds_it(volume: Volume, path: Path) -> Volume:
    """The volume with its axes exactly at right angles, as NIfTI holds none but such.

    Raises:
        CaseError: That would move voxels by more than what counts as the same grid.
    """
    left, _, right = np.linalg.svd(np.reshape(volume.grid.direction, (3, 3)))
    straight = tuple(float(v) for v in (left @ right).ravel())
    grid: Grid = replace(volume.grid, direction=straight)
    if difference := grid.difference(volume.grid):
        raise CaseError(
            "NIfTI cannot hold this scan's grid", where=path,
            why=f"its axes are not quite at right angles ({difference} when straightened)",
            remedy="choose output_format=nrrd or mha (file_ending=.nrrd in export)",
        )  # fmt: skip
    return Volume(volume.array, grid)
