"""DICOM CT slices, one by one: their headers, and what their values are."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lnq.data.readers.dicom_frames import check_frames
from lnq.data.readers.dicom_objects import CT_IMAGE, class_of_tags, parsed_tags
from lnq.data.readers.header import refusal
from lnq.volume import Array

# Only these are taken from a file: a name that is never parsed cannot reach a message or a log.
_TAGS = [
    "SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Modality", "ImagePositionPatient",
    "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns", "NumberOfFrames",
    "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation",
    "PhotometricInterpretation", "ImageType", "RescaleSlope", "RescaleIntercept", "RescaleType",
    "GantryDetectorTilt",
]  # fmt: skip
_MALFORMED = "export the series again"
# RescaleType and ImageType of what is no HU: atomic numbers, densities, shares of a material.
_UNCERTAIN_TYPES = {"US": "unspecified", "HU_MOD": "HU that were modified"}
_MAPS = {"EFF_ATOMIC_NUM", "ELECTRON_DENSITY", "Z_EFF", "IODINE", "MAT_SPECIFIC", "MAT_FRACTIONAL",
         "MAT_VALUE_BASED"}  # fmt: skip
_BITS = ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")


@dataclass(frozen=True, eq=False)
class Slice:
    """One CT slice.

    Attributes:
        path: Its file.
        uid: SOP instance UID; empty where it was blanked, as is
        series: Series instance UID.
        position: LPS position `(x, y, z)` of its first pixel, mm.
        axes: 2x3, world directions of increasing column and row number.
        spacing_mm: Distance of rows and of columns, mm.
        size: Rows and columns.
        rescale: Slope and intercept from stored values to HU.
        tilt: Gantry tilt as the scanner states it, degrees.
        bits: Allocated, stored, highest, and 1 for signed values.
        notes: What is odd about it but not wrong.
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
    bits: tuple[int, int, int, int]
    notes: tuple[str, ...]

    @property
    def height(self) -> float:
        """Position along the slice's own normal, mm."""
        return float(self.position @ np.cross(self.axes[0], self.axes[1]))


def read_slice(path: Path) -> Slice:
    """Parses one CT slice and checks that its pixels are all there.

    Raises:
        CaseError: A tag is missing or impossible, several frames or channels, pixels cut off.
    """
    # Warnings about malformed values would quote them, and a damaged one may swallow a name.
    with pydicom.config.disable_value_validation():
        return _slice(path, parsed_tags(path, [*_TAGS, "PixelData"], pixels=True))


def _slice(path: Path, data: Any) -> Slice:
    if int(data.get("NumberOfFrames") or 1) != 1 or class_of_tags(data) != CT_IMAGE:
        raise refusal(path, "a multi-frame DICOM file", "convert it to NIfTI or single slices")
    notes = _meaning(path, data)
    excess = _check_pixels(path, data)
    if excess:
        notes.append(f"{excess} bytes of padding behind the pixels, which are passed over")
    try:
        bits = tuple(int(data[tag].value) for tag in _BITS)
        allocated, stored, high, signed = bits
        if not (0 < stored <= allocated and stored - 1 <= high < allocated and signed in (0, 1)):
            raise refusal(path, f"{stored} bits up to {high} of {allocated} are stored", _MALFORMED)
        return Slice(
            path=path,
            uid=str(data.get("SOPInstanceUID") or ""),
            series=str(data.get("SeriesInstanceUID") or ""),
            position=np.array([float(v) for v in data.ImagePositionPatient]).reshape(3),
            axes=np.array([float(v) for v in data.ImageOrientationPatient]).reshape(2, 3),
            spacing_mm=(float(data.PixelSpacing[0]), float(data.PixelSpacing[1])),
            size=(int(data.Rows), int(data.Columns)),
            rescale=(float(data.RescaleSlope), float(data.RescaleIntercept)),
            tilt=float(data.get("GantryDetectorTilt") or 0.0),
            bits=(allocated, stored, high, signed),
            notes=tuple(notes),
        )
    except AttributeError as error:
        missing = getattr(error, "name", None) or str(error)
        raise refusal(path, f"the DICOM tag {missing} is missing", _MALFORMED) from error
    except (TypeError, ValueError, IndexError, KeyError) as error:
        raise refusal(
            path, "a DICOM tag of position, size or scale is malformed", _MALFORMED
        ) from error


def _meaning(path: Path, data: Any) -> list[str]:
    """Notes on what the values are; refuses what is no HU."""
    shown = str(data.get("PhotometricInterpretation") or "")
    if shown == "MONOCHROME1":
        raise refusal(path, "its PhotometricInterpretation is MONOCHROME1: some programs invert "
                      "the values", "export it as MONOCHROME2")  # fmt: skip
    kind = str(data.get("RescaleType") or "HU").strip().upper()
    if kind != "HU" and kind not in _UNCERTAIN_TYPES:
        raise refusal(path, f"its values are {kind} (RescaleType), no HU", "export the CT itself")
    image_type = data.get("ImageType") or ()
    parts = [str(part).strip().upper() for part in
             ([image_type] if isinstance(image_type, str) else image_type)]  # fmt: skip
    told = "\\".join(parts)
    if "LOCALIZER" in parts:
        raise refusal(path, f"a localizer, no slice ({told})", "remove it from the folder")
    if not _MAPS.isdisjoint(parts):
        raise refusal(path, f"a map of a material, no HU ({told})", "export the CT itself")
    notes = []
    if kind != "HU":
        notes.append(f"RescaleType is {kind}, {_UNCERTAIN_TYPES[kind]}: taken as HU. Check them")
    if parts and parts[0] == "DERIVED":
        notes.append(f"a derived image ({told}): its values may have been changed. Check them")
    return notes


def _check_pixels(path: Path, data: Any) -> int:
    pixels = data.get("PixelData")
    if not pixels:
        raise refusal(path, "a DICOM slice without pixels", "copy or export the series again")
    if int(data.get("SamplesPerPixel") or 1) != 1:
        raise refusal(path, "a colour image, not a CT slice", "remove it from the folder")
    return check_frames(path, data, 1)
