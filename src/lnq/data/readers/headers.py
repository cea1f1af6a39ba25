"""The few header tags by which DICOM objects are matched, read without their pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pydicom

from lnq.data.readers.dicom_heads import HEAD_TAGS, Head, head_of
from lnq.data.readers.dicom_objects import class_of_tags, damage_told, is_ct, is_object, parsed_tags
from lnq.data.readers.dicom_seg import LABEL_MAP, SEGMENTATION

# No name among them. The patient's id is a pseudonym in a public collection, and groups scans.
_TAGS = [*HEAD_TAGS, "SOPInstanceUID", "PatientID"]
_SEGMENTATIONS = (SEGMENTATION, LABEL_MAP)
_REFERENCES = ["SeriesDescription", "ReferencedSeriesSequence", "SourceImageSequence"]


@dataclass(frozen=True)
class ObjectHeader:
    """What one DICOM file says of itself.

    Attributes:
        instance: SOP instance UID.
        series: Series instance UID.
        patient: Patient ID.
        slice: Where it lies, of CT slices; None of other objects.
        is_segmentation: Whether it is a DICOM-SEG.
        description: Series description, of segmentations.
        referenced_series: UIDs of the series that a segmentation refers to.
        referenced_instances: UIDs of the slices that it refers to.
    """

    instance: str
    series: str
    patient: str
    slice: Head | None
    is_segmentation: bool = False
    description: str = ""
    referenced_series: frozenset[str] = frozenset()
    referenced_instances: frozenset[str] = frozenset()


def read_header(path: Path) -> ObjectHeader | None:
    """Reads one header; None for a DICOMDIR.

    Raises:
        CaseError: The file cannot be parsed.
    """
    with pydicom.config.disable_value_validation():
        data = parsed_tags(path, _TAGS, pixels=False)
        if not is_object(path, data):
            return None
        header = ObjectHeader(
            instance=_text(data, "SOPInstanceUID"),
            series=_text(data, "SeriesInstanceUID"),
            patient=_text(data, "PatientID").strip(),
            slice=head_of(path, data) if is_ct(path, data) else None,
        )
        if class_of_tags(data) not in _SEGMENTATIONS:
            return header
        with damage_told(path, "DICOM-SEG"):
            return _with_references(path, header)


def _with_references(path: Path, header: ObjectHeader) -> ObjectHeader:
    data = parsed_tags(path, _REFERENCES, pixels=False)
    series = data.get("ReferencedSeriesSequence") or ()
    slices = [one for item in series for one in item.get("ReferencedInstanceSequence") or ()]
    slices += data.get("SourceImageSequence") or ()
    return replace(
        header,
        is_segmentation=True,
        description=_text(data, "SeriesDescription"),
        referenced_series=frozenset(_text(one, "SeriesInstanceUID") for one in series),
        referenced_instances=frozenset(_text(one, "ReferencedSOPInstanceUID") for one in slices),
    )


def _text(data: Any, name: str) -> str:
    return str(data.get(name) or "")
