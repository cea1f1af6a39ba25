"""Splits are by patient, kept in the store with their hash, and a changed one is told."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import SimpleITK as sitk
from support.synthetic_chest import GRID, chest

from lnq import doctor, preprocess
from lnq.data.case import Case, Split
from lnq.data.datasets.patients import (
    check_patients,
    split_changes,
    split_hash,
    split_table,
)
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.volume import to_sitk


def case(name: str, split: Split, group: str) -> Case:
    return Case(name, Path(name), None, split, "none", group)


def test_one_patient_in_two_splits() -> None:
    cases = [case("a", "train", "p"), case("b", "train", "p"), case("c", "val", "q")]
    check_patients(cases, "root")
    cases.append(case("d", "test", "p"))
    with pytest.raises(
        UsageError, match=r"several splits .*: d is in test, a of the same patient in train"
    ):
        check_patients(cases, "root")


def test_the_hash_is_of_cases_patients_and_splits() -> None:
    cases = [case("a", "train", "p"), case("b", "val", "q")]
    same = split_hash(split_table(cases))
    assert split_hash(split_table(cases[::-1])) == same
    for other in (case("a", "val", "p"), case("a", "train", "r"), case("c", "train", "p")):
        assert split_hash(split_table([other, cases[1]])) != same
    assert split_hash(split_table(cases[:1])) != same


def test_changes_are_of_cases_that_were_there() -> None:
    before = split_table([case("a", "train", "a"), case("b", "val", "b")])
    now = split_table([case("a", "val", "a"), case("b", "val", "p"), case("c", "test", "c")])
    assert split_changes(before, now) == ["a from train to val"]
    assert split_changes(None, now) == []


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two scans, and `cases.csv`."""
    root = tmp_path / "data"
    root.mkdir()
    for number, name in enumerate("ab"):
        scan = chest()
        scan.array[:, :, :2] += number
        sitk.WriteImage(to_sitk(scan), root / f"{name}.nrrd", useCompression=True)
    assert scan.grid == GRID
    return root


def write_table(root: Path, a: str, b: str, patient_of_b: str = "q") -> None:
    (root / "cases.csv").write_text(f"image,split,group\na.nrrd,{a},p\nb.nrrd,{b},{patient_of_b}\n")


def run(tmp_path: Path, command: object, *more: str) -> int:
    arguments = ["data=pairs", f"data.root={tmp_path / 'data'}", "data.layout.table=cases.csv",
                 f"paths.outputs={tmp_path / 'out'}", *more]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        command(arguments)
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_preprocess_keeps_the_split_and_tells_of_another(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("num_workers=0", "preprocessing.spacing_mm=[10,8,8]")
    write_table(data, "train", "val")
    assert run(tmp_path, preprocess.main, *settings) == 0
    store = tmp_path / "out/preprocess/pairs"
    first = json.loads((store / "manifest.json").read_text())
    assert first["split"]["b"] == {"split": "val", "group": "q"}
    assert first["split_sha256"] == split_hash(first["split"])
    assert CaseStore(store).split_sha256 == first["split_sha256"]
    assert "another split" not in capsys.readouterr().out
    write_table(data, "train", "test")
    assert run(tmp_path, preprocess.main, *settings) == 0
    said = capsys.readouterr().out
    assert "1 cases are in another split than before: b from val to test" in said
    second = json.loads((store / "manifest.json").read_text())
    assert second["split_sha256"] != first["split_sha256"]
    assert CaseStore(store).case_ids("test") == ["b"]


def test_a_torn_patient_is_refused(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_table(data, "train", "test", patient_of_b="p")
    assert run(tmp_path, preprocess.main) == 2
    assert "b is in test, a of the same patient in train" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_copies_of_a_label_are_told_for_both_scans(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mask = sitk.Image(*GRID.size[::-1], sitk.sitkUInt8)
    mask.CopyInformation(sitk.ReadImage(data / "a.nrrd"))
    mask[10:13, 10:13, 5:8] = 1
    rows = ["image,label"]
    for name, label in (("a.nrrd", "a_ln.nrrd"), ("b.nrrd", "b_ln.nii.gz")):
        sitk.WriteImage(mask, data / label)
        rows.append(f"{name},{label}")
    (data / "cases.csv").write_text("\n".join(rows))
    for _ in range(2):  # built, and kept
        assert (
            run(tmp_path, preprocess.main, "num_workers=0", "preprocessing.spacing_mm=[9,9,9]") == 0
        )
        said = capsys.readouterr().out
        assert "a: warning: the same label as b" in said
        assert "b: warning: the same label as a" in said
    assert run(tmp_path, doctor.main, "num_workers=0") == 3
    said = capsys.readouterr().out
    assert "problem: a: the same label as b" in said
    assert "problem: b: the same label as a" in said


@pytest.mark.slow
def test_a_scan_that_is_there_twice(
    tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ("num_workers=0", "preprocessing.spacing_mm=[10,8,8]")
    (data / "b.nrrd").write_bytes((data / "a.nrrd").read_bytes())
    store = tmp_path / "out/preprocess/pairs"
    write_table(data, "test", "test")
    assert run(tmp_path, preprocess.main, *settings) == 0
    assert "b: warning: the same scan as a" in capsys.readouterr().out
    assert CaseStore(store).case_ids() == ["a", "b"]
    write_table(data, "test", "train")
    for _ in range(2):
        assert run(tmp_path, preprocess.main, *settings) == 3
        said = capsys.readouterr().out
        assert "a: failed: the same scan as b" in said
        assert "it is in test, b in train" in said
        assert CaseStore(store).case_ids() == ["b"]
        (failure,) = json.loads((store / "failures.json").read_text())
        assert failure["case"] == "a"
    assert run(tmp_path, doctor.main, "num_workers=0") == 3
    assert "problem: a: the same scan as b" in capsys.readouterr().out
