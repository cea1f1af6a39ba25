"""What a DICOM-SEG repeats of its scan's slices: as little as it may, as the standard wants it."""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydicom
from pydicom.charset import python_encoding
from pydicom.valuerep import DA, TM

from lnq.data.case import ScanPath
from lnq.data.readers import ordered_files
from lnq.data.readers.dicom_objects import class_of_tags, parsed_tags
from lnq.errors import CaseError

_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID")
# May be empty by the standard: where the scan lacks them, nothing is lost.
_MAY_BE_EMPTY = ("PatientName", "PatientID", "StudyID", "StudyDate", "StudyTime")
# Must be there, and say more of the patient than a mask needs to.
_EMPTY = ("PatientBirthDate", "PatientSex", "AccessionNumber", "ReferringPhysicianName")
_TAGS = [
    *_UIDS, *_MAY_BE_EMPTY, "SOPClassUID", "SpecificCharacterSet", "Rows", "Columns",
    "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "PositionReferenceIndicator",
]  # fmt: skip
_TEXTS = ("PatientName", "PatientID", "StudyID", "PositionReferenceIndicator")
_UTF_8 = "ISO_IR 192"


def source_images(scan: ScanPath, step_mm: float) -> list[Any]:
    """The slices of a scan, from bottom to top, with the tags that a segmentation repeats.

    Old forms of dates and times, and character sets by code extension, are brought to today's,
    which hold the same. Pixels are not read.

    Args:
        scan: Folder of the slices.
        step_mm: Their distance, for scans that do not state a thickness.

    Raises:
        CaseError: Names the tag that is missing, or malformed beyond that.
    """
    with pydicom.config.disable_value_validation():
        slices = [_slice(file, step_mm) for file in ordered_files(scan)]
    uid, count = Counter(str(one.SOPInstanceUID) for one in slices).most_common(1)[0]
    if count > 1:
        raise _refusal(scan, f"{count} slices share the SOPInstanceUID {uid}")
    return slices


def _slice(file: Path, step_mm: float) -> Any:
    data = parsed_tags(file, _TAGS, pixels=False)
    data.SOPClassUID = class_of_tags(data)
    for tag in _UIDS:
        if not data.get(tag):
            raise _refusal(file, f"the DICOM tag {tag} is missing or blank")
    for tag in _MAY_BE_EMPTY:
        if data.get(tag) is None:
            setattr(data, tag, "")
    for tag in _EMPTY:
        setattr(data, tag, "")
    _modernise(file, data, "StudyDate", DA, r"(\d{4})\.(\d{2})\.(\d{2})")
    _modernise(file, data, "StudyTime", TM, r"(\d{2}):(\d{2})(?::(\d{2}(?:\.\d+)?))?")
    data.SliceThickness = data.get("SliceThickness") or step_mm
    _in_unicode(file, data)
    return data


def _in_unicode(file: Path, data: Any) -> None:
    """Character sets that are several, misspelt or unknown become UTF-8, where that loses nothing.

    Raises:
        CaseError: A character set is unknown, and a text has other characters than ASCII.
    """
    stated = data.get("SpecificCharacterSet") or ""
    if isinstance(stated, str) and (not stated or stated in python_encoding):
        return
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")  # they become our error
        data.decode()
        texts = {tag: str(data.get(tag) or "") for tag in _TEXTS}
    unknown = any("Unknown encoding" in str(one.message) for one in said)
    if unknown and not all(text.isascii() for text in texts.values()):
        raise _refusal(file, "the DICOM tag SpecificCharacterSet names an unknown one, and texts "
                       "need it")  # fmt: skip
    data.PatientName = texts["PatientName"]
    data.SpecificCharacterSet = _UTF_8


def _modernise(file: Path, data: Any, tag: str, kind: Callable[[str], Any], old: str) -> None:
    """A date or time of the standard's first versions has separators."""
    value = str(data[tag].value or "").strip()
    if match := re.fullmatch(old, value):
        value = "".join(part or "" for part in match.groups())
    try:
        kind(value)
    except ValueError as error:
        raise _refusal(file, f"the DICOM tag {tag} is malformed") from error
    setattr(data, tag, value)


def _refusal(place: ScanPath, why: str) -> CaseError:
    return CaseError("no DICOM-SEG can be made for this scan", where=place, why=why,
                     remedy="restore that tag, or use output_format=nrrd")  # fmt: skip
