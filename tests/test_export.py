"""A dataset as nnU-Net wants it: the same cases, voxel by voxel, and nothing half done."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from support.dicom_phantom import SIZE, write_ct, write_rtstruct, write_seg
from support.folders import names

from lnq import export
from lnq.data.datasets import NnunetLayout, PairsLayout
from lnq.data.datasets.layout_detection import detect
from lnq.data.datasets.nnunet_export import export_cases
from lnq.data.readers import read_image, read_label
from lnq.errors import UsageError
from lnq.volume import Array, Grid, Volume, to_sitk
from lnq.volume_file import write_volume

C, S = np.cos(0.2), np.sin(0.2)
GRID = Grid((7, 9, 11), (3.0, 0.8, 0.9), (5.25, -7.5, -300.0), (C, -S, 0, S, C, 0, 0, 0, -1))
ROWS = [
    {"id": "a", "split": "train", "supervision": "partial", "group": "p"},
    {"id": "a.b", "split": "train", "supervision": "full", "group": "p"},
    {"id": "u", "split": "train", "supervision": "none", "group": "u"},
    {"id": "v_0007", "split": "val", "supervision": "full", "group": "v"},
    {"id": "t", "split": "test", "supervision": "full", "group": "t"},
    {"id": "w", "split": "test", "supervision": "none", "group": "w"},
]


def save(path: Path, array: Array, grid: Grid = GRID) -> None:
    sitk.WriteImage(to_sitk(Volume(array, grid)), path, useCompression=True)


def write_table(root: Path, rows: list[dict[str, str]]) -> None:
    with (root / "cases.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, [*ROWS[0], "image", "label"])
        writer.writeheader()
        for row in rows:
            label = "" if row["supervision"] == "none" else f"{row['id']}-label.nrrd"
            writer.writerow({**row, "image": f"{row['id']}.nrrd", "label": label})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Six scans of every split and supervision; the label of `t` is smaller than its scan."""
    root = tmp_path / "data"
    root.mkdir()
    rng = np.random.default_rng(0)
    for row in ROWS:
        save(root / f"{row['id']}.nrrd", rng.integers(-1000, 900, GRID.size, dtype=np.int16))
        if row["supervision"] != "none":
            label = np.zeros(GRID.size, np.uint8)
            label[2:4, 3:5, 4] = 1
            start = (1, 0, 0) if row["id"] == "t" else (0, 0, 0)
            save(root / f"{row['id']}-label.nrrd", label[start[0] :], GRID.crop(start, GRID.size))
    write_table(root, ROWS)
    return root


def run(data: Path, *more: str) -> int:
    with pytest.raises(SystemExit) as stop:
        export.main([f"data.root={data}", f"output={data.parent / 'raw'}", *more])
    return int(stop.value.code or 0)


def identity(layout: Any) -> list[tuple[str, ...]]:
    return [(c.case_id, c.split, c.supervision, c.group) for c in layout.cases()]


@pytest.mark.slow
def test_there_and_back(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data) == 0
    assert "t: note: label of size" in capsys.readouterr().out
    folder = data.parent / "raw/Dataset501_LNQ"
    assert names(folder / "imagesTr") == [
        "a.b_0000.nii.gz", "a_0000.nii.gz", "v_0007_0000.nii.gz",
    ]  # fmt: skip
    assert names(folder / "labelsTr") == ["a.b.nii.gz", "a.nii.gz", "v_0007.nii.gz"]
    assert names(folder / "imagesTs") == ["t_0000.nii.gz", "u_0000.nii.gz", "w_0000.nii.gz"]
    assert names(folder / "labelsTs") == ["t.nii.gz"]
    description = json.loads((folder / "dataset.json").read_text())
    description.pop("lnq_cases")
    assert description == {
        "channel_names": {"0": "CT"}, "labels": {"background": 0, "lymph_node": 1},
        "numTraining": 3, "file_ending": ".nii.gz",
    }  # fmt: skip
    folds = json.loads((folder / "splits_final.json").read_text())
    assert folds == [{"train": ["a", "a.b"], "val": ["v_0007"]}]
    assert detect(folder).layout == "nnunet"
    source, back = PairsLayout(data, table=Path("cases.csv")), NnunetLayout(folder)
    assert identity(back) == identity(source)
    for before, after in zip(source.cases(), back.cases(), strict=True):
        image = read_image(after.image)
        assert np.array_equal(image.array, read_image(before.image).array)
        assert image.grid.difference(GRID, 1e-3) is None
        if after.label is not None:
            label = read_label(after.label)
            assert label.grid.difference(image.grid, 1e-6) is None
            assert np.argwhere(label.array).tolist() == [
                [z, y, 4] for z in (2, 3) for y in (3, 4)
            ]  # fmt: skip


@pytest.mark.slow
def test_contours_and_chosen_segments_are_drawn_on_their_scans(tmp_path: Path) -> None:
    """Labels that need their scan to be read, as `preprocess` reads them."""
    data = tmp_path / "data"
    node, other = np.zeros((2, *SIZE), bool)
    node[2, 3:6, 2:5] = other[4, 3:6, 2:5] = True
    scan = write_ct(data / "scan")
    write_seg(data / "seg.dcm", scan, {"LN": node, "Heart": other})
    around = [(2.5, 1.5), (5.5, 1.5), (5.5, 4.5), (2.5, 4.5)]
    lower, upper = (
        read_image(scan).grid.to_world(np.array([(z, y, x) for y, x in around])) for z in (2, 4)
    )
    write_rtstruct(data / "rt.dcm", "case_0001", {"LN": [lower], "Heart": [upper]})
    (data / "cases.csv").write_text("id,image,label\na,scan,seg.dcm\nb,scan,rt.dcm\n")
    given = ("data=pairs", "data.layout.table=cases.csv", "file_ending=.mha")
    for name, expected in (("LN", node), ("Heart", other)):
        assert run(data, *given, f"data.layout.label_names={name}") == 0
        for case in ("a", "b"):
            label = data.parent / f"raw/Dataset501_LNQ/labelsTr/{case}.mha"
            assert np.array_equal(read_label(label).array > 0, expected)


@pytest.mark.slow
def test_instances_are_kept_beside_the_merged_label(tmp_path: Path) -> None:
    """Segments and ROIs that touch stay apart; of a single one, what is not connected is."""
    data = tmp_path / "data"
    numbers = np.zeros(SIZE, np.uint16)
    numbers[2, 3:6, 2:5], numbers[2, 3:6, 5:7], numbers[4, 1:3, 1:3] = 1, 2, 3
    scan = write_ct(data / "scan")
    masks = {f"LN {n}": numbers == n for n in (1, 2, 3)}
    write_seg(data / "seg.dcm", scan, masks)
    write_seg(data / "one.dcm", scan, {"LN": numbers > 0})
    grid = read_image(scan).grid
    rois = {
        name: [grid.to_world(np.array([(2, 2.5, low), (2, 5.5, low), (2, 5.5, up), (2, 2.5, up)]))]
        for name, low, up in (("LN 1", 1.5, 4.5), ("LN 2", 4.5, 6.5))
    }
    write_rtstruct(data / "rt.dcm", "case_0001", rois)
    rows = "a,scan,seg.dcm\nb,scan,rt.dcm\nc,scan,one.dcm\n"
    (data / "cases.csv").write_text(f"id,image,label\n{rows}")
    given = ("data=pairs", "data.layout.table=cases.csv", "file_ending=.mha")
    assert run(data, *given, "instances=true") == 0
    folder = data.parent / "raw/Dataset501_LNQ"
    drawn, pieces = np.where(numbers == 3, 0, numbers), np.where(numbers == 3, 2, numbers > 0)
    for case, expected in (("a", numbers), ("b", drawn), ("c", pieces)):
        merged = read_label(folder / f"labelsTr/{case}.mha")
        assert np.array_equal(merged.array, expected > 0)
        kept = read_label(folder / f"instancesTr/{case}.mha", kind="instances").array
        assert np.array_equal(kept, expected)
    assert run(data, *given) == 0
    assert names(folder / "instancesTr") == []
    assert names(folder / "labelsTr") == ["a.mha", "b.mha", "c.mha"]


@pytest.mark.slow
def test_it_resumes_and_follows_the_dataset(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(data, "file_ending=.mha") == 0
    folder = data.parent / "raw/Dataset501_LNQ"
    whole = {p.name: p.stat().st_mtime_ns for p in folder.glob("images*/*")}
    (folder / "imagesTr/a_0000.mha").write_bytes(b"half")  # as a disk may leave it
    (folder / "dataset.json").unlink()
    capsys.readouterr()
    assert run(data, "file_ending=.mha") == 0
    assert "5 kept" in capsys.readouterr().out
    again = {p.name: p.stat().st_mtime_ns for p in folder.glob("images*/*")}
    assert {name for name in whole if again[name] != whole[name]} == {"a_0000.mha"}
    # `a` leaves, `a.b` becomes a test case, `v_0007` breaks: the rest is described.
    write_table(data, [{**r, "group": r["id"], "split": "test"} if r["id"] == "a.b" else r
                       for r in ROWS[1:]])  # fmt: skip
    broken = data / "v_0007.nrrd"
    broken.write_bytes(b"")
    assert run(data, "file_ending=.mha") == 3
    assert names(folder / "imagesTr") == names(folder / "labelsTr") == []
    assert names(folder / "labelsTs") == ["a.b.mha", "t.mha"]
    assert not (folder / "splits_final.json").exists()
    assert [one["case"] for one in json.loads((folder / "failures.json").read_text())] == ["v_0007"]
    left = [
        row for row in identity(PairsLayout(data, table=Path("cases.csv"))) if row[0] != "v_0007"
    ]
    assert identity(NnunetLayout(folder)) == left


def test_an_unfinished_export_is_no_dataset(data: Path) -> None:
    assert run(data) == 0
    folder = data.parent / "raw/Dataset501_LNQ"
    cases = PairsLayout(data, table=Path("cases.csv")).cases()
    next(export_cases(cases, folder, ".nii.gz", write_volume))  # and then it is killed
    assert names(folder / "labelsTs") == ["t.nii.gz"]
    with pytest.raises(UsageError, match=r"cannot read dataset\.json"):
        NnunetLayout(folder).cases()
    assert not (folder / "splits_final.json").exists()


@pytest.mark.slow
def test_what_it_refuses(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = data.parent / "raw/Dataset501_LNQ"
    folder.mkdir(parents=True)
    (folder / "dataset.json").write_text("{}")
    assert run(data) == 2
    assert "holds another dataset" in capsys.readouterr().err
    assert names(folder) == ["dataset.json"]
    write_table(data, [{**row, "group": "p"} for row in ROWS])
    assert run(data, "dataset_id=502") == 2
    assert "the same patient is in several splits" in capsys.readouterr().err
    assert names(folder.parent) == ["Dataset501_LNQ"]
    with pytest.raises(UsageError):
        NnunetLayout(folder).cases()
