"""What scans are called, the same by all commands and layouts, and what a table means by a path."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.dicom_series import acquisition, ids, split_in_two, volume, write_series

from lnq.data.case import DicomScan, ScanPath
from lnq.data.datasets import PairsLayout, ScansLayout
from lnq.data.datasets.checks import numbered
from lnq.data.readers import content_hash, find_scans, read_image, scan_ids
from lnq.errors import UsageError
from lnq.inference.mask_files import plan


def test_a_table_means_the_whole_scan(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    acquisition(AcquisitionNumber=lambda k: k)(tmp_path / "PatB/CT")
    table = tmp_path / "cases.csv"
    table.write_text("image\nfirst\nPatB/CT/p1_00.dcm\n")
    layout = PairsLayout(tmp_path, table=Path("cases.csv"))
    phase, whole = layout.cases()
    assert (phase.case_id, whole.case_id) == ("CT_a1", "first")
    assert np.array_equal(read_image(whole.image).array, volume())
    assert whole.notes == (f"slices of its series also lie in {tmp_path / 'second'}: they are "
                           "taken, too",)  # fmt: skip
    assert isinstance(phase.image, DicomScan)
    assert {path.name[:2] for path in phase.image.files} == {"p1"}
    table.write_text("image\nPatB\n")
    with pytest.raises(UsageError, match="holds 2 scans"):
        layout.cases()
    # Both halves are one scan, given twice.
    table.write_text("image\nfirst\nsecond\n")
    with pytest.raises(UsageError, match="several scans have the same case id"):
        layout.cases()
    table.write_text("id,image\na,first\nb,second\n")
    first, second = layout.cases()
    assert content_hash(first.image) == content_hash(second.image)


def test_folders_of_pairs_know_series_by_their_uids(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    split_in_two(images / "PatA")
    acquisition(TemporalPositionIdentifier=lambda k: 1 + k)(images / "PatB/CT")
    labels.mkdir()
    for name in ("PatA.nii.gz", "CT_t2.nrrd"):
        (labels / name).touch()
    cases = PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()
    assert [(case.case_id, case.label and case.label.name) for case in cases] == [
        ("CT_t1", None), ("CT_t2", "CT_t2.nrrd"), ("PatA", "PatA.nii.gz"),
    ]  # fmt: skip
    assert np.array_equal(read_image(cases[2].image).array, volume())


def test_a_case_id_has_the_patient_in_it(tmp_path: Path) -> None:
    """Folders and tables of layout pairs call scans as the doctor and predict do."""
    for name in (
        "images/PatA/CT.nrrd", "images/PatB/CT.nrrd", "images/lone.nrrd",
        "labels/PatB/CT.seg.nrrd", "labels/PatA_CT.nii.gz", "labels/x/lone.nrrd",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = ["PatA_CT", "PatB_CT", "lone"]
    assert ids(tmp_path / "images") == expected
    cases = PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()
    assert [case.case_id for case in cases] == expected
    assert [str(case.label and case.label.relative_to(tmp_path / "labels")) for case in cases] == [
        "PatA_CT.nii.gz", "PatB/CT.seg.nrrd", "x/lone.nrrd",
    ]  # fmt: skip
    rows = ["image", "images/PatA/CT.nrrd", "images/PatB/CT.nrrd", "images/lone.nrrd"]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    cases = PairsLayout(tmp_path / "images/..", table=Path("cases.csv")).cases()
    assert [case.case_id for case in cases] == ["images_PatA_CT", "images_PatB_CT", "lone"]
    (tmp_path / "labels/CT.nrrd").touch()  # whose?
    with pytest.raises(UsageError, match=r"labels without a scan.*labels/CT\.nrrd"):
        PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()


def test_scans_outside_the_root_have_ids_too(tmp_path: Path) -> None:
    scans: list[ScanPath] = [tmp_path / "elsewhere/PatA/CT.nrrd", tmp_path / "data/CT.nrrd"]
    assert scan_ids(scans, tmp_path / "data") == ["PatA_CT", "CT"]


def test_a_folder_given_as_a_dot_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "CT", "1.2.3")
    monkeypatch.chdir(tmp_path / "CT")
    assert [case.case_id for case in ScansLayout(Path()).cases()] == ["CT"]
    write_series(tmp_path / "CT", "1.2.4", prefix="b")
    assert [case.case_id for case in ScansLayout(Path()).cases()] == ["CT_1.2.3", "CT_1.2.4"]


def test_masks_of_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    for name in ("in/A.nrrd", "in/a.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="same name"):
        plan(find_scans(tmp_path / "in"), tmp_path / "in", tmp_path / "out", "mha")


def test_numbered_names_are_no_ones_else() -> None:
    assert numbered(["A", "a", "A_2", "b", "A"]) == ["A", "a_3", "A_2", "b", "A_4"]
