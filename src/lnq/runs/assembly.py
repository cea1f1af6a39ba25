"""Trainer and method of a run, built as its configuration says."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lnq.acceleration import has_fused_kernel
from lnq.callbacks import AtomicCheckpointIO
from lnq.config import instantiate
from lnq.console import console
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.methods.method import Method
from lnq.networks.training_record import InitialWeights
from lnq.networks.transfer import Checkpoint, initialise_from, read_checkpoint
from lnq.runs.configuration import TrainConfig


def build_method(
    cfg: TrainConfig, store: CaseStore, init_from: Path | None
) -> tuple[Method, InitialWeights | None]:
    """The LightningModule with its network initialised, and a record of where from.

    Args:
        cfg: The run's configuration.
        store: The data, of which a note is printed where the weights' were prepared otherwise.
        init_from: Run folder or checkpoint of the first weights; None = random ones.

    Raises:
        UsageError: `init_from` is not there, damaged, or of another network.
    """
    torch.manual_seed(cfg.seed)
    network = instantiate(cfg.network)
    started_from = None
    if init_from is not None:
        source = read_checkpoint(init_from)
        fresh = initialise_from(network, source.state, source.path)
        _note_other_preprocessing(source, store)
        started_from = InitialWeights(str(source.path), source.sha256, fresh)
    settings = cfg.settings()
    optimizer = instantiate(cfg.optimizer)
    if settings.fused and has_fused_kernel(optimizer):
        optimizer = functools.partial(optimizer, fused=True)
    method = instantiate(cfg.method, network=network, optimizer=optimizer)
    if settings.channels_last:
        network.to(memory_format=torch.channels_last_3d)
    if settings.compile:
        method.compile(dynamic=False)
    return method, started_from


def _note_other_preprocessing(source: Checkpoint, store: CaseStore) -> None:
    """Weights from data that were prepared otherwise still help, but should not surprise."""
    differing = [
        f"{key}: {theirs} there, {store.settings.get(key)} here"
        for key, theirs in source.preprocessing.items()
        if theirs != store.settings.get(key)
    ]
    if differing:
        console().print(
            f"note: {source.path} was trained on data prepared otherwise ({'; '.join(differing)})"
        )


def build_trainer(cfg: TrainConfig, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    """Lightning's trainer with the configured callbacks and loggers.

    Args:
        cfg: The run's configuration.
        callbacks: Those that every run has, called before the configured ones.

    Raises:
        UsageError: Lightning refuses it, such as a device that is not there.
    """
    chosen = [instantiate(node) for node in cfg.callbacks.values() if node is not None]
    settings = cfg.settings()
    loggers = [instantiate(node) for node in cfg.logger.values() if node is not None]
    try:
        return instantiate(
            {
                "enable_progress_bar": _has_bar(chosen),
                "precision": settings.precision,
                "benchmark": settings.benchmark,
                **cfg.trainer,
            },
            callbacks=[*callbacks, *chosen],
            logger=loggers,
            plugins=[AtomicCheckpointIO(asynchronous=settings.async_checkpoint)],
            default_root_dir=str(cfg.run_dir),
        )
    except MisconfigurationException as error:
        raise UsageError("the trainer cannot run here", where="trainer", why=str(error)) from error


def _has_bar(callbacks: Sequence[pl.Callback]) -> bool:
    """Without a bar among the callbacks Lightning would add one of its own."""
    return any(isinstance(callback, ProgressBar) for callback in callbacks)
