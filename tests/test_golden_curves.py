"""The loss of each mode, step by step, as it has always been."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import TINY

from lnq.methods.mode import MODES

GOLDEN = Path(__file__).with_name("golden_curves.json")


def curve(store: Path, run: Path, mode: str, train: Callable[..., int]) -> list[float]:
    """`train/loss` of 20 steps; λ_p has risen to 2 after half of them."""
    given: tuple[Any, ...] = (
        "+experiment=table1/f", *TINY, "trainer.max_epochs=5", "callbacks.ramp_up.t_max=2",
        f"method.mode={mode}", f"store={store}", f"run_dir={run}",
    )  # fmt: skip
    assert train(*given) == 0
    with (run / "curves.csv").open() as handle:
        return [float(row["train/loss"]) for row in csv.DictReader(handle) if row["train/loss"]]


@pytest.mark.training
@pytest.mark.parametrize("mode", MODES)
def test_golden_loss_curve(
    mode: str, tiny_store: Path, tmp_path: Path, train: Callable[..., int]
) -> None:
    losses = curve(tiny_store, tmp_path / "run", mode, train)
    assert len(losses) == 20
    golden = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
    if os.environ.get("LNQ_RENEW_GOLDEN") == "1":
        renewed = golden | {mode: [round(loss, 7) for loss in losses]}
        GOLDEN.write_text(json.dumps(renewed, indent=1) + "\n")
        pytest.skip(f"{GOLDEN.name} was renewed")
    np.testing.assert_allclose(losses, golden[mode], rtol=1e-4)
