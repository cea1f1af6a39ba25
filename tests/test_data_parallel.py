"""Two processes train one network as one process does with the batches of both."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support.runs import TINY
from torch import Tensor

from lnq.curves import last_logged
from lnq.run_folder import RunFolder

Train = Callable[..., int]

GIVEN = (*TINY, "network.dropouts=[0.0]", "callbacks.panels=null", "trainer.limit_val_batches=0",
         "optimizer.lr=0.05")  # fmt: skip
RUNS = {
    "means": ("+experiment=baseline",),
    "ratios": ("+experiment=recommended", "method.supervised={pce: 1.0, tversky: 1.0}",
               "method.lambda_max=2.0", "callbacks.ramp_up.t_max=1", "network.feature_dropout=0.0",
               "datamodule.holdout=0.0"),
}  # fmt: skip


def weights(run: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    return state["state_dict"]  # type: ignore[return-value]


@pytest.mark.process
@pytest.mark.training
@pytest.mark.parametrize("losses", RUNS)
def test_two_processes_learn_what_one_does_of_their_patches(
    losses: str, tmp_path: Path, tiny_store: Path, train: Train
) -> None:
    run = (*RUNS[losses], *GIVEN, f"store={tiny_store}")
    done = subprocess.run(
        [sys.executable, "-m", "lnq.train", *run, f"run_dir={tmp_path}/two",
         "datamodule.batch_size=2", "trainer.devices=2", "+trainer.strategy=ddp"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name, batch_size in (("one", 4), ("half", 2)):
        given = (f"run_dir={tmp_path}/{name}", f"datamodule.batch_size={batch_size}")
        assert train(*run, *given) == 0
    two, one, half = (weights(tmp_path / name) for name in ("two", "one", "half"))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-6)
    told = [last_logged(RunFolder(tmp_path / name), "train/loss") for name in ("two", "one")]
    assert told[0] == pytest.approx(told[1], rel=1e-4)
    moved = max((two[key] - half[key]).abs().max().item() for key in two)
    assert moved > 1e-4  # other patches teach otherwise
