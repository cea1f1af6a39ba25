"""Without data= the layout is found and said, as if it had been given; in doubt it is asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from hydra.core.override_parser.overrides_parser import OverridesParser
from support.folders import touch
from support.runs import TINY
from support.synthetic_chest import chest

from lnq import doctor, preprocess
from lnq.config.composition import quoted
from lnq.config.layout_choice import with_layout
from lnq.data.datasets.layout_detection import detect
from lnq.data.store.only_store import only_store
from lnq.errors import UsageError
from lnq.volume import Volume, to_sitk


def with_table(root: Path, name: str = "cases.csv", text: str = "id,image\n1,a.nrrd\n") -> None:
    touch(root, "a.nrrd")
    (root / name).write_text(text)


def with_json_table(root: Path) -> None:
    with_table(root, "cases.json", json.dumps([{"image": "a.nrrd"}]))


LNQ = ("train/lnq2023-train-0002-ct.nrrd", "train/lnq2023-train-0002-seg.nrrd")
NNUNET = ("dataset.json", "imagesTr/a_0000.nii.gz")


@pytest.mark.parametrize(
    ("make", "layout", "values"),
    [
        (lambda root: touch(root, *LNQ), "lnq2023", {}),
        (lambda root: touch(root, "test/x-ct.mha"), "lnq2023", {}),
        (lambda root: touch(root, "phantom.json", "test/phantom-test-0001-ct.nrrd"), "lnq2023",
         {"data.name": "phantom"}),
        (lambda root: touch(root, *NNUNET), "nnunet", {}),
        (lambda root: touch(root, "dataset.json", "imagesTs/a_0000.nrrd"), "nnunet", {}),
        (with_table, "pairs", {"data.layout.table": "cases.csv"}),
        (with_json_table, "pairs", {"data.layout.table": "cases.json"}),
        (lambda root: touch(root, "images/a.nrrd", "labels/a.nrrd"), "pairs",
         {"data.layout.images": "images", "data.layout.labels": "labels"}),
        (lambda root: touch(root, "images/a.nrrd"), "pairs", {"data.layout.images": "images"}),
        (lambda root: (touch(root, "images/a.nrrd"), with_table(root)), "pairs",
         {"data.layout.table": "cases.csv"}),
        # Neither scores nor settings are a table of scans, and a folder train/ alone is no layout.
        (lambda root: (touch(root, *LNQ, "train/notes.txt"),
                       (root / "scores.csv").write_text("case,dice\na,0.5\n"),
                       (root / "settings.json").write_text('{"image": "a"}')), "lnq2023", {}),
    ],
)  # fmt: skip
def test_layouts_are_recognised(
    tmp_path: Path, make: Callable[[Path], object], layout: str, values: dict[str, str]
) -> None:
    make(tmp_path)
    found = detect(tmp_path)
    assert (found.layout, found.values) == (layout, values)


def test_doubt_is_told_with_all_candidates(tmp_path: Path) -> None:
    touch(tmp_path, *LNQ, *NNUNET)
    with_table(tmp_path)
    with pytest.raises(UsageError, match="several layouts") as error:
        detect(tmp_path)
    for words in ("data=lnq2023 (train/", "data=nnunet (dataset.json with imagesTr/)",
                  "data=pairs data.layout.table=cases.csv (a table)"):  # fmt: skip
        assert words in str(error.value)


def test_an_unknown_folder_and_what_lies_below_it(tmp_path: Path) -> None:
    touch(tmp_path, "train/notes.txt", "a.nrrd", "imagesTr/a_0000.nrrd")
    with pytest.raises(UsageError, match=r"not known.* looked for train/"):
        detect(tmp_path)
    assert detect(tmp_path, anything=True).layout == "scans"
    touch(tmp_path, *(f"Dataset501_LNQ/{name}" for name in NNUNET))
    with pytest.raises(UsageError, match="below has one, Dataset501_LNQ: data=nnunet"):
        detect(tmp_path)
    with pytest.raises(UsageError, match="the data root is missing"):
        detect(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "value", ["a b", "", "it's", "\\", r"a\b", r"a\'b", r"a\\'b\\", "[x] {y}, :z: = #", "a\n"]
)
def test_hydra_reads_a_quoted_value_as_it_was(value: str) -> None:
    parsed = OverridesParser.create().parse_override(f"key={quoted(value)}")
    assert parsed.value() == value


def test_the_command_line_becomes_what_could_have_been_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "my data"
    with_table(root, "it's, a table.csv")
    given = [f"data.root='{root}'", "num_workers=0"]
    assert with_layout(given) == [
        *given, "data=pairs", r"data.layout.table='it\'s, a table.csv'",
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert said == f"layout of {root}: data=pairs data.layout.table=it's, a table.csv (a table)\n"
    assert with_layout(["data=auto", *given])[-2] == "data=pairs"
    touch(tmp_path / "two", "images/a.nrrd", "labels/a.nrrd")
    partly = [f"data.root={tmp_path / 'two'}", "data.layout.labels=masks"]
    assert with_layout(partly) == [*partly, "data=pairs", "data.layout.images='images'"]
    monkeypatch.setenv("SCANS", str(root))
    assert "data=pairs" in with_layout(["data.root=${oc.env:SCANS}"])
    capsys.readouterr()
    table = ["data.root=nowhere", "data.layout.table=t.csv"]
    assert with_layout(table) == [*table, "data=pairs"]
    for untouched in (["data=nnunet", "data.root=x"], ["--help"], ["data.root=["]):
        assert with_layout(untouched) == untouched
    assert capsys.readouterr().err == ""
    for unclear in ([], ["data.root=${paths.outputs}/x"]):
        with pytest.raises(UsageError, match="which dataset"):
            with_layout(unclear)


def run(command: object, *arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        command(list(arguments))
    return int(stop.value.code or 0)


@pytest.mark.process
@pytest.mark.training
def test_doctor_preprocess_and_train_agree_without_data(
    tmp_path: Path,
    train: Callable[..., int],
    capsys: pytest.CaptureFixture[str],
) -> None:
    scan = chest()
    scan.array[20:40, 55:58, 46:50] = 900
    label = np.zeros(scan.grid.size, np.uint8)
    label[28:32, 34:38, 46:50] = 1
    folder = tmp_path / "data/train"
    folder.mkdir(parents=True)
    for kind, volume in (("ct", scan), ("seg", Volume(label, scan.grid))):
        path = folder / f"lnq2023-train-0404-{kind}.nrrd"
        sitk.WriteImage(to_sitk(volume), path, useCompression=True)
    data, out = f"data.root={tmp_path / 'data'}", f"paths.outputs={tmp_path / 'out'}"
    assert run(doctor.main, data, out) == 0
    assert (tmp_path / "out/doctor/lnq2023.json").is_file()
    assert "data=lnq2023 (train/" in capsys.readouterr().err
    settings = ("num_workers=0", "preprocessing.spacing_mm=[10,8,8]")
    assert run(preprocess.main, data, out, *settings) == 0
    assert train(*TINY, out, f"run_dir={tmp_path}/run", "callbacks.ramp_up=null") == 0
    assert "dataset: lnq2023, in " in capsys.readouterr().out
    recorded = json.loads((tmp_path / "run/manifest.json").read_text())["config"]
    assert recorded["data"]["name"] == "lnq2023"
    assert recorded["store"] == str(tmp_path / "out/preprocess/lnq2023")
    (tmp_path / "out/preprocess/other").mkdir()
    (tmp_path / "out/preprocess/other/manifest.json").write_text("{}")
    assert train(*TINY, out, f"run_dir={tmp_path}/second", "callbacks.ramp_up=null") == 2
    said = capsys.readouterr().err
    assert "several datasets are preprocessed" in said
    assert "lnq2023, other. Give data.name=NAME" in said
    with pytest.raises(UsageError, match="no preprocessed data"):
        only_store(tmp_path / "empty")
