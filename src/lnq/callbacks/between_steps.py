"""Ctrl-C ends training between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import pytorch_lightning as pl


class BetweenSteps(pl.Callback):
    """Defers Ctrl-C to the next step's start, where weights and counters belong together.

    Lightning stops wherever the interrupt falls and saves what is there: perhaps half-updated
    weights that a resumed run would go on with. A second Ctrl-C ends the process at once, without
    a checkpoint. (SIGTERM waits for the step's end by itself.)
    """

    def __init__(self) -> None:
        self.asked = False

    @contextmanager
    def handler(self) -> Iterator[None]:
        """Takes Ctrl-C while the block runs, and puts the previous handler back however it ends."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread hears of it
            return
        previous = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Called by Lightning before each training step."""
        self._stop_if_asked()

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Called by Lightning before each validation case."""
        self._stop_if_asked()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        self.asked = True
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _stop_if_asked(self) -> None:
        if self.asked:
            raise KeyboardInterrupt
