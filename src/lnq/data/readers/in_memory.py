"""A scan that another program has read: the checks of a file, as far as there is no file."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from lnq.data.readers.header import Header, check_geometry, check_header, refusal
from lnq.data.readers.plausibility import as_hounsfield
from lnq.volume import Volume, from_sitk, grid_of

IN_MEMORY = Path("SimpleITK.Image")
"""What messages name instead of a file."""


def scan_in_memory(image: sitk.Image) -> Volume:
    """A CT scan.

    Args:
        image: Hounsfield units; three axes, further ones of length 1.

    Returns:
        As of `read_image`; the voxels are copied.

    Raises:
        CaseError: It is no scan, or its voxel sizes, place or axes are those of none.
    """
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise refusal(IN_MEMORY, "its voxels have several channels", "give one channel")
    dtype = sitk.GetArrayViewFromImage(image).dtype
    nowhere = (0.0, 0.0, 0.0)
    promise = Header(IN_MEMORY, IN_MEMORY, None, 0, "none", image.GetSize(), dtype, None, nowhere)
    check_header(promise)
    while image.GetDimension() > 3:  # of length 1, or check_header would have refused it
        image = image[..., 0]
    check_geometry(IN_MEMORY, grid_of(image).matrix, image.GetOrigin())
    volume = from_sitk(image)
    return Volume(as_hounsfield(volume.array, IN_MEMORY), volume.grid)
