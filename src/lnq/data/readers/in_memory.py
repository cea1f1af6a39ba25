"""A scan that another program has read: the checks of a file, as far as there is no file."""

from __future__ import annotations

from pathlib import Path

import SimpleITK as sitk

from lnq.data.readers.header import Header, check_geometry, check_header, refusal
from lnq.data.readers.plausibility import as_hounsfield
from lnq.volume import Volume, from_sitk

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
    dtype = sitk.GetArrayViewFromImage(image).dtype
    nowhere = (0.0, 0.0, 0.0)
    promise = Header(IN_MEMORY, IN_MEMORY, None, 0, "none", image.GetSize(), dtype, None, nowhere)
    check_header(promise)
    volume = single_volume(image, IN_MEMORY)
    check_geometry(IN_MEMORY, volume.grid.matrix, volume.grid.origin_mm)
    return Volume(as_hounsfield(volume.array, IN_MEMORY), volume.grid)


def single_volume(image: sitk.Image, path: Path) -> Volume:
    """The one volume of an image.

    Args:
        image: Of which `check_header` let pass only further axes of length 1.
        path: The file, for the message.

    Raises:
        CaseError: Its voxels have several channels.
    """
    while image.GetDimension() > 3:
        image = image[..., 0]
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise refusal(path, "its voxels have several channels", "export one channel")
    return from_sitk(image)
