"""Logging of what a step of training found, where somebody will see it."""

from __future__ import annotations

from collections.abc import Mapping

import pytorch_lightning as pl
import torch
from torch import Tensor


def log_step(
    module: pl.LightningModule, values: Mapping[str, Tensor | float], batch_size: int | None = None
) -> None:
    """Logs values of a step under their names, if it is one that loggers are given.

    Those are every `log_every_n_steps`th and an epoch's last, whose values its line shows. Of all
    others Lightning forgets the values, after taking a fifth of the host's time for them.

    Args:
        module: Called from its training step, or from a callback round it.
        values: Numbers of the host stay there, where Lightning would move them to the GPU and wait.
        batch_size: Of the step.
    """
    trainer = module._trainer
    if trainer is not None and not _is_written(trainer):
        return
    tensors = {name: torch.as_tensor(value) for name, value in values.items()}
    module.log_dict(tensors, on_step=True, on_epoch=False, batch_size=batch_size)


def _is_written(trainer: pl.Trainer) -> bool:
    return trainer._logger_connector.should_update_logs or trainer.is_last_batch
