"""The headers of DICOM CT slices, one by one. No tag that names a patient is ever parsed."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.encaps import generate_frames
from pydicom.uid import MediaStorageDirectoryStorage

from lnq.data.readers.header import refusal
from lnq.volume import Array

CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
# Only these are taken from a file: a name that is never parsed cannot reach a message or a log.
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "BitsAllocated", "PixelRepresentation", "RescaleSlope", "RescaleIntercept",
    "GantryDetectorTilt",
]  # fmt: skip
_UID = re.compile(r"[0-9.]{1,64}")
_CODE = re.compile(r"[A-Z]{2,16}")
_JPEG_END = b"\xff\xd9"
_RLE = "1.2.840.10008.1.2.5"


@dataclass(frozen=True, eq=False)
class Slice:
    """One CT slice.

    Attributes:
        path: Its file.
        uid: SOP instance UID.
        series: Series instance UID.
        position: LPS position `(x, y, z)` of its first pixel, mm.
        axes: 2x3, world directions of increasing column and row number.
        spacing_mm: Distance of rows and of columns, mm.
        size: Rows and columns.
        rescale: Slope and intercept from stored values to HU.
        tilt: Gantry tilt as the scanner states it, degrees.
    """

    path: Path
    uid: str
    series: str
    position: Array
    axes: Array
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    rescale: tuple[float, float]
    tilt: float

    @property
    def height(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ np.cross(self.axes[0], self.axes[1]))


def is_dicom(path: Path) -> bool:
    """Whether the file carries the DICOM mark behind its 128-byte preamble."""
    with path.open("rb") as handle:
        handle.seek(128)
        return handle.read(4) == b"DICM"


def series_of(path: Path) -> str | None:
    """The series UID of a CT image; None for every other DICOM object (structures, segments, ...).

    Raises:
        CaseError: The file cannot be parsed.
    """
    tags = ["SOPClassUID", "SeriesInstanceUID", "Modality"]
    with pydicom.config.disable_value_validation():
        data = _parsed(path, tags, pixels=False)
        if data.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            return None  # a DICOMDIR: a list of files, no image
        # A damaged file must not pass for another kind of object and be left out.
        bad = [tag for tag, form in zip(tags, (_UID, _UID, _CODE), strict=True)
               if not form.fullmatch(str(data.get(tag) or ""))]  # fmt: skip
    if bad:
        raise refusal(
            path, f"damaged DICOM file: {bad[0]} is missing or malformed", "copy it again"
        )
    kind = str(data.SOPClassUID)
    # Below the class of single slices stand the multi-frame ones, which read_slice refuses.
    is_ct = (kind == CT_IMAGE or kind.startswith(CT_IMAGE + ".")) and data.Modality == "CT"
    return str(data.SeriesInstanceUID) if is_ct else None


def read_slice(path: Path) -> Slice:
    """Parses one CT slice and checks that its pixels are all there.

    Raises:
        CaseError: A tag is missing or impossible, several frames or channels, pixels cut off.
    """
    # Warnings about malformed values would quote them, and a damaged one may swallow a name.
    with pydicom.config.disable_value_validation():
        return _slice(path, _parsed(path, [*_TAGS, "PixelData"], pixels=True))


def _slice(path: Path, data: Any) -> Slice:
    if int(data.get("NumberOfFrames") or 1) != 1 or str(data.SOPClassUID) != CT_IMAGE:
        raise refusal(path, "a multi-frame DICOM file", "convert it to NIfTI or single slices")
    _check_pixels(path, data)
    try:
        return Slice(
            path=path,
            uid=str(data.SOPInstanceUID),
            series=str(data.SeriesInstanceUID),
            position=np.array([float(v) for v in data.ImagePositionPatient]).reshape(3),
            axes=np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3),
            spacing_mm=(float(data.PixelSpacing[0]), float(data.PixelSpacing[1])),
            size=(int(data.Rows), int(data.Columns)),
            rescale=(float(data.RescaleSlope), float(data.RescaleIntercept)),
            tilt=float(data.get("GantryDetectorTilt") or 0.0),
        )
    except AttributeError as error:
        missing = getattr(error, "name", None) or str(error)
        raise refusal(
            path, f"the DICOM tag {missing} is missing", "export the series again"
        ) from error
    except (TypeError, ValueError, IndexError) as error:
        raise refusal(path, "a DICOM tag of position, size or scale is malformed",
                      "export the series again") from error  # fmt: skip


def _parsed(path: Path, tags: list[str], pixels: bool) -> Any:
    try:
        data = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=not pixels)
        # Values are decoded when first looked at: here, where a malformed one is expected.
        for _ in (*data.file_meta, *data):
            pass
        return data
    except (
        pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, EOFError, KeyError,
        ValueError, TypeError, NotImplementedError, struct.error,
    ) as error:  # fmt: skip
        raise refusal(
            path, f"damaged DICOM file ({type(error).__name__})", "copy it again"
        ) from error


def _check_pixels(path: Path, data: Any) -> None:
    pixels = data.get("PixelData")
    if not pixels:
        raise refusal(path, "a DICOM slice without pixels", "copy or export the series again")
    if int(data.get("SamplesPerPixel") or 1) != 1:
        raise refusal(path, "a colour image, not a CT slice", "remove it from the folder")
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_transfer_syntax:
        raise refusal(path, "damaged DICOM file: no transfer syntax", "copy it again")
    if not syntax.is_compressed or syntax.is_deflated:
        bits = int(data.get("BitsAllocated") or 0)
        promised = int(data.get("Rows") or 0) * int(data.get("Columns") or 0) * bits // 8
        # An odd number of bytes is padded by one.
        if promised == 0 or not promised <= len(pixels) <= promised + 1:
            raise refusal(
                path,
                f"truncated or damaged slice: {len(pixels)} of {promised} bytes of pixels",
                "copy or export the series again",
            )
        return
    _check_frame(path, pixels, str(syntax))


def _check_frame(path: Path, pixels: bytes, syntax: str) -> None:
    """A compressed slice must be one frame with its end mark (RLE has none)."""
    try:
        frames = list(generate_frames(pixels, number_of_frames=1))
    except (ValueError, EOFError, struct.error) as error:
        raise refusal(path, "truncated or damaged slice", "copy the series again") from error
    ended = syntax == _RLE or frames[0].rstrip(b"\x00").endswith(_JPEG_END)
    if len(frames) != 1 or not ended:
        raise refusal(path, "truncated or damaged slice", "copy or export the series again")
