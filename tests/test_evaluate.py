"""The command evaluate: which files belong together, what it writes, what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from lnq.errors import UsageError
from lnq.evaluate import main
from lnq.evaluation import case_key, match_cases
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((8, 20, 24), (3.0, 1.0, 1.0), (-10.0, 5.0, 40.0))


def save(path: Path, array: Array, grid: Grid = GRID) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(Volume(array.astype(np.uint8), grid)), path)
    return path


def node(*where: slice) -> Array:
    array = np.zeros(GRID.size, dtype=np.uint8)
    array[where] = 1
    return array


FIRST = node(slice(1, 4), slice(2, 8), slice(2, 8))
SECOND = node(slice(5, 7), slice(12, 15), slice(12, 18))
ELSEWHERE = node(slice(0, 2), slice(15, 18), slice(20, 23))


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Two good cases: one half right, one without any predicted voxel."""
    save(tmp_path / "references" / "lnq-0001-seg.nrrd", FIRST | SECOND)
    save(tmp_path / "run" / "predictions" / "lnq-0001-ct.nrrd", FIRST | ELSEWHERE)
    save(tmp_path / "annotations" / "lnq-0001-seg.nii.gz", FIRST)
    save(tmp_path / "references" / "lnq-0002-seg.nrrd", SECOND)
    save(tmp_path / "run" / "predictions" / "lnq-0002-ct.nii.gz", 0 * SECOND)
    save(tmp_path / "annotations" / "lnq-0002-seg.mha", 0 * SECOND)
    return tmp_path


def evaluate(folders: Path, *more: str) -> int:
    """Runs the command in this process and gives its exit code."""
    with pytest.raises(SystemExit) as stop:
        main([*arguments(folders), *more])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def arguments(folders: Path) -> Sequence[str]:
    return (
        f"predictions={folders / 'run' / 'predictions'}",
        f"references={folders / 'references'}",
    )


def results(folders: Path) -> Path:
    return folders / "run" / "evaluation"


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("lnq2023-val-0001-ct.nrrd", "lnq2023-val-0001"),
        ("lnq2023-val-0001-seg.nrrd", "lnq2023-val-0001"),
        ("chest_0000.nii.gz", "chest"),
        ("case_0669.NII.GZ", "case_0669"),
        ("a.b_mask.mha", "a.b"),
        ("spect.nii", "spect"),
        ("-seg.nrrd", "-seg"),
        ("chest.seg.nrrd", "chest"),
        ("chest-ct.DCM", "chest"),
    ],
)
def test_the_case_of_a_file(name: str, case: str) -> None:
    assert case_key(Path(name)) == case


def test_scans_beside_labels_are_left_alone_and_nnunets_case_zero_is_found(tmp_path: Path) -> None:
    for name in (
        "r/a-ct.nrrd",
        "r/a-seg.nrrd",
        "r/n_0000.nrrd",
        "p/a-ct.nrrd",
        "p/n_0000_0000.nrrd",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "p" / "stray.nrrd").touch()
    matches, unused = match_cases(tmp_path / "p", tmp_path / "r")
    found = {m.case: (m.reference.name, m.prediction and m.prediction.name) for m in matches}
    assert found == {
        "a": ("a-seg.nrrd", "a-ct.nrrd"),
        "n_0000": ("n_0000.nrrd", "n_0000_0000.nrrd"),
    }
    assert [path.name for path in unused] == ["stray.nrrd"]


def test_two_files_of_one_case_are_refused(tmp_path: Path) -> None:
    for name in ("p/a.nrrd", "r/a.nrrd", "r/a.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match=r"2 files belong to the case a.*a\.nii\.gz, a\.nrrd"):
        match_cases(tmp_path / "p", tmp_path / "r")


@pytest.mark.process
def test_the_command_writes_every_table(folders: Path) -> None:
    command = [sys.executable, "-m", "lnq.evaluate", *arguments(folders)]
    done = subprocess.run(
        [*command, f"annotations={folders / 'annotations'}"],
        capture_output=True, text=True, check=False, cwd=folders,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 cases without any predicted voxel" in done.stdout
    output = results(folders)
    metrics = pd.read_csv(output / "metrics.csv", index_col="case")
    right, predicted, reference = 108, 108 + 18, 108 + 36
    assert metrics.loc["lnq-0001", "dice"] == pytest.approx(2 * right / (predicted + reference))
    assert metrics.loc["lnq-0001", "false_positives"] == 1
    assert metrics.loc["lnq-0001", "reference_ml"] == pytest.approx(reference * 3 / 1000)
    assert metrics["missing"].to_dict() == {"lnq-0001": False, "lnq-0002": True}
    assert metrics.loc["lnq-0002", "assd_filled_mm"] == metrics.loc["lnq-0001", "assd_mm"]
    nodes = pd.read_csv(output / "reference_nodes.csv")
    assert nodes["case"].tolist() == ["lnq-0001", "lnq-0001", "lnq-0002"]
    assert nodes["detected"].tolist() == [True, False, False]
    assert nodes["annotated"].tolist() == [True, False, False]
    # The middle of voxels 2..7, 2..7, 1..3 on a grid that begins at (-10, 5, 40).
    assert nodes.iloc[0][["centroid_x_mm", "centroid_y_mm", "centroid_z_mm"]].tolist() == [
        -5.5, 9.5, 46.0,
    ]  # fmt: skip
    summary = json.loads((output / "summary.json").read_text())
    assert summary["metrics"]["assd_mm"]["n"] == 1
    assert summary["nodes"]["never_annotated"]["n"] == 2
    manifest = json.loads((output / "manifest.json").read_text())
    assert manifest["stage"] == "evaluate"
    assert manifest["references"] == str(folders / "references")
    assert manifest["cases"][0]["annotation"].endswith("lnq-0001-seg.nii.gz")
    assert not (output / "failures.json").exists()


@pytest.mark.slow
def test_bad_cases_are_listed_and_the_others_go_on(folders: Path) -> None:
    save(folders / "references" / "lost.nrrd", FIRST)
    save(folders / "references" / "moved.nrrd", FIRST)
    save(
        folders / "run" / "predictions" / "moved.nrrd", FIRST,
        Grid(GRID.size, GRID.spacing_mm, (-10.0, 5.5, 40.0)),
    )  # fmt: skip
    save(folders / "references" / "grey.nrrd", FIRST)
    save(folders / "run" / "predictions" / "grey.nrrd", 255 * FIRST)
    save(folders / "run" / "predictions" / "extra.nrrd", FIRST)
    assert evaluate(folders) == 3
    failures = json.loads((results(folders) / "failures.json").read_text())
    assert [f["case"] for f in failures] == ["grey", "lost", "moved"]
    assert failures[1]["what"] == "no prediction"
    assert "not on the grid" in failures[2]["what"]
    assert "origin" in failures[2]["why"]
    summary = json.loads((results(folders) / "summary.json").read_text())
    assert (summary["cases"]["n"], summary["cases"]["n_failed"]) == (2, 3)
    notes = json.loads((results(folders) / "manifest.json").read_text())["notes"]
    assert any("extra.nrrd" in note for note in notes)
    for name in ("lost", "moved", "grey"):
        (folders / "references" / f"{name}.nrrd").unlink()
    assert evaluate(folders) == 0
    assert not (results(folders) / "failures.json").exists()


@pytest.mark.slow
def test_the_orientation_of_the_files_does_not_matter(folders: Path) -> None:
    """A prediction stored with other axes, as NIfTI writers do, is the same prediction."""
    assert evaluate(folders) == 0
    before = pd.read_csv(results(folders) / "reference_nodes.csv")
    for path in (folders / "references", folders / "run" / "predictions"):
        for file in path.iterdir():
            sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(file), "SAR"), file)
    assert evaluate(folders) == 0
    after = pd.read_csv(results(folders) / "reference_nodes.csv")
    columns = ["case", "volume_mm3", "short_axis_mm", "long_axis_mm", "centroid_x_mm", "overlap"]
    pd.testing.assert_frame_equal(before[columns], after[columns])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("references=/nowhere", "no such folder"),
        ("min_overlap=0", "min_overlap=0"),
        ("min_overlop=0.5", "min_overlap"),
        ("reference_kind=both", "reference_kind"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_written(
    folders: Path, capsys: pytest.CaptureFixture[str], more: str, message: str
) -> None:
    assert evaluate(folders, more) == 2
    assert message in capsys.readouterr().err
    assert not results(folders).exists()


def test_folders_without_a_common_case_are_refused_with_examples(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folders / "other" / "patient-7.nrrd", FIRST)
    assert evaluate(folders, f"references={folders / 'other'}") == 2
    message = capsys.readouterr().err
    assert "lnq-0001" in message
    assert "patient-7" in message


def test_the_output_never_mixes_with_the_masks(folders: Path) -> None:
    assert evaluate(folders, f"output={folders / 'references'}") == 2
    assert {p.suffix for p in (folders / "references").iterdir()} == {".nrrd"}


@pytest.mark.slow
def test_numbered_references_keep_touching_nodes_apart(tmp_path: Path) -> None:
    label = FIRST.copy()
    label[3][label[3] > 0] = 5
    save(tmp_path / "references" / "a.nrrd", label)
    save(tmp_path / "run" / "predictions" / "a.nrrd", label == 5)
    assert evaluate(tmp_path) == 3  # values above 1 are no binary label
    assert evaluate(tmp_path, "reference_kind=instances") == 0
    nodes = pd.read_csv(results(tmp_path) / "reference_nodes.csv")
    assert nodes["node"].tolist() == [1, 5]
    assert nodes["detected"].tolist() == [False, True]


def test_control_characters_of_a_name_are_not_printed(
    folders: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save(folders / "references" / "red\x1b[31m [bold]x.nrrd", FIRST)
    assert evaluate(folders) == 3
    told = capsys.readouterr().out
    assert "\x1b[31m" not in told
    assert r"red\x1b[31m [bold]x: no prediction" in told


def test_real_nodes_are_measured(real_data: Path, tmp_path: Path) -> None:
    """The contours of a real chest: three nodes of about 2.6, 2.2 and 1.6 ml, seen twice."""
    label = sitk.ReadImage(real_data / "4d-lung-P113" / "labels_tumor1_ln2_bin3x3x1.nii.gz")
    nodes = sitk.Cast(label == 2, sitk.sitkUInt8)
    for folder in ("references", "run/predictions"):
        (tmp_path / folder).mkdir(parents=True)
        sitk.WriteImage(nodes, tmp_path / folder / "p113.nii.gz")
    assert evaluate(tmp_path) == 0
    table = pd.read_csv(results(tmp_path) / "reference_nodes.csv")
    assert sorted(table["volume_mm3"] / 1000) == pytest.approx([1.6, 2.2, 2.6], abs=0.11)
    assert table["short_axis_mm"].between(5, 20).all()
    assert pd.read_csv(results(tmp_path) / "metrics.csv")["assd_mm"].tolist() == [0]
