"""Several jobs on one machine: how many, and which GPU each has."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from hydra.experimental.callback import Callback
from omegaconf import OmegaConf

from lnq.locks import held

MOST_ON_CPU = 4
"""Jobs side by side without a GPU: more would be limited by memory before they are by cores."""


def jobs_at_once() -> int:
    """One job a GPU; without any, one a core, at most four."""
    return torch.cuda.device_count() or min(len(os.sched_getaffinity(0)), MOST_ON_CPU)


OmegaConf.register_new_resolver("jobs_at_once", jobs_at_once)


class OneGpuEach(Callback):
    """Gives each worker process of a launcher a GPU of its own, for as long as it lives.

    Workers take numbered slots by locks, which end with the process; slot n has GPU n. More workers
    than GPUs share them evenly.

    Args:
        folder: Of the sweep; holds the locks.
    """

    _slot: int | None = None
    _lock: ExitStack | None = None

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Called by Hydra in the worker, before the job: CUDA has not begun there yet."""
        count = torch.cuda.device_count()
        if OneGpuEach._slot is not None or count < 2:
            return
        OneGpuEach._slot = self._take()
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
        names = visible.split(",") if visible else [str(number) for number in range(count)]
        os.environ["CUDA_VISIBLE_DEVICES"] = names[OneGpuEach._slot % count]

    def _take(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        slot = 0
        while True:
            lock = ExitStack()
            try:
                lock.enter_context(held(self.folder / f".worker{slot}.lock"))
            except BlockingIOError:
                slot += 1
            else:
                OneGpuEach._lock = lock  # kept as long as the process
                return slot
