"""The polynomial learning rate, per epoch."""

from __future__ import annotations

from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field

from lnq.schedules import polynomial_decay
from lnq.step_log import log_step


class PolynomialLR(pl.Callback):
    """Sets every parameter group's rate to `initial (1 - epoch/max_epochs)^power` before each step.

    The initial rate is the optimiser's own; it is a function of the epoch alone, so a resumed run
    goes on where it stopped.

    Args:
        power: Exponent; 0.9 in the paper.
    """

    def __init__(self, power: Annotated[float, Field(ge=0)] = 0.9) -> None:
        self.power = power

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning before each training step."""
        for optimizer in trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = polynomial_decay(
                    trainer.current_epoch,
                    optimizer.defaults["lr"],
                    trainer.max_epochs or 1,
                    self.power,
                )
        if trainer.optimizers:
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            log_step(pl_module, {"train/lr": rate})
