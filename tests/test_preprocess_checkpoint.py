"""Preparing data as those of a checkpoint were: one rule for training and for prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from support.original_checkpoint import numbered, saved
from support.synthetic_chest import GRID, chest, ellipsoid

from lnq import preprocess
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_store import CaseStore
from lnq.files import read_json
from lnq.networks import DualBranchVNet
from lnq.networks.transfer import read_checkpoint
from lnq.volume import Volume
from lnq.volume_file import write_volume

TRAINED_WITH = Preprocessing((6.0, 3.0, 3.0), "ct", (15.0, 12.0, 12.0))


def command(folder: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        preprocess.main(["data=pairs", f"data.root={folder}", "data.layout.table=cases.csv",
                         f"output={folder / 'store'}", "num_workers=0", *arguments])  # fmt: skip
    return int(stop.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_volume(chest(), tmp_path / "scan.nrrd")
    node = ellipsoid(GRID, (0, 20, 10), (15, 15, 15)).astype(np.uint8)
    write_volume(Volume(node, GRID), tmp_path / "label.nrrd")
    (tmp_path / "cases.csv").write_text(
        "id,image,label,supervision,split,group\na,scan.nrrd,label.nrrd,partial,train,p\n"
    )
    return tmp_path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    network = DualBranchVNet(widths=(2, 4), dropouts=(0.3,))
    node = {"_target_": "lnq.networks.DualBranchVNet", "widths": [2, 4], "dropouts": [0.3]}
    contents = {
        "state_dict": {f"network.{k}": v for k, v in network.state_dict().items()},
        "lnq": {"config": {"network": node, "datamodule": {"patch_size": [8, 8, 8]}},
                "preprocessing": TRAINED_WITH.as_dict()},
    }  # fmt: skip
    torch.save(contents, tmp_path / "some.ckpt")
    return tmp_path / "some.ckpt"


@pytest.mark.slow
def test_data_are_prepared_as_prediction_with_that_checkpoint_does(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(folder, f"checkpoint={checkpoint}") == 0
    assert "spacing_mm=[6.0, 3.0, 3.0], normalisation=ct" in capsys.readouterr().out
    store = CaseStore(folder / "store")
    assert store.settings == TRAINED_WITH.as_dict()
    in_prediction = Preprocessing.from_dict(read_checkpoint(checkpoint).preprocessing)
    prepared = in_prediction.apply(chest())
    assert store.record("a").grid == prepared.volume.grid
    assert np.array_equal(store.image("a"), prepared.volume.array.astype(np.float16))


def test_the_authors_checkpoints_bring_the_originals_constants(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A scan at that spacing takes its time; what would prepare it is looked at.
    monkeypatch.setattr(preprocess, "build_store", lambda *_: iter(()))
    assert command(folder, f"checkpoint={saved(folder, numbered(1))}") == 0
    settings = read_json(folder / "store" / "manifest.json")["settings"]
    assert settings["spacing_mm"] == [3.0, 0.826171875, 0.826171875]
    assert settings["normalisation"] == "ct"


def test_two_answers_to_one_question_are_refused(
    folder: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spacing = "preprocessing.spacing_mm=[3,1,1]"
    assert command(folder, f"checkpoint={checkpoint}", spacing) == 2
    assert "the preprocessing is given twice" in capsys.readouterr().err
    assert not (folder / "store").exists()


def test_a_missing_checkpoint_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(folder, "checkpoint=/nowhere") == 2
    assert "no checkpoint" in capsys.readouterr().err
    assert not (folder / "store").exists()
