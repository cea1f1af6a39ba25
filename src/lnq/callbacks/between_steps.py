"""Ctrl-C, and a cluster's signals, end training between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl

DEFERRED = (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2)
"""SLURM's warning of a time limit is one of the last two; submitit then leaves the process."""


class BetweenSteps(pl.Callback):
    """Defers a signal to the next step's start, where weights and counters belong together.

    Python handles a signal wherever it falls; who then leaves saves what is there: perhaps
    half-updated weights that a resumed run would go on with. A second Ctrl-C ends the process at
    once, without a checkpoint. (SIGTERM waits for the step's end by itself.)
    """

    def __init__(self) -> None:
        self._asked: int | None = None
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}

    @contextmanager
    def handler(self) -> Iterator[None]:
        """Takes signals that somebody handles while the block runs, and puts the handlers back."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears of them
            return
        for number in DEFERRED:
            if callable(previous := signal.getsignal(number)):
                self._handlers[number] = previous
                signal.signal(number, self._note)
        try:
            yield
        finally:
            for deferred, handler in self._handlers.items():
                signal.signal(deferred, handler)
        self._deliver()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning before each training step."""
        self._deliver()

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning before each validation case."""
        self._deliver()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self._asked = signum
        if signum == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _deliver(self) -> None:
        if self._asked is not None:
            signum, self._asked = self._asked, None
            self._handlers[signum](signum, None)
