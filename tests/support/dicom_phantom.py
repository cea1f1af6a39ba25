"""Tiny DICOM objects as hospitals and collections have them: CT series, DICOM-SEG, RTSTRUCT."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import highdicom as hd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, RTStructureSetStorage, generate_uid

from lnq.volume import Array

SIZE = (6, 12, 10)
SPACING = (2.5, 0.9, 0.8)
ORIGIN = (-10.0, 5.0, -40.0)


def uid(*parts: object) -> str:
    return generate_uid(entropy_srcs=[str(part) for part in parts])


def change(path: Path, edit: Callable[[Any], object]) -> Path:
    """Edits a DICOM file's tags in place."""
    data = pydicom.dcmread(path)
    edit(data)
    data.save_as(path)
    return path


def _file(path: Path, kind: str, instance: str, patient: str, modality: str) -> Any:
    data = FileDataset(str(path), {}, preamble=bytes(128))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = kind
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = instance
    data.PatientID, data.PatientName, data.Modality = patient, f"Mustermann^{patient}", modality
    data.PatientBirthDate = data.PatientSex = data.AccessionNumber = data.StudyID = ""
    data.StudyDate = data.StudyTime = data.ReferringPhysicianName = ""
    data.StudyInstanceUID = uid(patient, "study")
    return data


def write_ct(
    folder: Path,
    patient: str = "case_0001",
    array: Array | None = None,
    spacing: Sequence[float] = SPACING,
) -> Path:
    """A CT series whose file names run against the positions.

    Args:
        folder: Where.
        patient: Also decides all UIDs.
        array: HU, z y x.
        spacing: Of z, y, x in mm.
    """
    if array is None:
        array = np.random.default_rng(len(patient)).integers(-1000, 1000, SIZE)
    folder.mkdir(parents=True, exist_ok=True)
    for z, plane in enumerate(array):
        path = folder / f"1-{len(array) - z:03d}.dcm"
        data = _file(path, CTImageStorage, uid(patient, "slice", z), patient, "CT")
        data.SeriesInstanceUID, data.FrameOfReferenceUID = uid(patient, "ct"), uid(patient, "frame")
        data.InstanceNumber, data.SeriesNumber, data.PositionReferenceIndicator = z + 1, 1, ""
        data.Rows, data.Columns, data.SamplesPerPixel = *plane.shape, 1
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.ImagePositionPatient = [ORIGIN[0], ORIGIN[1], ORIGIN[2] + spacing[0] * z]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.PixelSpacing, data.SliceThickness = list(spacing[1:]), 1.0
        data.RescaleSlope, data.RescaleIntercept = 1, 0
        data.PixelData = plane.astype("<i2").tobytes()
        data.save_as(path, enforce_file_format=True)
    return folder


def write_seg(
    path: Path,
    scan: Path,
    masks: Mapping[str, Array],
    description: str = "Partially Annotated",
    kind: str = "BINARY",
    **changes: Any,
) -> Path:
    """A DICOM-SEG of a CT series.

    Args:
        path: Where.
        scan: The series' folder.
        masks: By segment's name, z y x.
        description: Of the series.
        kind: Type of segmentation.
        changes: Tags to set afterwards.
    """
    slices = sorted((pydicom.dcmread(file) for file in scan.iterdir()),
                    key=lambda data: float(data.ImagePositionPatient[2]))  # fmt: skip
    segments = [
        hd.seg.SegmentDescription(
            number, name, codes.SCT.AnatomicalStructure, codes.SCT.Tissue, "MANUAL"
        )
        for number, name in enumerate(masks, start=1)
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    data = hd.seg.Segmentation(
        slices, np.stack(list(masks.values()), axis=-1), kind, segments, generate_uid(), 2,
        generate_uid(), 1, "maker", "model", "1", "1", series_description=description,
        max_fractional_value=200,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path)
    return path


def write_rtstruct(
    path: Path, patient: str, rois: Mapping[str, Sequence[Array]], **changes: Any
) -> Path:
    """An RTSTRUCT of the series that `write_ct` writes for a patient.

    Args:
        path: Where.
        patient: Whose.
        rois: By name, closed contours, each (points, 3) x y z mm.
        changes: Tags to set afterwards.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = _file(path, RTStructureSetStorage, generate_uid(), patient, "RTSTRUCT")
    data.SeriesInstanceUID = generate_uid()
    data.StructureSetROISequence, data.ROIContourSequence = [], []
    for number, (name, contours) in enumerate(rois.items(), start=1):
        roi, drawn = Dataset(), Dataset()
        roi.ROINumber, roi.ROIName = number, name
        roi.ReferencedFrameOfReferenceUID = uid(patient, "frame")
        drawn.ReferencedROINumber, drawn.ContourSequence = number, []
        for points in contours:
            one = Dataset()
            one.ContourGeometricType, one.NumberOfContourPoints = "CLOSED_PLANAR", len(points)
            one.ContourData = [float(f"{v:.6g}") for v in np.ravel(points)]
            drawn.ContourSequence.append(one)
        data.StructureSetROISequence.append(roi)
        data.ROIContourSequence.append(drawn)
    for name, value in changes.items():
        setattr(data, name, value)
    data.save_as(path, enforce_file_format=True)
    return path


def box(*ranges: tuple[int, int]) -> Array:
    mask = np.zeros(SIZE, bool)
    mask[tuple(slice(*one) for one in ranges)] = True
    return mask
