"""Reading one scan or one annotation: a strict check first, then one native reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.readers.dicom import read_series
from lnq.data.readers.header import Header, check_geometry, check_header, refusal
from lnq.data.readers.metaimage import parse_metaimage
from lnq.data.readers.names import suffix_of
from lnq.data.readers.nifti import parse_nifti
from lnq.data.readers.nrrd import parse_nrrd
from lnq.data.readers.payload import check_payload
from lnq.data.readers.plausibility import LabelKind, as_hounsfield, as_label
from lnq.errors import CaseError
from lnq.files import sha256
from lnq.volume import Volume, from_sitk

# The check of each format, and the native reader, named: it would guess by the suffix's letters.
_FORMATS: dict[str, tuple[Callable[[Path], Header], str]] = {
    ".nrrd": (parse_nrrd, "NrrdImageIO"),
    ".nhdr": (parse_nrrd, "NrrdImageIO"),
    ".nii": (parse_nifti, "NiftiImageIO"),
    ".nii.gz": (parse_nifti, "NiftiImageIO"),
    ".mha": (parse_metaimage, "MetaImageIO"),
    ".mhd": (parse_metaimage, "MetaImageIO"),
}
# Headers with 32-bit floats round; a reader that places a scan further away read another header.
_READER_TOLERANCE_MM = 0.1


def read_image(path: Path) -> Volume:
    """Reads a CT scan.

    Args:
        path: A `.nrrd`, `.nhdr`, `.nii`, `.nii.gz`, `.mha` or `.mhd` file, a folder of DICOM
            slices, or one file of such a folder.

    Returns:
        Hounsfield units `z y x`, int16, or float32 where the file holds floating point.

    Raises:
        CaseError: The file is damaged, contradicts itself or is no scan; the cause is named.
        UsageError: A DICOM folder holds several series.
    """
    return read_image_with_notes(path)[0]


def read_image_with_notes(path: Path) -> tuple[Volume, list[str]]:
    """As `read_image`, with what is odd about the file but does not forbid its use."""
    volume, notes = _read(path)
    return Volume(as_hounsfield(volume.array, path), volume.grid), notes


def read_label(path: Path, kind: LabelKind = "binary") -> Volume:
    """Reads an annotation.

    Args:
        path: As for `read_image`.
        kind: `binary` for 0 = background, 1 = lymph node; `instances` for one number a node.

    Returns:
        uint8 with values 0 and 1, or uint16 with instance numbers, `z y x`, on the file's own grid
        (`lnq.data.alignment.align_label` brings it onto the scan's).

    Raises:
        CaseError: As for `read_image`, or any value beyond those of `kind`.
    """
    volume, _ = _read(path)
    return Volume(as_label(volume.array, path, kind), volume.grid)


def content_hash(path: Path) -> str:
    """SHA-256 of all bytes that a scan or an annotation is read from.

    Args:
        path: As for `read_image`; a header's voxel file belongs to it, and to a DICOM slice all of
            its folder.

    Raises:
        CaseError: The file is missing or empty, or its header cannot be read.
    """
    _check_there(path)
    suffix = suffix_of(path)
    try:
        if path.is_dir() or suffix is None:
            return sha256(path if path.is_dir() else path.parent)
        payload = _FORMATS[suffix][0](path).payload
        return sha256(path) if payload == path else sha256(path, payload)
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_there(path: Path) -> None:
    if not path.exists():
        raise refusal(path, "there is no such file or folder", "correct the path")
    if path.is_file() and path.stat().st_size == 0:
        raise refusal(path, "the file is empty", "copy it again")


def _unreadable(path: Path, error: OSError) -> CaseError:
    return refusal(path, error.strerror or str(error), "check the file and disk")


def _read(path: Path) -> tuple[Volume, list[str]]:
    _check_there(path)
    suffix = suffix_of(path)
    try:
        if path.is_dir() or suffix is None:
            return read_series(path)
        return _read_file(path, suffix)
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_file(path: Path, suffix: str) -> tuple[Volume, list[str]]:
    parse, native = _FORMATS[suffix]
    header = parse(path)
    check_header(header)
    check_payload(header)
    try:
        image = sitk.ReadImage(path, imageIO=native)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise refusal(path, f"the reader says: {reason}", "save it with another program") from error
    while image.GetDimension() > 3:  # check_header let pass only further axes of length 1
        image = image[..., 0]
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise refusal(path, "its voxels have several channels", "export one channel")
    volume = from_sitk(image)
    _check_agreement(header, volume)
    return volume, list(header.notes)


def _check_agreement(header: Header, volume: Volume) -> None:
    """The native reader must place the voxels where the header does."""
    grid = volume.grid
    matrix = np.reshape(grid.direction, (3, 3)) * np.asarray(grid.spacing_mm[::-1])
    check_geometry(header.path, matrix, grid.origin_mm)
    promised = header.grid()
    difference = promised and promised.difference(grid, _READER_TOLERANCE_MM)
    if difference:
        raise refusal(
            header.path,
            f"its header can be read in two ways: {difference}",
            "save it with another program",
        )
