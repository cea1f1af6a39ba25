"""How fast a run trains and how much memory it takes."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import pytorch_lightning as pl
import torch

_BYTES = 1 if sys.platform == "darwin" else 1024
"""The unit of the process's peak memory, which the operating systems count differently."""


class Performance(pl.Callback):
    """Logs the throughput of the epoch so far and the peaks of memory, with each step.

    `perf/patches_per_second` counts the patches of all devices, and the waiting for them, but not
    validation. `perf/memory_gb` is the largest resident memory that this process ever had,
    `perf/gpu_memory_gb` the largest that tensors took on its GPU; both in 10^9 bytes.
    """

    def __init__(self) -> None:
        self._begun = 0.0
        self._patches = 0

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
        self._patches += len(batch["case_id"]) * trainer.world_size
        values = {
            "perf/patches_per_second": self._patches / (time.monotonic() - self._begun),
            "perf/memory_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES / 1e9,
        }
        if pl_module.device.type == "cuda":
            values["perf/gpu_memory_gb"] = torch.cuda.max_memory_allocated(pl_module.device) / 1e9
        # On the host, where Lightning would move plain numbers to the GPU and wait for it.
        pl_module.log_dict({name: torch.tensor(value) for name, value in values.items()})

    def _begin(self) -> None:
        self._begun, self._patches = time.monotonic(), 0
