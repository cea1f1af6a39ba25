"""What a training says while it runs: a bar in a terminal, one line an epoch everywhere."""

from __future__ import annotations

import time
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from lnq.console import console, duration

SHOWN = {"val/dice": "val/dice", "train/lambda_p": "λ_p", "train/lr": "lr"}
"""What an epoch's line tells beside the mean loss, where it was logged."""


class TrainingProgress(ProgressBar):
    """A bar over the whole training with the time left, and a line when an epoch ends.

    Where the output is no terminal there is no bar: a log file holds one line an epoch.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._console = console()
        self._bar: Progress | None = None
        self._losses: list[torch.Tensor] = []
        self._validated = False
        self._first_step = 0
        self._started = self._epoch_started = 0.0

    def enable(self) -> None:
        """Speaks again."""
        self._enabled = True

    def disable(self) -> None:
        """Falls silent, as all processes but the first do."""
        self._enabled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says what begins, and shows the bar."""
        self._first_step = trainer.global_step
        self._started = self._epoch_started = time.monotonic()
        if not self._enabled:
            return
        # Made here, so that it finds the stream that is the process's output now.
        self._console = console()
        self._console.print(_beginning(trainer, pl_module))
        steps = trainer.estimated_stepping_batches
        interval = trainer.log_every_n_steps  # type: ignore[attr-defined]  # a connector sets it
        if steps < interval and trainer.loggers:
            self._console.print(
                f"note: its curves will have no losses: of {steps:g} steps none is the "
                f"{interval}th. Set trainer.log_every_n_steps lower to see them"
            )
        if self._console.is_interactive:
            columns = (
                TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
                TextColumn("steps,"), TimeRemainingColumn(compact=True), TextColumn("left"),
            )  # fmt: skip
            self._bar = Progress(*columns, console=self._console, transient=True)
            self._bar.add_task(
                "", total=trainer.estimated_stepping_batches, completed=self._first_step
            )
            self._bar.start()

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Moves the bar by a step."""
        self._losses.append(outputs["loss"].detach())
        self._show(f"epoch {_number(trainer)}", trainer.global_step)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Says so: whole volumes take their time."""
        self._show(f"epoch {_number(trainer)}, validation", trainer.global_step, at_once=True)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Notes that this epoch has a measurement of its own."""
        self._validated = True

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Prints the epoch's line."""
        if self._enabled:
            self._console.print("  ".join(self._line(trainer)))
        self._losses, self._validated = [], False
        self._epoch_started = time.monotonic()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Takes the bar away."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Takes the bar away before the error is told."""
        self._stop()

    def _line(self, trainer: pl.Trainer) -> list[str]:
        metrics = trainer.callback_metrics
        now = time.monotonic()
        steps = trainer.global_step
        left = trainer.estimated_stepping_batches - steps
        line = [f"epoch {_number(trainer)}"]
        if self._losses:  # none where a run resumes at the very end of an epoch
            line.append(f"loss {torch.stack(self._losses).mean():.4f}")
        for key, name in SHOWN.items():
            if key in metrics and (key != "val/dice" or self._validated):
                line.append(f"{name} {metrics[key]:.4f}")
        line.append(duration(now - self._epoch_started))
        if left > 0 and steps > self._first_step:
            seconds = (now - self._started) / (steps - self._first_step) * left
            line.append(f"{duration(seconds)} left")
        return line

    def _show(self, text: str, steps: int, *, at_once: bool = False) -> None:
        if self._bar is not None:
            task = self._bar.task_ids[0]
            self._bar.update(task, description=text, completed=steps, refresh=at_once)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _number(trainer: pl.Trainer) -> str:
    """`3/32`, counted from 1, as wide in every epoch."""
    last = str(trainer.max_epochs)
    return f"{trainer.current_epoch + 1:>{len(last)}}/{last}"


def _beginning(trainer: pl.Trainer, pl_module: pl.LightningModule) -> str:
    device = pl_module.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    times = f"{trainer.world_size} x " if trainer.world_size > 1 else ""
    from_step = f", from step {trainer.global_step} on" if trainer.global_step else ""
    return (
        f"training on {times}{name}: {trainer.estimated_stepping_batches} steps "
        f"in epochs of {trainer.num_training_batches}{from_step}"
    )
