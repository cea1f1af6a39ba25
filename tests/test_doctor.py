"""The doctor finds what is wrong with a dataset and touches nothing in it."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import forked
from support.dicom_phantom import SIZE, uid, write_ct, write_seg
from support.faults import OUT_OF_MEMORY
from support.synthetic_chest import SMALL, chest_with_spine

from lnq.data.case import Case
from lnq.data.datasets.faults import shared_patients
from lnq.data.preparation import inspection
from lnq.data.preparation.examination import EMPTY_LABEL
from lnq.data.preparation.inspection import compare_cases, inspect_case, inspect_cases
from lnq.doctor import main
from lnq.files import sha256
from lnq.volume import Array, Grid, Volume, to_sitk
from lnq.volume_file import write_volume

GRID = SMALL


def scan(seed: int = 0) -> Array:
    noise = np.random.default_rng(seed).integers(-20, 21, GRID.size, dtype=np.int16)
    return chest_with_spine().array + noise


def nodes() -> Array:
    label = np.zeros(GRID.size, np.uint8)
    label[2:4, 3:6, 3:6] = 1  # 18 voxels
    label[4, 6, 6] = 1  # touches the first by a corner: the same component
    label[9, 15, 15] = 1
    return label


def case(root: Path, name: str, image: Array | None = None, label: Array | None = None,
         label_grid: Grid = GRID) -> Case:  # fmt: skip
    folder = root / "train"
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}-{kind}.nrrd" for kind in ("ct", "seg")]
    arrays = (scan() if image is None else image, nodes() if label is None else label)
    for path, array, grid in zip(paths, arrays, (GRID, label_grid), strict=True):
        sitk.WriteImage(to_sitk(Volume(array, grid)), str(path), useCompression=True)
    return Case(name, paths[0], paths[1], "train", "partial", name)


def test_a_sound_case(tmp_path: Path) -> None:
    report = inspect_case(case(tmp_path, "a"))
    assert report.problems == report.notes == []
    assert report.size == GRID.size
    assert report.spacing_mm == GRID.spacing_mm
    assert report.component_volumes_mm3 == [19 * 640.0, 640.0]
    assert report.annotated_fraction == 20 / (30 * 36 * 48)
    assert (report.orientation, report.origin_mm) == ("LPS", GRID.origin_mm)
    assert report.body_litres == pytest.approx(14.5, abs=1.5)
    assert report.lungs_litres == pytest.approx(1.8, abs=0.4)
    assert report.hu_range == (scan().min(), scan().max())


def test_problems_are_named(tmp_path: Path) -> None:
    positive = (scan().astype(np.int32) + 1000).astype(np.int16)
    x, y, z = GRID.origin_mm
    shifted = Grid(GRID.size, GRID.spacing_mm, (x + 4.0, y, z))
    found = {
        "hu": inspect_case(case(tmp_path, "hu", positive)),
        "air": inspect_case(case(tmp_path, "air", np.full(GRID.size, -1000, np.int16))),
        "off": inspect_case(case(tmp_path, "off", label_grid=shifted)),
        "values": inspect_case(case(tmp_path, "values", label=nodes() * 255)),
    }
    expected = {"hu": "no Hounsfield units", "air": "every voxel has the value -1000",
                "off": "does not lie on the scan's grid", "values": "0, 255"}  # fmt: skip
    for name, words in expected.items():
        assert len(found[name].problems) == 1, name
        assert words in str(found[name].problems[0])
        assert found[name].problems[0].remedy
    assert found["air"].size is None
    assert found["off"].component_volumes_mm3 is None


def test_an_empty_or_smaller_label_is_a_note(tmp_path: Path) -> None:
    empty = inspect_case(case(tmp_path, "a", label=np.zeros(GRID.size, np.uint8)))
    assert (empty.problems, empty.notes) == ([], [EMPTY_LABEL])
    smaller = inspect_case(
        case(tmp_path, "b", label=nodes()[2:10], label_grid=GRID.crop((2, 0, 0), (10, 36, 48)))
    )
    assert smaller.problems == []
    assert "placed" in smaller.notes[0]
    assert smaller.component_volumes_mm3 == [19 * 640.0, 640.0]


def test_duplicates_by_their_voxels(tmp_path: Path) -> None:
    other = np.flip(nodes(), 1)
    cases = [case(tmp_path, "a"), case(tmp_path, "b", scan(1), other), case(tmp_path, "c")]
    reports = compare_cases(cases, list(inspect_cases(cases))[::-1])
    assert [[error.what for error in one.problems] for one in reports] == [
        [], [], ["the same scan as a"],
    ]  # fmt: skip


def test_one_label_for_two_scans_by_its_voxels(tmp_path: Path) -> None:
    """The same file under another name, or in another format; two scans of a patient may share."""
    first, second, third = (case(tmp_path, name, scan(n)) for n, name in enumerate("abc"))
    alone = [
        replace(case(tmp_path, name, scan(5 + n), np.flip(nodes(), 2)), group="p")
        for n, name in enumerate("fg")
    ]
    assert second.label is not None
    nifti = tmp_path / "label of b.nii.gz"
    sitk.WriteImage(sitk.ReadImage(second.label), nifti)
    empty = [case(tmp_path, name, scan(9 + n), 0 * nodes()) for n, name in enumerate("de")]
    cases = [first, replace(second, label=nifti), replace(third, group="a"), *empty, *alone]
    reports = compare_cases(cases, list(inspect_cases(cases)))
    assert [[error.what for error in one.problems] for one in reports] == [
        ["the same label as b"], ["the same label as a, c"], ["the same label as b"], [], [], [],
        [],
    ]  # fmt: skip
    assert ["its label is also that of g" in note for note in reports[5].notes] == [True]
    assert ["its label is also that of f" in note for note in reports[6].notes] == [True]
    assert str(nifti) in str(reports[1].problems[0])


def test_a_scan_too_large_for_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hungry(_: object) -> None:
        raise OUT_OF_MEMORY[0]

    monkeypatch.setattr(inspection, "examine", hungry)
    report = inspect_case(case(tmp_path, "a"))
    assert ["not enough memory" in str(problem) for problem in report.problems] == [True]


def test_a_patient_in_two_splits() -> None:
    cases = [
        Case(name, Path(name), None, split, "none", patient)  # literals
        for name, split, patient in (
            ("a", "test", "Erika"), ("b", "train", "Erika"), ("c", "val", "2"), ("d", "val", "2"),
            ("e", "val", "Erika"),
        )
    ]  # fmt: skip
    found = shared_patients(cases)
    assert sorted(found) == ["a", "e"]
    assert "a is in test, b of the same patient in train" in str(found["a"])
    assert not any("Erika" in str(error) for error in found.values())
    assert shared_patients([replace(one, split="val") for one in cases]) == {}


KILLS = """
import os, signal, sys
from pathlib import Path
import lnq.data.preparation.examination as examination
from lnq.data.preparation import inspection
from lnq.data.case import Case
from lnq.data.preparation.inspection import inspect_cases

real = examination.read_image_with_notes
def read_image_with_notes(path):
    if path.name.startswith("b"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
examination.read_image_with_notes = read_image_with_notes
if __name__ == "__main__":
    cases = [Case(n, Path(sys.argv[1]) / f"{n}-ct.nrrd", None, "test", "none", n) for n in "abc"]
    for report in inspect_cases(cases, 2):
        print(report.case_id, *(error.what for error in report.problems), flush=True)
"""


@pytest.mark.process
def test_a_scan_that_kills_its_process_is_reported(tmp_path: Path) -> None:
    for number, name in enumerate("abc"):
        case(tmp_path / "data", name, scan(number))
    (tmp_path / "kills.py").write_text(KILLS)
    script = [sys.executable, tmp_path / "kills.py", tmp_path / "data" / "train"]
    done = forked.run(script, timeout=300, check=True)
    assert sorted(done.stdout.splitlines()) == [
        "a", "b the process that read this scan died", "c",
    ]  # fmt: skip


def run(tmp_path: Path, *more: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main([f"data.root={tmp_path / 'data'}", f"paths.outputs={tmp_path / 'out'}",
              "num_workers=0", *more])  # fmt: skip
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case(tmp_path / "data", "a")
    before = sha256(tmp_path / "data")
    assert run(tmp_path) == 0
    bad = case(tmp_path / "data", "b", scan(1))
    bad.image.write_bytes(bad.image.read_bytes()[:-50])
    assert run(tmp_path) == 3
    shown = capsys.readouterr().out
    assert "problem: b: cannot read" in shown
    assert "2 cases (0 full, 2 partial, 0 none), 1 with problems" in shown
    record = json.loads((tmp_path / "out/doctor/lnq2023.json").read_text())
    assert [len(one["problems"]) for one in record["cases"]] == [0, 1]
    (problem,) = record["cases"][1]["problems"]
    assert (problem["what"], problem["where"]) == ("cannot read", str(bad.image))
    assert problem["why"]
    assert problem["remedy"]
    for path in (bad.image, bad.label):
        assert path is not None
        path.unlink()
    assert sha256(tmp_path / "data") == before


@pytest.mark.parametrize(
    ("width", "cells"),
    [(80, ["30x36x48", "10x8x8", "2.1", "2: 12 ", "1: 0.64 ", "empty", "note", "problem"]),
     (160, ["30x36x48", "LPS", "14.8", "2.1", "2: 12, 0.64 ", "0.039", "note", "problem"])],
)  # fmt: skip
def test_the_table_fits_narrow_and_wide_terminals(
    width: int,
    cells: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    label = np.zeros(GRID.size, np.uint8)
    names = [f"lnq2023-train-000{number}" for number in range(4)]
    case(tmp_path / "data", names[0])
    case(tmp_path / "data", names[1], scan(1), label)
    label[2, 3, 3] = 1
    case(tmp_path / "data", names[2], scan(2), label)
    case(tmp_path / "data", names[3]).image.write_bytes(b"no header")
    assert run(tmp_path) == 3
    shown = capsys.readouterr().out.split("\nnote: ")[0]
    assert max(map(len, shown.splitlines())) <= width
    for cell in [*names, *cells]:
        assert cell in shown, cell
    assert ("LPS" in shown) == (width > 100)


@pytest.mark.slow
def test_known_background_has_a_column_where_there_are_masks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    for number in range(2):
        label = nodes()
        label[9, 16 + number, 15] = 1
        case(tmp_path / "data", f"lnq2023-train-000{number}", scan(number), label)
    assert run(tmp_path) == 0
    assert "nodes known" not in capsys.readouterr().out
    spine = np.zeros(GRID.size, np.uint8)
    spine[:, 24:28, 22:26] = 1
    masks = tmp_path / "masks"
    write_volume(Volume(spine, GRID), masks / "lnq2023-train-0000" / "vertebrae_T5.nii.gz")
    assert run(tmp_path, f"data.layout.background={masks}") == 0
    shown = capsys.readouterr().out
    table = shown.split("\nnote: ")[0]
    assert max(map(len, table.splitlines())) <= 80
    assert "nodes known" in table
    assert "note: lnq2023-train-0001: it has no masks of background" in shown
    found = json.loads((tmp_path / "out/doctor/lnq2023.json").read_text())["cases"]
    # 0.31 l of a body of 12.7 l without its lungs
    assert found[0]["background_share"] == pytest.approx(0.024, abs=0.002)
    assert found[1]["background_share"] is None


def test_a_folder_of_no_layout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scans of two formats, two DICOM series in one folder, damaged files: all are in the table."""
    data = tmp_path / "data"
    write_volume(Volume(scan(), GRID), data / "a" / "x.nrrd")
    (data / "x.nii").write_bytes(b"no header")
    for patient in ("p1", "p2"):
        for file in write_ct(tmp_path / patient, patient).iterdir():
            (data / "both").mkdir(exist_ok=True)
            file.rename(data / "both" / f"{patient}-{file.name}")
    write_seg(data / "seg" / "1.dcm", write_ct(data / "ct", "p3"), {"node": np.ones(SIZE, bool)})
    (data / "lost").mkdir()
    (data / "lost" / "1.dcm").write_bytes(bytes(128) + b"DICM" + bytes(9))
    assert run(tmp_path) == 3
    said = capsys.readouterr()
    assert "data=scans (no known layout: every scan that lies there, without labels)" in said.err
    record = json.loads((tmp_path / "out/doctor/scans.json").read_text())
    found = {one["case_id"]: one for one in record["cases"]}
    both = {f"both_{uid(patient, 'ct')[-8:]}" for patient in ("p1", "p2")}
    assert set(found) == {"x", "a_x", *both, "ct", "lost"}
    assert [found[name]["size"] for name in (*both, "ct")] == [list(SIZE)] * 3
    assert "no NIfTI file" in found["x"]["problems"][0]["why"]
    assert "damaged" in found["lost"]["problems"][0]["why"]


def test_the_command_refuses_a_missing_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 2
    assert "data root is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
