"""Masks written as DICOM-SEG: of the right patient, study and series, in the right place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import highdicom as hd
import numpy as np
import pandas as pd
import pydicom
import pytest
from support.dicom_phantom import SIZE, change, uid, write_ct

from lnq.data.case import DicomScan
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.readers import Scan, find_scans, read_image, read_label
from lnq.errors import CaseError, RunError, UsageError
from lnq.evaluation import evaluate_folders, match_cases
from lnq.files import write_json
from lnq.inference import dicom_seg_writer
from lnq.inference.mask_files import plan, write_masks
from lnq.inference.predictor import Prediction, Predictor
from lnq.inference.scan_folder import predict_folder
from lnq.inference.segmenter import LoadedCheckpoint, Segmenter
from lnq.predictions import read_predicted
from lnq.reporting.evaluations import with_scans
from lnq.reporting.scenes import read_scene
from lnq.volume import Volume, reorient
from lnq.volume_file import write_volume

NAME = "Mustermann^case_0001"


class Marking:
    """In a network's place: marks what is above 500 HU in two slices."""

    preprocessing = Preprocessing()

    def predict(self, scan: Volume, _: object = None, counted: Any = None) -> Prediction:
        mask = np.zeros(scan.array.shape, np.uint8)
        mask[[1, 4]] = scan.array[[1, 4]] > 500
        probability = Volume(mask.astype(np.float32), scan.grid)
        return Prediction(Volume(mask, scan.grid), probability, ())


CHECKPOINT = LoadedCheckpoint(Path("last.ckpt"), "its hash")
SEGMENTER = Segmenter(cast("Predictor", Marking()), [CHECKPOINT])


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    write_ct(tmp_path / "in" / "scan")
    return tmp_path / "in"


@pytest.mark.slow
def test_a_mask_that_belongs_to_its_scan(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    (job,) = plan(find_scans(scans), scans, output, "dicom-seg")
    assert job.mask_name == "scan.dcm"
    write_masks(SEGMENTER.segment(job.image), job, output, save_probabilities=True)
    assert sorted(path.name for path in output.rglob("*") if path.is_file()) == [
        "scan.dcm", "scan.nrrd",
    ]  # fmt: skip
    scan = read_image(job.image)
    expected = Marking().predict(scan).mask.array
    label = read_label(output / "scan.dcm", scan=Scan(job.image, scan.grid))
    assert label.grid == scan.grid
    assert np.array_equal(label.array, expected)
    # Another library's eyes.
    seg: Any = hd.seg.segread(output / "scan.dcm")
    first: Any = pydicom.dcmread(job.image / "1-001.dcm")
    for tag in ("PatientID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID"):
        assert seg[tag].value == first[tag].value
    assert seg.Modality == "SEG"
    assert seg.SeriesInstanceUID != first.SeriesInstanceUID
    (series,) = seg.ReferencedSeriesSequence
    assert series.SeriesInstanceUID == first.SeriesInstanceUID
    slices = {one.ReferencedSOPInstanceUID for one in series.ReferencedInstanceSequence}
    assert slices == {uid("case_0001", "slice", z) for z in range(SIZE[0])}
    described = seg.get_segment_description(1)
    assert described.segment_label == "Lymph node"
    assert described.segmented_property_type.value == "59441001"
    assert seg.number_of_segments == 1
    volume = seg.get_volume(combine_segments=True)
    lowest = int(np.flatnonzero(expected.any(axis=(1, 2)))[0])
    height = scan.grid.to_world(np.array([lowest, 0, 0]))[2]
    heights = [volume.map_indices_to_reference(np.array([[z, 0, 0]]))[0, 2]
               for z in range(volume.shape[0])]  # fmt: skip
    there = volume.array[int(np.argmin(np.abs(np.array(heights) - height)))]
    assert np.array_equal(there, expected[lowest])


def test_evaluate_and_report_read_it(scans: Path, tmp_path: Path) -> None:
    output = tmp_path / "run" / "predictions"
    (job,) = plan(find_scans(scans), scans, output, "dicom-seg")
    write_masks(SEGMENTER.segment(job.image), job, output, save_probabilities=False)
    scan = read_image(job.image)
    half = Marking().predict(scan).mask.array
    half[4] = 0  # of two slices
    references = tmp_path / "references"
    write_volume(reorient(Volume(half, scan.grid), "RAI"), references / "scan-seg.nii.gz")
    made = {"case": "scan", "mask": "scan.dcm", "image": str(job.image)}
    write_json(output / "manifest.json", {"cases": [made]})
    folder = tmp_path / "run" / "evaluation"
    result = evaluate_folders(
        output, references, folder, config={"reference_kind": "binary"}, reference_kind="binary",
        min_overlap=0.25,
    )  # fmt: skip
    assert (result.exit_code, result.failures) == (0, [])
    row = pd.read_csv(folder / "metrics.csv").iloc[0]
    full = np.count_nonzero(Marking().predict(scan).mask.array)
    assert row["case"] == "scan"
    assert row["recall"] == 1
    assert row["precision"] == pytest.approx(np.count_nonzero(half) / full)
    (layers,) = read_scene("scan", {0: with_scans(folder, output)}).layers.values()
    drawn = layers.masks["prediction"] | layers.masks["false_positive"]
    assert np.count_nonzero(drawn) == full


def test_a_scan_in_several_folders_goes_all_the_way(scans: Path, tmp_path: Path) -> None:
    """Its mask refers to every slice, and evaluate and report find the scan by the record."""
    expected = read_image(scans / "scan")
    (scans / "more").mkdir()
    for name in ("1-002.dcm", "1-005.dcm"):
        (scans / "scan" / name).rename(scans / "more" / name)
    write_ct(scans / "other", "case_0002")
    output = tmp_path / "predictions"
    jobs = plan(find_scans(scans), scans, output, "dicom-seg")
    assert predict_folder(SEGMENTER, jobs, output, config={}, say=str) == 0
    _, cases = read_predicted(output)
    assert [case.mask for case in cases] == ["more.dcm", "other.dcm"]
    image = cases[0].image
    assert isinstance(image, DicomScan)
    assert np.array_equal(read_image(image).array, expected.array)
    seg: Any = hd.seg.segread(output / "more.dcm")
    (series,) = seg.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == SIZE[0]
    write_volume(Marking().predict(expected).mask, tmp_path / "references/more.nii.gz")
    folder = tmp_path / "evaluation"
    evaluate_folders(
        output, tmp_path / "references", folder, config={"reference_kind": "binary"},
        reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip
    assert list(pd.read_csv(folder / "metrics.csv")["dice"]) == [1]
    scene = read_scene("more", {0: with_scans(folder, output)})
    assert np.array_equal(scene.image.array, reorient(expected).array)


def test_references_must_be_images(scans: Path, tmp_path: Path) -> None:
    for folder in ("p", "r"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.dcm").touch()
    with pytest.raises(
        UsageError, match=r"references.*Write DICOM annotations as images: lnq\.export"
    ):
        match_cases(tmp_path / "p", tmp_path / "r")


def test_an_empty_mask_is_a_file_too(scans: Path, tmp_path: Path) -> None:
    scan = read_image(scans / "scan")
    mask = Volume(np.zeros(SIZE, np.uint8), scan.grid)
    dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "a.dcm")
    label = read_label(tmp_path / "a.dcm", scan=Scan(scans / "scan", scan.grid))
    assert not label.array.any()


def test_only_for_dicom(scans: Path, tmp_path: Path) -> None:
    (scans / "other.nrrd").write_bytes(b"NRRD")
    with pytest.raises(UsageError, match=r"other\.nrrd.*1 of 2 scans"):
        plan(find_scans(scans), scans, tmp_path / "out", "dicom-seg")


def test_without_the_library(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs highdicom. Pip install"):
        plan([scans / "scan"], scans, tmp_path / "out", "dicom-seg")


def test_nothing_is_left_where_it_cannot_be_written(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = read_image(scans / "scan")
    mask = Marking().predict(scan).mask
    other = Volume(1 - mask.array, scan.grid)
    with monkeypatch.context() as patch:
        patch.setattr(dicom_seg_writer, "read_label", lambda *_, **__: other)
        with pytest.raises(RunError, match="other voxels"):
            dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "out" / "a.dcm")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_scan_whose_headers_lack_what_is_repeated(
    scans: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
) -> None:  # fmt: skip
    scan = read_image(scans / "scan")
    mask = Marking().predict(scan).mask
    for file in (scans / "scan").iterdir():
        change(file, lambda d: delattr(d, "StudyInstanceUID"))
    with pytest.raises(CaseError, match="StudyInstanceUID is missing") as error:
        dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "a.dcm")
    said = [str(error.value), *capfd.readouterr(), *(str(w.message) for w in recwarn)]
    assert "Mustermann" not in "".join(said)


def _set(**tags: object) -> Callable[[Any], object]:
    def edit(data: Any) -> None:
        with pydicom.config.disable_value_validation():  # as files are that break the rules
            for tag in tags.items():
                setattr(data, *tag)

    return edit


def _without(*tags: str) -> Callable[[Any], object]:
    return lambda data: [delattr(data, tag) for tag in tags]


def _stored(charset: str, name: bytes) -> Callable[[Any], object]:
    """A name as bytes, under a character set that need not fit it."""

    def edit(data: Any) -> None:
        data.SpecificCharacterSet = charset
        data.add_new("PatientName", "PN", name)

    return edit


@pytest.mark.parametrize(
    ("edit", "repeated"),
    [(_set(SpecificCharacterSet="ISO_IR 100", PatientName="Müller"), {"PatientName": "Müller"}),
     (_set(SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada=山田"),
      {"PatientName": "Yamada=山田", "SpecificCharacterSet": "ISO_IR 192"}),
     (_stored("ISO_IR 999", b"Mueller"),
      {"PatientName": "Mueller", "SpecificCharacterSet": "ISO_IR 192"}),
     (_stored("ISO-IR 100", b"M\xfcller"),
      {"PatientName": "Müller", "SpecificCharacterSet": "ISO_IR 192"}),
     (_set(PatientBirthDate="1960", PatientSex="X", AccessionNumber="77"),
      {"PatientBirthDate": "", "PatientSex": "", "AccessionNumber": ""}),
     (_set(StudyDate="2020.01.31", StudyTime="12:30:05"),
      {"StudyDate": "20200131", "StudyTime": "123005"}),
     (_without("PatientID", "StudyID", "StudyDate", "StudyTime", "PatientBirthDate", "PatientSex",
               "AccessionNumber", "ReferringPhysicianName", "SliceThickness"), {"PatientID": ""})],
)  # fmt: skip
def test_what_can_be_repeated_without_loss_is(
    scans: Path,
    tmp_path: Path,
    edit: Callable[[Any], object],
    repeated: dict[str, str],
    recwarn: pytest.WarningsRecorder,
) -> None:
    for file in (scans / "scan").iterdir():
        change(file, edit)
    scan = read_image(scans / "scan")
    mask = Marking().predict(scan).mask
    recwarn.clear()
    dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "a.dcm")
    assert [str(one.message) for one in recwarn] == []
    seg: Any = pydicom.dcmread(tmp_path / "a.dcm")
    assert {tag: str(seg[tag].value or "") for tag in repeated} == repeated
    label = read_label(tmp_path / "a.dcm", scan=Scan(scans / "scan", scan.grid))
    assert np.array_equal(label.array, mask.array)


def test_nothing_else_of_the_patient_is_repeated(scans: Path, tmp_path: Path) -> None:
    words = (
        "PatientComments", "ImageComments", "AdditionalPatientHistory", "ReferringPhysicianName",
        "PerformingPhysicianName", "OperatorsName", "AccessionNumber", "InstitutionName",
        "InstitutionAddress", "StationName", "StudyDescription", "OtherPatientNames", "Occupation",
        "PatientAddress", "MedicalAlerts", "EthnicGroup", "IssuerOfPatientID", "StudyComments",
    )  # fmt: skip
    dates = ("PatientBirthDate", "LastMenstrualDate", "AcquisitionDate", "ContentDate")
    for file in (scans / "scan").iterdir():
        change(file, _set(**dict.fromkeys(words, "S3CRET"), **dict.fromkeys(dates, "19610413")))
    mask = Marking().predict(read_image(scans / "scan")).mask
    dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "a.dcm")
    written = (tmp_path / "a.dcm").read_bytes()
    assert b"S3CRET" not in written
    assert b"19610413" not in written


@pytest.mark.parametrize(
    ("edit", "why"),
    [(_without("FrameOfReferenceUID"), "FrameOfReferenceUID is missing or blank"),
     (_set(SOPInstanceUID=""), "SOPInstanceUID is missing or blank"),
     (_set(SOPInstanceUID="1.2.3"), "6 slices share the SOPInstanceUID"),
     pytest.param(
         _stored("ISO_IR 999", b"M\xfcller"), "SpecificCharacterSet names an unknown one",
         marks=pytest.mark.filterwarnings("ignore:Unknown encoding"),  # as the test writes it
     ),
     (_set(StudyTime="noon"), "StudyTime is malformed")],
)  # fmt: skip
def test_what_cannot_be_is_named(
    scans: Path, tmp_path: Path, edit: Callable[[Any], object], why: str
) -> None:
    for file in (scans / "scan").iterdir():
        change(file, edit)
    mask = Marking().predict(read_image(scans / "scan")).mask
    with pytest.raises(CaseError, match=why):
        dicom_seg_writer.write_dicom_seg(mask, scans / "scan", tmp_path / "a.dcm")
