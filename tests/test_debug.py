"""`+debug=fast`, `overfit` and `profile`: short runs for looking at what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.folders import names

from lnq.data.patches.cutting import PatchDataset

Train = Callable[..., int]
SMALL = (
    "network.widths=[2,4]", "network.dropouts=[0.3]", "datamodule.patch_size=[4,8,8]",
    "trainer.accelerator=cpu", "callbacks.progress=null", "datamodule.num_workers=0",
)  # fmt: skip


@pytest.fixture
def debug(
    tiny_store: Path, tmp_path: Path, train: Train, recwarn: pytest.WarningsRecorder
) -> Callable[..., Path]:
    """`debug(name, *overrides)` runs it and gives the run's folder."""

    def run(name: str, *overrides: str, experiment: str = "dbdmp") -> Path:
        given = (f"store={tiny_store}", f"paths.outputs={tmp_path}/outputs", *overrides)
        assert train(f"+experiment={experiment}", f"+debug={name}", *SMALL, *given) == 0
        assert [str(w.message) for w in recwarn.list] == []
        (folder,) = (tmp_path / "outputs" / "debug" / experiment).iterdir()
        return folder

    return run


def curves(run: Path) -> pd.DataFrame:
    return pd.read_csv(run / "curves.csv")


@pytest.mark.training
@pytest.mark.parametrize("experiment", ["dbdmp", "genesis", "baseline"])
def test_fast_takes_two_steps_of_everything(debug: Callable[..., Path], experiment: str) -> None:
    run = debug("fast", experiment=experiment)
    assert names(run) == [
        ".lock", "checkpoints", "config.yaml", "curves.csv", "manifest.json", "panels",
    ]  # fmt: skip
    saved = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 2
    assert names(run / "panels") == ["epoch=000.png"]
    table = curves(run)
    assert list(table["train/loss"].dropna().index) == [0, 1]
    assert ("val/dice" in table) == (experiment != "genesis")


@pytest.mark.training
def test_overfit_learns_the_first_batch_by_heart(
    debug: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, drawn = PatchDataset.__getitem__, []

    def noted(self: PatchDataset, draw: int) -> object:
        drawn.append(draw)
        return original(self, draw)

    monkeypatch.setattr(PatchDataset, "__getitem__", noted)
    # Without dropout and weak labels, a network this small can do it too.
    plain = ("network.dropouts=[0.0]", "network.feature_dropout=0.0", "optimizer.lr=0.05")
    few = ("datamodule.steps_per_epoch=16", "trainer.max_steps=96")
    run = debug("overfit", *plain, *few)
    assert set(drawn) == {0, 1}
    table = curves(run)
    loss = table["train/loss_sup"].dropna()
    assert len(loss) == 96
    assert loss.iloc[-10:].mean() < 0.3 * loss.iloc[:10].mean()
    annotated = table["panels/annotation"].dropna()
    assert annotated.nunique() == 1
    assert abs(table["panels/main"].dropna().iloc[-1] / annotated.iloc[0] - 1) < 0.5


@pytest.mark.training
def test_profile_writes_a_table(debug: Callable[..., Path]) -> None:
    run = debug("profile")
    table = (run / "fit-profile.txt").read_text()
    for action in ("run_training_batch", "train_dataloader_next", "backward", "optimizer_step"):
        assert action in table
    assert len(curves(run)["train/loss"].dropna()) == 20
