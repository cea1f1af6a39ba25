"""The headers of DICOM CT slices, one by one. No tag that names a patient is ever parsed."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from contextlib import contextmanager
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
_MARKS = {"SOPClassUID": _UID, "SeriesInstanceUID": _UID, "Modality": _CODE}
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
    with pydicom.config.disable_value_validation():
        data = parsed(path, [*_MARKS], pixels=False)
        if not is_object(path, data):
            return None
    return str(data.SeriesInstanceUID) if is_ct(data) else None


def is_object(path: Path, data: Any) -> bool:
    """Whether a file is an object of a series; a DICOMDIR, a list of files, is none.

    Args:
        path: The file, for messages.
        data: Its tags, those among them that say what it is.

    Raises:
        CaseError: These are damaged: such a file must not pass for another kind and be left out.
    """
    if data.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
        return False
    bad = [tag for tag, form in _MARKS.items() if not form.fullmatch(str(data.get(tag) or ""))]
    if bad:
        raise refusal(
            path, f"damaged DICOM file: {bad[0]} is missing or malformed", "copy it again"
        )
    return True


def is_ct(data: Any) -> bool:
    """Whether tags are a CT image's."""
    kind = str(data.SOPClassUID)
    # Below the class of single slices stand the multi-frame ones, which read_slice refuses.
    return (kind == CT_IMAGE or kind.startswith(CT_IMAGE + ".")) and data.Modality == "CT"


def class_of(path: Path) -> str:
    """The SOP class UID of a DICOM file, by which CT slices, segments and contours are told apart.

    Raises:
        CaseError: The file cannot be parsed.
    """
    with pydicom.config.disable_value_validation():
        return str(parsed(path, ["SOPClassUID"], pixels=False).get("SOPClassUID") or "")


def read_slice(path: Path) -> Slice:
    """Parses one CT slice and checks that its pixels are all there.

    Raises:
        CaseError: A tag is missing or impossible, several frames or channels, pixels cut off.
    """
    # Warnings about malformed values would quote them, and a damaged one may swallow a name.
    with pydicom.config.disable_value_validation():
        return _slice(path, parsed(path, [*_TAGS, "PixelData"], pixels=True))


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


def parsed(path: Path, tags: list[str], pixels: bool) -> Any:
    """The chosen tags of a DICOM file, and no others.

    Args:
        path: The file.
        tags: Keywords; a name that is not asked for cannot reach a message or a log.
        pixels: Whether the file is read up to its end, pixels included.

    Raises:
        CaseError: The file cannot be parsed.
    """
    try:
        data = pydicom.dcmread(path, specific_tags=tags, stop_before_pixels=not pixels)
        # Values are decoded when first looked at: here, where a malformed one is expected, those
        # inside of sequences too.
        for _ in (*data.file_meta, *data.iterall()):
            pass
        return data
    except OSError as error:
        if error.errno is not None:  # the disk's fault, not the file's
            raise
        raise refusal(path, "truncated DICOM file", "copy it again") from error
    except (
        pydicom.errors.InvalidDicomError, pydicom.errors.BytesLengthException, EOFError, KeyError,
        ValueError, TypeError, NotImplementedError, struct.error,
    ) as error:  # fmt: skip
        raise refusal(
            path, f"damaged DICOM file ({type(error).__name__})", "copy it again"
        ) from error


@contextmanager
def damage_told(path: Path, what: str) -> Iterator[None]:
    """Refuses a file of which a tag that is needed is missing or of another kind than it should be.

    Args:
        path: The file.
        what: What it is, for messages.

    Raises:
        CaseError: Names the tag where it is missing; its value, which may be a name, is not told.
    """
    try:
        yield
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        missing = getattr(error, "name", None)
        why = f"the tag {missing} is missing" if missing else "a tag is missing or malformed"
        raise refusal(path, f"damaged {what}: {why}", "copy or export the file again") from error


def _check_pixels(path: Path, data: Any) -> None:
    pixels = data.get("PixelData")
    if not pixels:
        raise refusal(path, "a DICOM slice without pixels", "copy or export the series again")
    if int(data.get("SamplesPerPixel") or 1) != 1:
        raise refusal(path, "a colour image, not a CT slice", "remove it from the folder")
    check_frames(path, data, 1)


def check_frames(path: Path, data: Any, count: int) -> None:
    """Refuses pixels of which some are missing.

    Args:
        path: The file, for messages.
        data: Its tags, pixels included.
        count: How many frames it should hold, of one value a pixel.

    Raises:
        CaseError: They are cut off, or their encoding is not stated.
    """
    pixels = data.PixelData
    syntax = data.file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_transfer_syntax:
        raise refusal(path, "damaged DICOM file: no transfer syntax", "copy it again")
    if syntax.is_compressed and not syntax.is_deflated:
        _check_compressed(path, pixels, str(syntax), count)
        return
    bits = int(data.get("BitsAllocated") or 0)
    values = count * int(data.get("Rows") or 0) * int(data.get("Columns") or 0)
    promised = (values * bits + 7) // 8  # frames of single bits follow each other without a gap
    # An odd number of bytes is padded by one.
    if promised == 0 or not promised <= len(pixels) <= promised + 1:
        raise refusal(
            path,
            f"truncated or damaged {'slice' if count == 1 else 'file'}: {len(pixels)} of "
            f"{promised} bytes of pixels",
            "copy or export the series again",
        )


def _check_compressed(path: Path, pixels: bytes, syntax: str, count: int) -> None:
    """Every frame must be there with its end mark (RLE has none)."""
    what = "truncated or damaged slice" if count == 1 else "truncated or damaged frames"
    try:
        frames = list(generate_frames(pixels, number_of_frames=count))
    except (ValueError, EOFError, struct.error) as error:
        raise refusal(path, what, "copy the series again") from error
    ended = syntax == _RLE or all(one.rstrip(b"\x00").endswith(_JPEG_END) for one in frames)
    if len(frames) != count or not ended:
        raise refusal(path, what, "copy or export the series again")
