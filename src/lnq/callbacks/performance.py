"""How fast a run trains, what it waits for, and how much memory it takes."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

from lnq.console import console
from lnq.step_log import log_step

_BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of the process's peak memory, which the operating systems count differently."""
WORTH_TELLING = 0.1
"""Share of a training's time that is spent waiting for patches."""


class Performance(pl.Callback):
    """Logs the throughput of the epoch so far and the peaks of memory, with each step.

    `perf/patches_per_second` counts the patches of all devices, and the waiting for them, but not
    validation; `perf/patches_per_second_per_gpu` is each one's where there are several.
    `perf/wait_seconds` is how long a step waited for its patches, on average. `perf/memory_gb` is
    the largest resident memory that this process ever had, `perf/gpu_memory_gb` the largest that
    tensors took on its GPU; both in 10^9 bytes.

    A training that waited for patches a tenth of its time says so when it ends.
    """

    def __init__(self) -> None:
        self._begun = self._took = self._training_s = self._waited_s = 0.0
        self._steps = self._patches = 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning once, also where it skips an epoch's start because it resumes."""
        self._begin()

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning before each epoch that is not resumed in its middle."""
        self._begin()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Called by Lightning after each training step."""
        self._steps += 1
        self._patches += len(batch["case_id"]) * trainer.world_size
        self._took = time.monotonic() - self._begun
        rate = self._patches / self._took
        values = {
            "perf/patches_per_second": rate,
            "perf/wait_seconds": _waited_s(trainer) / self._steps,
            "perf/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES / 1e9,
        }
        if trainer.world_size > 1:
            values["perf/patches_per_second_per_gpu"] = rate / trainer.world_size
        if pl_module.device.type == "cuda":
            values["perf/gpu_memory_gb"] = torch.cuda.max_memory_allocated(pl_module.device) / 1e9
        log_step(pl_module, values)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Called by Lightning after each epoch."""
        self._training_s += self._took
        self._waited_s += _waited_s(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Tells what limited the training, if it was the patches."""
        share = self._waited_s / max(self._training_s, 1e-9)
        if share >= WORTH_TELLING and trainer.is_global_zero:
            console().print(
                f"note: {share:.0%} of the time was spent waiting for patches; more "
                "datamodule.num_workers, or a faster disk, would train faster"
            )

    def _begin(self) -> None:
        self._begun, self._took = time.monotonic(), 0.0
        self._steps = self._patches = 0


def _waited_s(trainer: pl.Trainer) -> float:
    """Of this epoch's loader, which is a new one each epoch; 0 of one that does not tell."""
    waited: float = getattr(trainer.train_dataloader, "waited_s", 0.0)
    return waited
