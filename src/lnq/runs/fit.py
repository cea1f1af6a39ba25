"""The fit itself: what stops it, or goes wrong in it, is told in the user's terms."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch

from lnq.data.patches.workers import shortage
from lnq.errors import RunError, UsageError


def fit(
    trainer: pl.Trainer,
    method: pl.LightningModule,
    datamodule: pl.LightningDataModule,
    ckpt_path: Path | None,
) -> None:
    """Trains; an interrupt keeps its meaning (Lightning turns both signals into an exit).

    Args:
        trainer: As `build_trainer` makes it.
        method: What is trained.
        datamodule: Its patches.
        ckpt_path: Checkpoint to go on with; None = from the beginning.

    Raises:
        UsageError: The checkpoint does not fit the run.
        RunError: The GPU's memory is too small, or a process that cuts patches died.
        KeyboardInterrupt: Ctrl-C.
        SystemExit: 143, at SIGTERM.
    """
    try:
        with _fitting(trainer, ckpt_path):
            trainer.fit(method, datamodule, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit as stop:
        if trainer.received_sigterm:
            raise SystemExit(143) from stop
        raise KeyboardInterrupt from stop
    except torch.OutOfMemoryError as error:
        raise RunError(
            "the GPU's memory is too small", where="lnq.train", why=str(error).split(". ")[0],
            remedy="lower datamodule.batch_size or patch_size, or leave acceleration.precision "
            "at 16-mixed",
        ) from error  # fmt: skip
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        if trainer.received_sigterm:  # which met the worker, too
            raise SystemExit(143) from error
        raise RunError(
            "a process that cuts patches died", where="datamodule.num_workers",
            why="; ".join(filter(None, [str(error), shortage()])),
            remedy="resume with ckpt_path=last; fewer workers need less memory, 0 no shared memory",
        ) from error  # fmt: skip


@contextlib.contextmanager
def _fitting(trainer: pl.Trainer, ckpt_path: Path | None) -> Iterator[None]:
    """Tells what Lightning and torch raise where a checkpoint's tensors and counters do not fit."""
    try:
        yield
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        begun = trainer.train_dataloader is not None
        if ckpt_path is None or begun:
            raise
        raise UsageError(
            "the checkpoint does not fit this run", where=ckpt_path,
            why=f"{type(error).__name__}: {str(error).strip().splitlines()[-1].strip()}"
            if str(error).strip() else type(error).__name__,
            remedy="resume with a checkpoint of this very run",
        ) from error  # fmt: skip
