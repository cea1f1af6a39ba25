"""DICOM slices, one file each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from lnq.volume import Array

NAME = "Mustermann^Erika"
CT = "1.2.840.10008.5.1.4.1.1.2"


def stored(number: int) -> Array:
    return np.random.default_rng(number).integers(0, 2000, (9, 7), dtype=np.int16)


def write_slice(path: Path, number: int, series: str, z: float, y: float = 5.0) -> None:
    data = FileDataset(str(path), {}, preamble=bytes(128))
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = CT
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.SeriesInstanceUID, data.Modality, data.PatientName = series, "CT", NAME
    data.StudyInstanceUID, data.InstanceNumber = "1.2.3", number
    data.Rows, data.Columns, data.SamplesPerPixel = 9, 7, 1
    data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
    data.ImagePositionPatient = [-10.0, y, z]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.PixelSpacing, data.SliceThickness = [0.9, 0.8], 2.5
    data.RescaleSlope, data.RescaleIntercept = 1, -1024
    data.PixelData = stored(number).tobytes()
    data.save_as(path, enforce_file_format=True)
