"""What depends on the step: its seed and its number, right also after a resume."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch

from lnq.seeding import derive_seed


class StepSeed(pl.Callback):
    """Seeds torch's generators from (seed, step, rank) before each step.

    Dropout layers can only draw from the global generator; this makes what they draw a function of
    the step. It also corrects the step that logs are written with.

    Args:
        seed: The run's seed.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning before each training step."""
        step = trainer.global_step
        # The logs' step: Lightning adds one to it where a run resumes in mid-epoch.
        trainer.fit_loop.epoch_loop._batches_that_stepped = step
        _seed_generators(derive_seed(self.seed, "step", step, trainer.global_rank))


def _seed_generators(seed: int) -> None:
    """`torch.manual_seed`, which spends half a millisecond a call on devices that are not there."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
