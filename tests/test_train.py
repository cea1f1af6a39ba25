"""Training end to end on a tiny store: what is refused, what stops it, what it leaves."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from support.folders import names
from support.runs import PICTURED, TINY
from support.stores import write_store

from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.resuming import claimed
from lnq.run_folder import RunFolder
from lnq.schedules import polynomial_decay, ramp_up

Train = Callable[..., int]
DBDMP = ("+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=1")
GENESIS = ("+experiment=genesis", *TINY)


def checkpoint(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint(run)["state_dict"]


@pytest.fixture(scope="module")
def run(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of two epochs with validation."""
    from lnq.train import main

    folder = tmp_path_factory.mktemp("run") / "run"
    given = ["+experiment=dbdmp", *PICTURED, "callbacks.ramp_up.t_max=1", f"store={tiny_store}",
             f"run_dir={folder}"]  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        with pytest.raises(SystemExit) as stop:
            main([*given, "trainer.check_val_every_n_epoch=1"])
    assert not stop.value.code
    assert [str(w.message) for w in caught] == []  # a normal run has nothing to warn of
    return folder


@pytest.mark.training
def test_an_unfinished_store_is_told(
    tiny_store: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["cases"] += ["killed", "failed"]
    (store / "manifest.json").write_text(json.dumps(manifest))
    (store / "failures.json").write_text(json.dumps([{"case": "failed"}]))
    given = (*DBDMP, "trainer.max_epochs=1", "datamodule.steps_per_epoch=1")
    assert train(*given, f"store={store}", f"run_dir={tmp_path}/run") == 0
    assert "3 of 4 cases are prepared; run lnq.preprocess again" in capsys.readouterr().out
    assert train(*given, f"store={tiny_store}", f"run_dir={tmp_path}/other") == 0
    assert "are prepared" not in capsys.readouterr().out


@pytest.mark.training
def test_curves_hold_the_schedules(run: Path) -> None:
    with (run / "curves.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    steps = [row for row in rows if row["train/loss"]]
    assert [int(row["step"]) for row in steps] == list(range(8))
    assert [int(row["epoch"]) for row in steps] == 4 * [0] + 4 * [1]
    for row in steps:
        epoch = int(row["epoch"])
        assert float(row["train/lambda_p"]) == pytest.approx(ramp_up(epoch, 2.0, 1))
        assert float(row["train/lr"]) == pytest.approx(polynomial_decay(epoch, 0.01, 2))
        parts = float(row["train/loss_sup"]) + ramp_up(epoch, 2.0, 1) * float(
            row["train/loss_pseudo"]
        )
        assert float(row["train/loss"]) == pytest.approx(parts, rel=1e-5)
    assert sum(bool(row["val/dice"]) for row in rows) == 2


@pytest.mark.training
def test_a_run_records_what_it_was(run: Path, tiny_store: Path) -> None:
    manifest = json.loads((run / "manifest.json").read_text())
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert manifest["stage"] == "train"
    assert manifest["config"] == config
    assert config["store"] == str(tiny_store)
    assert config["network"]["widths"] == [2, 4]
    assert manifest["cases"] == checkpoint(run)["lnq"]["cases"] != []
    kept = checkpoint(run)["lnq"]
    assert kept["config"] == config
    assert kept["preprocessing"]["spacing_mm"] == [3.0, 1.0, 1.0]


@pytest.mark.training
def test_an_occupied_folder_is_refused(
    run: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    assert train(*DBDMP, f"store={tiny_store}", f"run_dir={run}") == 2
    assert "holds a run already" in capsys.readouterr().err
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


@pytest.mark.slow
def test_a_second_process_is_refused(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    with claimed(RunFolder(tmp_path / "run"), resuming=False):
        assert train(*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/run") == 2
    assert "another run is writing into this folder" in capsys.readouterr().err
    assert names(tmp_path / "run") == [".lock"]


@pytest.mark.parametrize("place", ["file", "file/run"])
@pytest.mark.slow
def test_an_unwritable_folder_is_refused(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    (tmp_path / "file").write_text("")
    assert train(*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/{place}") == 2
    said = capsys.readouterr().err
    assert "cannot write the output folder" in said
    assert str(tmp_path / place) in said


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["trainer.accelerator=gpu"], "trainer cannot run here"),
        (["store=nowhere"], "no preprocessed data"),
        (["init_from=nowhere"], "no checkpoint"),
        (["ckpt_path=nowhere.ckpt"], "no checkpoint"),
        (["+trainer.strategy=nonsense"], "nonsense"),
        (["network=vnet"], "two decoders"),
        (["network.out_channels=1"], "DBDMP needs network.out_channels=2, not 1"),
        (["+trainer.accumulate_grad_batches=2"], "patches are counted by optimiser steps"),
        (["+data.rooot=x"], "data.rooot"),
        (["network.dropouts=[0.1,0.2,0.3]"], "2 widths need 1 dropout rates"),
    ],
)
@pytest.mark.slow
def test_what_cannot_work_is_refused_before_anything_is_written(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str],
    arguments: list[str], expected: str,
) -> None:  # fmt: skip
    if arguments == ["trainer.accelerator=gpu"] and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    given = [*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/run", *arguments]
    assert train(*given) == 2
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert expected in errors[0]
    assert "Traceback" not in said
    assert names(tmp_path) == []


@pytest.mark.slow
def test_a_foreign_checkpoint_is_not_resumed(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": {}, "lnq": 5}, tmp_path / "x.ckpt")
    given = (*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/run")
    assert train(*given, f"ckpt_path={tmp_path}/x.ckpt") == 2
    assert "not a checkpoint of lnq.train" in capsys.readouterr().err


def test_without_a_store_the_first_stage_is_named(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert train("+experiment=dbdmp") == 2
    assert "Run lnq.preprocess" in capsys.readouterr().err
    assert names(tmp_path) == []


@pytest.mark.training
def test_pre_training_hands_its_weights_on(
    tmp_path: Path,
    tiny_store: Path,
    train: Train,
    recwarn: pytest.WarningsRecorder,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first, second = tmp_path / "genesis", tmp_path / "dbdmp"
    assert train(*GENESIS, f"store={tiny_store}", f"run_dir={first}") == 0
    assert [str(w.message) for w in recwarn.list] == []
    frozen = ("optimizer.lr=0", "trainer.max_epochs=1")  # so that the weights stay as they came
    assert train(
        *DBDMP, *frozen, f"store={tiny_store}", f"run_dir={second}", f"init_from={first}"
    ) == 0  # fmt: skip
    assert "prepared otherwise" not in capsys.readouterr().out
    before, after = weights(first), weights(second)
    assert before.keys() == after.keys()
    for name in before:
        if ".head." in name:
            assert after[name].shape[0] == 2
        else:
            assert torch.equal(before[name], after[name]), name
    record = json.loads((second / "manifest.json").read_text())["init_from"]
    assert record["path"] == str(first / "checkpoints" / "last.ckpt")
    assert {name.split(".")[0] for name in record["not_initialised"]} == {
        "main_decoder", "aux_decoder",
    }  # fmt: skip
    other = ("init_from=" + str(first), "network.widths=[4,8]")
    assert train(*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/x", *other) == 2


@pytest.mark.training
def test_nan_in_an_image_stops_before_it_reaches_the_weights(
    tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    image = np.random.default_rng(0).normal(size=(6, 12, 12))
    label = (image > 2).astype(np.uint8)
    spoiled = image.copy()
    spoiled[3, 6, 6] = np.nan
    store = write_store(
        tmp_path / "store",
        {"good": (image, label, "train", "partial"), "bad": (spoiled, label, "train", "partial")},
    )
    size = (4, 8, 8)
    seed = next(
        s for s in range(50) if PatchRule(["good", "bad"], size, 0.5, s).case_of(0) == "good"
    )
    code = train(
        *DBDMP, f"store={store}", f"run_dir={tmp_path}/run", f"seed={seed}",
        "datamodule.batch_size=1", "datamodule.patch_size=[6,12,12]",
    )  # fmt: skip
    assert code == 4
    said = capsys.readouterr().err
    assert "the loss is nan at step 1 [cases bad]" in said
    assert "Traceback" not in said
    saved = checkpoint(tmp_path / "run")
    assert saved["global_step"] == 1
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())


@pytest.mark.process
@pytest.mark.training
def test_a_killed_worker_ends_the_run(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original, trainer = PatchDataset.__getitem__, os.getpid()

    def deadly(self: PatchDataset, draw: int) -> Any:
        if draw == 10 and os.getpid() != trainer:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(self, draw)

    monkeypatch.setattr(PatchDataset, "__getitem__", deadly)
    given = (*DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/run", "datamodule.num_workers=1")
    assert train(*given) == 4
    said = capsys.readouterr().err
    assert "a process that cuts patches died" in said
    assert "ckpt_path=last" in said
    monkeypatch.undo()
    assert train(*given, "ckpt_path=last") == 0


@pytest.mark.training
def test_bf16_takes_finite_steps(tmp_path: Path, tiny_store: Path, train: Train) -> None:
    given = ("acceleration.precision=bf16-mixed", f"store={tiny_store}", f"run_dir={tmp_path}/run")
    assert train(*DBDMP, *given) == 0
    saved = checkpoint(tmp_path / "run")
    assert saved["global_step"] == 8
    for value in saved["state_dict"].values():
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()


TWO_RANKS = """
import os, sys
from lnq.data.patches.cutting import PatchDataset
from lnq.train import main
original = PatchDataset.__getitem__
def noted(self, draw):
    with open(f"draws{os.environ.get('LOCAL_RANK', '0')}", "a") as handle:
        print(draw, file=handle)
    return original(self, draw)
PatchDataset.__getitem__ = noted
main()
"""


@pytest.mark.process
def test_two_processes_train_on_different_patches(tmp_path: Path, tiny_store: Path) -> None:
    (tmp_path / "script.py").write_text(TWO_RANKS)
    done = subprocess.run(
        [sys.executable, "script.py", *DBDMP, f"store={tiny_store}", f"run_dir={tmp_path}/run",
         "trainer.devices=2", "+trainer.strategy=ddp", "trainer.max_epochs=1"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert checkpoint(tmp_path / "run")["global_step"] == 4
    draws = [set(map(int, (tmp_path / f"draws{r}").read_text().split())) for r in (0, 1)]
    assert not draws[0] & draws[1]
    assert draws[0] | draws[1] == set(range(16))
