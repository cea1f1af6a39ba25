"""The doctor finds what is wrong with a dataset and touches nothing in it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from lnq.data.case import Case
from lnq.data.inspection import inspect_case, inspect_cases
from lnq.doctor import main
from lnq.files import sha256
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((12, 20, 20), (3.0, 1.0, 1.0))


def scan(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-1000, 900, GRID.size, dtype=np.int16)


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
    assert report.component_volumes_mm3 == [57.0, 3.0]
    assert report.hu_range == (scan().min(), scan().max())


def test_problems_are_named(tmp_path: Path) -> None:
    positive = (scan().astype(np.int32) + 1000).astype(np.int16)
    shifted = Grid(GRID.size, GRID.spacing_mm, (0.5, 0.0, 0.0))
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
        assert words in found[name].problems[0]
    assert found["air"].size is None
    assert found["off"].component_volumes_mm3 is None


def test_an_empty_or_smaller_label_is_a_note(tmp_path: Path) -> None:
    empty = inspect_case(case(tmp_path, "a", label=np.zeros(GRID.size, np.uint8)))
    assert (empty.problems, empty.notes) == ([], ["the label is empty"])
    smaller = inspect_case(
        case(tmp_path, "b", label=nodes()[2:10], label_grid=GRID.crop((2, 0, 0), (10, 20, 20)))
    )
    assert smaller.problems == []
    assert "placed" in smaller.notes[0]
    assert smaller.component_volumes_mm3 == [57.0, 3.0]


def test_duplicates_by_their_voxels(tmp_path: Path) -> None:
    cases = [case(tmp_path, "a"), case(tmp_path, "b", scan(1)), case(tmp_path, "c")]
    problems = [report.problems for report in inspect_cases(cases)]
    assert problems == [[], [], ["the same scan as a"]]


def run(tmp_path: Path) -> int:
    with pytest.raises(SystemExit) as stop:
        main([f"data.root={tmp_path / 'data'}", f"paths.outputs={tmp_path / 'out'}"])
    return int(stop.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case(tmp_path / "data", "a")
    before = sha256(tmp_path / "data")
    assert run(tmp_path) == 0
    bad = case(tmp_path / "data", "b", scan(1))
    bad.image.write_bytes(bad.image.read_bytes()[:-50])
    assert run(tmp_path) == 3
    shown = capsys.readouterr().out
    assert "problem: b: cannot read" in shown
    assert "2 cases, 1 with problems" in shown
    record = json.loads((tmp_path / "out/doctor/lnq2023.json").read_text())
    assert [len(one["problems"]) for one in record["cases"]] == [0, 1]
    assert str(bad.image) in record["cases"][1]["problems"][0]
    for path in (bad.image, bad.label):
        assert path is not None
        path.unlink()
    assert sha256(tmp_path / "data") == before


def test_the_command_refuses_a_missing_root(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path) == 2
    assert "data root is missing" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
