"""A step's values are logged where somebody will see them, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lnq.callbacks.curves_logger import CurvesLogger
from lnq.curves import read_rows
from lnq.run_folder import RunFolder
from lnq.step_log import log_step

STEPS = 4
"""Of an epoch."""


class Counting(pl.LightningModule):
    """Logs its step's number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.asked: list[int] = []
        self.last_of_epochs: list[float] = []

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        log_step(self, {"number": float(self.global_step)}, len(batch))
        loss: Tensor = self.layer(batch).mean()
        return loss

    def log_dict(self, *given: Any, **named: Any) -> None:
        self.asked.append(self.global_step)
        super().log_dict(*given, **named)

    def on_train_epoch_end(self) -> None:
        self.last_of_epochs.append(float(self.trainer.callback_metrics["number"]))


@pytest.mark.training
@pytest.mark.parametrize("every", [1, 3, 10])
def test_a_step_is_logged_if_loggers_are_given_it_or_an_epochs_line_shows_it(
    tmp_path: Path, every: int
) -> None:
    method = Counting()
    trainer = pl.Trainer(
        max_epochs=2, log_every_n_steps=every, logger=CurvesLogger(tmp_path), accelerator="cpu",
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(method, DataLoader(torch.zeros(STEPS, 1)))
    written = [step for step in range(2 * STEPS) if (step + 1) % every == 0]
    rows = read_rows(RunFolder(tmp_path))
    assert [(int(row["step"]), float(row["number"])) for row in rows] == [(n, n) for n in written]
    assert method.asked == sorted({*written, STEPS - 1, 2 * STEPS - 1})
    assert method.last_of_epochs == [STEPS - 1, 2 * STEPS - 1]


def test_without_a_trainer_all_is_handed_over() -> None:
    handed: dict[str, Tensor] = {}

    class Alone(pl.LightningModule):
        def log_dict(self, values: dict[str, Tensor], **_: Any) -> None:
            handed.update(values)

    log_step(Alone(), {"a": 2.0, "b": torch.tensor(3.0)})
    assert {name: value.item() for name, value in handed.items()} == {"a": 2.0, "b": 3.0}
