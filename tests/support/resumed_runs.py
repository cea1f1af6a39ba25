"""Runs to compare bit for bit: how they are begun, and what they left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from support.runs import TINY


def arguments(store: Path, run: Path, tiny: Sequence[str] = TINY) -> list[str]:
    """Three epochs of four steps with augmentation, dropout and validation."""
    return [
        "+experiment=dbdmp", *tiny, "callbacks.ramp_up.t_max=2", "trainer.max_epochs=3",
        "trainer.check_val_every_n_epoch=2", f"store={store}", f"run_dir={run}",
    ]  # fmt: skip


def saved(run: Path) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def assert_same(run: Path, pictured: Path, *, pictures: bool = False) -> None:
    """Same weights, momentum and curves, bit for bit; those of pictures where both have some."""
    mine, theirs = saved(run), saved(pictured)
    assert mine["global_step"] == theirs["global_step"] == 12
    assert mine["state_dict"].keys() == theirs["state_dict"].keys()
    for name, value in mine["state_dict"].items():
        assert torch.equal(value, theirs["state_dict"][name]), name
    momenta = [c["optimizer_states"][0]["state"] for c in (mine, theirs)]
    for key, state in momenta[0].items():
        assert torch.equal(state["momentum_buffer"], momenta[1][key]["momentum_buffer"])
    assert curves(run, pictures=pictures) == curves(pictured, pictures=pictures)


def curves(run: Path, *, pictures: bool = True) -> str:
    """`curves.csv` without what tells how long things took, and what comes of pictures if asked."""
    table = pd.read_csv(run / "curves.csv", dtype=str).set_index(["epoch", "step"])
    left_out = ("perf/",) if pictures else ("perf/", "panels/")
    kept = table[[name for name in table if not name.startswith(left_out)]]
    return kept.dropna(how="all").to_csv()
