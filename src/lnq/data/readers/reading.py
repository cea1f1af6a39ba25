"""Reading one scan or one annotation: a strict check first, then one native reader."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.case import DicomScan, ScanPath, first_path
from lnq.data.readers.agreement import check_agreement
from lnq.data.readers.blemishes import blemishes
from lnq.data.readers.dicom import read_series
from lnq.data.readers.dicom_folder import series_files
from lnq.data.readers.dicom_objects import class_of, is_dicom
from lnq.data.readers.dicom_seg import LABEL_MAP, SEGMENTATION, read_dicom_seg
from lnq.data.readers.header import Header, check_header, check_name, refusal
from lnq.data.readers.identity import Scan
from lnq.data.readers.in_memory import single_volume
from lnq.data.readers.metaimage import parse_metaimage
from lnq.data.readers.names import suffix_of
from lnq.data.readers.nifti import parse_nifti, read_nifti2
from lnq.data.readers.nrrd import parse_nrrd
from lnq.data.readers.payload import check_payload
from lnq.data.readers.plausibility import LabelKind, as_hounsfield, as_label
from lnq.data.readers.quiet import quiet_itk
from lnq.data.readers.rtstruct import RTSTRUCT, read_rtstruct
from lnq.data.readers.slicer_segmentation import is_slicer_segmentation, read_slicer_segmentation
from lnq.errors import CaseError, memory_for
from lnq.files import sha256
from lnq.volume import Volume

_PARSERS: dict[str, Callable[[Path], Header]] = {
    ".nrrd": parse_nrrd,
    ".nhdr": parse_nrrd,
    ".nii": parse_nifti,
    ".nii.gz": parse_nifti,
    ".mha": parse_metaimage,
    ".mhd": parse_metaimage,
}
# Annotations that are no images of their own.
_DICOM_LABELS: dict[str, Callable[..., tuple[Volume, list[str]]]] = {
    SEGMENTATION: read_dicom_seg,
    LABEL_MAP: read_dicom_seg,
    RTSTRUCT: read_rtstruct,
}


def read_image(path: ScanPath) -> Volume:
    """Reads a CT scan.

    Args:
        path: A `.nrrd`, `.nhdr`, `.nii`, `.nii.gz`, `.mha` or `.mhd` file, a folder of DICOM
            slices, one file of such a folder, or the slices.

    Returns:
        Hounsfield units `z y x`, int16, or float32 where the file holds floating point.

    Raises:
        CaseError: The file is damaged, contradicts itself or is no scan; the cause is named.
        UsageError: A DICOM folder holds several scans.
    """
    return read_image_with_notes(path)[0]


def read_image_with_notes(path: ScanPath) -> tuple[Volume, list[str]]:
    """As `read_image`, with what is odd about the file but does not forbid its use."""
    volume, notes = _read(path)
    array = as_hounsfield(volume.array, first_path(path))
    return Volume(array, volume.grid), [*notes, *blemishes(array)]


def read_probability(path: Path) -> Volume:
    """Reads what `predict save_probabilities=true` wrote.

    Returns:
        Floating point in [0, 1], `z y x`.

    Raises:
        CaseError: The file is damaged, or holds something else.
    """
    volume, _ = _read(path)
    values = volume.array
    if not (np.issubdtype(values.dtype, np.floating) and ((values >= 0) & (values <= 1)).all()):
        raise CaseError("these are no probabilities", where=path, why="a value is outside [0, 1]",
                        remedy="predict again with save_probabilities=true")  # fmt: skip
    return volume


def read_label(
    path: Path,
    kind: LabelKind = "binary",
    scan: Scan | None = None,
    names: str | None = None,
) -> Volume:
    """Reads an annotation.

    Args:
        path: As for `read_image`; or a DICOM-SEG or RTSTRUCT file, or a folder with one of them. An
            `.nrrd` file that lists segments is read as 3D Slicer's.
        kind: `binary` for 0 = background, 1 = lymph node; `instances` for one number a node. Of
            segments, the first merges them and the second numbers them.
        scan: The scan that it annotates. RTSTRUCT needs it; a DICOM annotation that was made on
            another series is refused.
        names: Regular expression that chooses segments by name; None = by what their names say.

    Returns:
        uint8 with values 0 and 1, or uint16 with instance numbers, `z y x`, on the file's own grid
        (`align_label` brings it onto the scan's); contours, and DICOM segments where `scan` is
        given, are on the scan's.

    Raises:
        CaseError: As for `read_image`, or any value beyond those of `kind`, or an annotation that
            does not belong to `scan`.
    """
    return read_label_with_notes(path, kind, scan, names)[0]


def read_label_with_notes(
    path: Path,
    kind: LabelKind = "binary",
    scan: Scan | None = None,
    names: str | None = None,
) -> tuple[Volume, list[str]]:
    """As `read_label`, with what was left out or mended."""
    return _segments(path, kind, scan, names) or _label_image(path, kind)


def read_mask_with_notes(path: Path, scan: Scan | None = None) -> tuple[Volume, list[str]]:
    """A mask of anything, as `read_label_with_notes` reads labels.

    Args:
        path: As for `read_label`. All segments count, and of an image every value but 0.
        scan: The scan that it was made of.

    Returns:
        uint8 0 or 1, and notes.

    Raises:
        CaseError: As for `read_label`.
    """
    segments = _segments(path, "binary", scan, ".*")
    if segments is not None:
        return segments
    volume, notes = _label_image(path, "instances")
    return Volume((volume.array > 0).astype(np.uint8), volume.grid), notes


def _segments(
    path: Path, kind: LabelKind, scan: Scan | None, names: str | None
) -> tuple[Volume, list[str]] | None:
    """An annotation that lists segments or contours; None where the file is an image."""
    check_name(path)
    if not path.exists():
        raise refusal(path, "there is no such file or folder", "correct the path")
    try:
        annotation = dicom_annotation(path)
        if annotation is not None:
            return _DICOM_LABELS[class_of(annotation)](annotation, kind, names, scan)
        is_nrrd = path.is_file() and suffix_of(path) in (".nrrd", ".nhdr")
        if is_nrrd and path.stat().st_size > 0 and is_slicer_segmentation(path):
            return read_slicer_segmentation(path, kind, names, scan), []
    except OSError as error:
        raise refusal(path, error.strerror or str(error), "check the file and disk") from error
    return None


def _label_image(path: Path, kind: LabelKind) -> tuple[Volume, list[str]]:
    volume, _ = _read(path)
    array, notes = as_label(volume.array, path, kind)
    return Volume(array, volume.grid), notes


def dicom_annotation(path: Path) -> Path | None:
    """The DICOM-SEG or RTSTRUCT at a path; None for images.

    Args:
        path: A file, or a folder whose only DICOM file it is.

    Raises:
        CaseError: A DICOM file cannot be parsed.
    """
    if path.is_dir():
        files = [one for one in sorted(path.iterdir()) if one.is_file() and is_dicom(one)]
        if len(files) != 1:
            return None
        path = files[0]
    if suffix_of(path) is not None or not is_dicom(path):
        return None
    return path if class_of(path) in _DICOM_LABELS else None


def content_hash(path: ScanPath) -> str:
    """SHA-256 of all bytes that a scan or an annotation is read from.

    Args:
        path: As for `read_image` and `read_label`; a header's voxel file belongs to it, and to a
            DICOM slice all of its series.

    Raises:
        CaseError: The file is missing or empty, or its header cannot be read.
    """
    _check_there(path)
    try:
        if isinstance(path, DicomScan):
            return sha256(*path.files)
        suffix = suffix_of(path)
        if path.is_dir():
            return sha256(path)
        if suffix is None:
            return sha256(path) if dicom_annotation(path) else sha256(*series_files(path))
        payload = _PARSERS[suffix](path).payload
        return sha256(path) if payload == path else sha256(path, payload)
    except OSError as error:
        raise _unreadable(path, error) from error


def _check_there(path: ScanPath) -> None:
    if isinstance(path, DicomScan):
        return  # each slice is looked at
    check_name(path)
    if not path.exists():
        raise refusal(path, "there is no such file or folder", "correct the path")
    if path.is_file() and path.stat().st_size == 0:
        raise refusal(path, "the file is empty", "copy it again")


def _unreadable(path: ScanPath, error: OSError) -> CaseError:
    return refusal(path, error.strerror or str(error), "check the file and disk")


def _read(path: ScanPath) -> tuple[Volume, list[str]]:
    _check_there(path)
    try:
        if isinstance(path, DicomScan) or path.is_dir() or (suffix := suffix_of(path)) is None:
            return read_series(path)
        return _read_file(path, suffix)
    except OSError as error:
        raise _unreadable(path, error) from error


def _read_file(path: Path, suffix: str) -> tuple[Volume, list[str]]:
    header = _PARSERS[suffix](path)
    check_header(header)
    checksum = check_payload(header)
    volume = read_nifti2(path) if header.reader == "nibabel" else _read_natively(header)
    check_agreement(header, volume, checksum)
    return volume, list(header.notes)


def _read_natively(header: Header) -> Volume:
    """By the reader of the format, named: SimpleITK would guess by the suffix's letters."""
    path = header.path
    try:
        with memory_for(path), quiet_itk():
            image = sitk.ReadImage(path, imageIO=header.reader)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise refusal(path, f"the reader says: {reason}", "save it with another program") from error
    return single_volume(image, path)
