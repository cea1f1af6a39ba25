"""Where a CT slice lies and to which series it belongs, by its header."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lnq.data.readers.dicom_objects import is_ct, is_object, parsed_tags, sound_tags
from lnq.data.readers.header import refusal
from lnq.volume import Array

HEAD_TAGS = [
    "SOPClassUID", "SeriesInstanceUID", "Modality", "ImagePositionPatient",
    "ImageOrientationPatient", "Rows", "Columns",
]  # fmt: skip
# What tells phases and reconstructions apart that share a series UID, the plainest first.
_TRAITS = [
    "SeriesDescription", "NominalPercentageOfCardiacPhase", "TemporalPositionIdentifier",
    "AcquisitionNumber", "ConvolutionKernel", "SliceThickness", "KVP", "ImageType",
    "PixelSpacing", "AcquisitionTime", "AcquisitionDateTime", "TriggerTime",
]  # fmt: skip
_PHASE = re.compile(r"(?:\bT\s*=?|gated,?|phase)\s*(\d+(?:\.\d+)?)\s*%", re.I)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_NO_CODE = re.compile(r"[^A-Za-z0-9.+-]+")
_LONGEST_WORD = 24  # what is longer is no code
_PLANES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True)
class Frame:
    """Size and orientation of a slice.

    Attributes:
        size: Rows and columns.
        axes: Directions of increasing column and row number, six numbers.
    """

    size: tuple[int, int]
    axes: tuple[float, ...]

    @property
    def normal(self) -> Array:
        """Unit vector along which the slices of a stack follow each other."""
        normal: Array = np.cross(self.axes[:3], self.axes[3:])
        return normal


@dataclass(frozen=True)
class Head:
    """One CT slice.

    Attributes:
        path: Its file.
        series: Series instance UID; empty where it was blanked.
        frame: None where it states none.
        position: LPS position of its first pixel, mm; None as well.
    """

    path: Path
    series: str
    frame: Frame | None
    position: tuple[float, ...] | None


def read_head(path: Path) -> Head | None:
    """The header of a CT slice; None for every other DICOM object.

    Raises:
        CaseError: The file cannot be parsed.
    """
    with pydicom.config.disable_value_validation():
        data = parsed_tags(path, HEAD_TAGS, pixels=False)
        if not is_object(path, data) or not is_ct(path, data):
            return None
        return head_of(path, data)


def head_of(path: Path, data: Any) -> Head:
    """The header of a CT slice whose `HEAD_TAGS` have been parsed.

    Raises:
        CaseError: It is cut off.
    """
    series = str(data.get("SeriesInstanceUID") or "")
    # Cut off before it, a file would look like one whose UID was blanked.
    if not series and "PixelData" not in parsed_tags(path, ["PixelData"], pixels=True):
        raise refusal(path, "damaged DICOM file: it ends before its pixels", "copy it again")
    return Head(path, series, _frame(data), _numbers(data.get("ImagePositionPatient"), 3))


def _frame(data: Any) -> Frame | None:
    axes = _numbers(data.get("ImageOrientationPatient"), 6)
    size = _numbers([data.get("Rows"), data.get("Columns")], 2)
    return None if axes is None or size is None else Frame((int(size[0]), int(size[1])), axes)


def _numbers(values: Any, count: int) -> tuple[float, ...] | None:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == count and np.isfinite(numbers).all() else None


@dataclass(frozen=True)
class Traits:
    """How a slice was acquired and reconstructed, as far as its header says.

    Attributes:
        values: One text for each kind of trait, empty where the header says nothing.
        words: The same as a name may hold them; None where nothing may be told: descriptions are
            free text, in which patients are named, and times are dates.
    """

    values: tuple[str, ...]
    words: tuple[str | None, ...]


def read_traits(head: Head) -> Traits:
    """The traits of a slice; malformed ones, for which no scan is refused, count as not stated."""
    told = sound_tags(head.path, _TRAITS)
    text = {name: _text(told.get(name)) for name in _TRAITS}
    phase = _phase(text["SeriesDescription"], text["NominalPercentageOfCardiacPhase"])
    kernel = _NO_CODE.sub("-", text["ConvolutionKernel"]).strip("-")
    traits: list[tuple[str, str | None]] = [
        (phase, phase),
        (text["TemporalPositionIdentifier"], f"t{text['TemporalPositionIdentifier']}"),
        (text["AcquisitionNumber"], f"a{text['AcquisitionNumber']}"),
        (kernel, kernel),
        (text["SliceThickness"], f"{text['SliceThickness']}mm"),
        (text["KVP"], f"{text['KVP']}kV"),
        (_plane(head.frame), _plane(head.frame)),
        (text["PixelSpacing"], None),
        (text["ImageType"], None),
        (text["SeriesDescription"], None),
        (text["AcquisitionDateTime"] or text["AcquisitionTime"], None),
        (text["TriggerTime"], None),
    ]
    return Traits(
        tuple(value for value, _ in traits),
        tuple(
            word if value and word and len(word) <= _LONGEST_WORD else None
            for value, word in traits
        ),
    )


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, Sequence):
        return "\\".join(map(_text, value))
    return f"{float(value):g}" if isinstance(value, float | int) else str(value)


def _phase(description: str, cardiac: str) -> str:
    """The part of the breathing or heart cycle, `T10` or `10pct`."""
    if match := _PHASE.search(description):
        return f"T{float(match[1]):g}"
    if match := _PERCENT.search(description):
        return f"{float(match[1]):g}pct"
    return f"{cardiac}pct" if cardiac else ""


def _plane(frame: Frame | None) -> str:
    return "" if frame is None else _PLANES[int(np.abs(frame.normal).argmax())]
