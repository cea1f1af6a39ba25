"""λ_p as a function of the epoch (paper, Eq. 11)."""

from __future__ import annotations

from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import Field

from lnq.schedules import ramp_up


class RampUp(pl.Callback):
    """Sets `module.lambda_p` from `module.lambda_max` before every step, of a method that has them.

    Before every step and not at an epoch's start: Lightning skips the latter where a run resumes in
    mid-epoch.

    Args:
        t_max: Epochs until λ_p reaches λ.
    """

    def __init__(self, t_max: Annotated[int, Field(ge=0)] = 99) -> None:
        self.t_max = t_max

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning before each training step."""
        pl_module.lambda_p = ramp_up(trainer.current_epoch, pl_module.lambda_max, self.t_max)
