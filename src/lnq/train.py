"""python -m lnq.train +experiment=NAME: trains a network, from scratch or from given weights."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("train")  # before the imports below, which take seconds

import contextlib
import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from lnq.acceleration import Settings, has_fused_kernel
from lnq.callbacks import (
    AtomicCheckpointIO,
    BetweenSteps,
    ReportToTrial,
    RunRecord,
    StepSeed,
    duration,
    silence,
    whereabouts,
)
from lnq.config import command, given_overrides, instantiate, is_one_of_several
from lnq.console import console
from lnq.curves import last_logged
from lnq.data.patches.workers import shortage
from lnq.data.store.case_store import CaseStore
from lnq.errors import RunError, UsageError
from lnq.evaluation.measures import DICE
from lnq.methods.method import Method
from lnq.networks.training_record import InitialWeights, TrainingRecord
from lnq.networks.transfer import Checkpoint, initialise_from, read_checkpoint, read_record
from lnq.resuming import (
    AUTO,
    check_resumable,
    claimed,
)
from lnq.run_folder import MeasuredFolder, RunFolder
from lnq.runs.configuration import GIVEN, TrainConfig
from lnq.runs.last_run import with_last_run
from lnq.runs.measuring import measure
from lnq.runs.next_steps import fine_tuning, resuming, using


@command("train", TrainConfig, given=GIVEN, prepare=with_last_run)
def main(cfg: TrainConfig) -> int:
    """Trains as configured, measures where asked, and says where everything lies."""
    begun = time.monotonic()
    silence()
    resolved = cfg.with_store()
    out = console()
    if resolved.store != cfg.store:
        out.print(f"dataset: {resolved.store.name}, in {resolved.store}")
    cfg = resolved
    for words in cfg.untried():
        out.print(f"note: {words}")
    for measurement in cfg.measurements():
        measurement.check()
    if cfg.ckpt_path == AUTO:
        last = RunFolder(cfg.run_dir).checkpoint
        cfg = replace(cfg, ckpt_path=last if last.exists() else None)
        begins = "begins" if cfg.ckpt_path is None else "goes on with its last checkpoint"
        out.print(f"{cfg.run_dir.name}: {begins}")
    trainer, method = _train(cfg)
    if not trainer.is_global_zero:
        return 0
    code = 0 if _was_pruned(trainer) else _measure(cfg)
    _tell_where(RunFolder(cfg.run_dir), time.monotonic() - begun, trainer)
    overrides = given_overrides()
    for line in [fine_tuning(cfg, overrides)] if method.restores else using(cfg):
        out.print(f"{'next':<12}{line}")
    return code


def _train(cfg: TrainConfig) -> tuple[pl.Trainer, Method]:
    """Trains; trainer and method as they are then."""
    store = CaseStore(cfg.store)
    cases = store.case_ids(split="train")
    fresh = TrainingRecord(
        cfg.plain(), store.settings, cases, store.split_sha256, store.content_sha256(cases)
    )
    if cfg.ckpt_path is None:
        method, init_from = _method(cfg, store, cfg.init_from)
    else:
        begun = read_record(cfg.ckpt_path)
        check_resumable(RunFolder(cfg.run_dir), fresh, begun)
        method, _ = _method(cfg, store, None)  # the checkpoint has the weights
        init_from = begun.init_from
    datamodule = instantiate(
        cfg.datamodule,
        store=cfg.store,
        seed=cfg.seed,
        known_background_hu=method.known_background_hu,
    )
    record = RunRecord(cfg.run_dir, replace(fresh, init_from=init_from))
    between_steps = BetweenSteps()
    trainer = _trainer(cfg, [between_steps, StepSeed(cfg.seed), record])
    # With several devices, each is a process of its own; the first one speaks for the run.
    if trainer.is_global_zero:
        _warn_of_unfinished(store)
        _tell_acceleration(cfg)
    claim = claimed(RunFolder(cfg.run_dir), resuming=cfg.ckpt_path is not None)
    with claim if trainer.is_global_zero else contextlib.nullcontext(), between_steps.handler():
        try:
            _fit(trainer, method, datamodule, cfg.ckpt_path)
        except (KeyboardInterrupt, SystemExit):
            if trainer.is_global_zero:
                _tell_how_to_go_on(cfg)
            raise
        if trainer.is_global_zero and not _was_pruned(trainer):
            record.finish()
    return trainer, method


def _warn_of_unfinished(store: CaseStore) -> None:
    """Training on a part of the cases is possible, but should not surprise."""
    if unfinished := len(store.unfinished()):
        done = len(store.case_ids())
        console().print(
            f"warning: {done} of {done + unfinished} cases are prepared; run lnq.preprocess again "
            f"[{store.root}]"
        )


def _tell_acceleration(cfg: TrainConfig) -> None:
    """What is done for speed, and its price; nothing where nothing is done."""
    settings = cfg.settings()
    if settings == Settings():
        return
    console().print(f"acceleration: {settings}")
    if settings.compile:
        console().print("the first step compiles: one to three minutes")
    if cfg.ckpt_path is not None:
        console().print(
            "resumed on a GPU or compiled, a run goes on within rounding, not bit by bit"
        )


def _was_pruned(trainer: pl.Trainer) -> bool:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return any(callback.pruned for callback in callbacks if isinstance(callback, ReportToTrial))


def _measure(cfg: TrainConfig) -> int:
    """Measures what was not measured yet; 0, or 3 where a case failed."""
    device = "cpu" if cfg.trainer["accelerator"] == "cpu" else "auto"
    left = [measurement for measurement in cfg.measurements() if not measurement.stands()]
    code = 0
    for measurement in left:
        measured = measure(cfg.run_dir, measurement, device, console().print)
        dice = measured.evaluation.summary.metrics.dice
        folder = MeasuredFolder(measurement.output).evaluation
        console().print(f"{DICE.short} {DICE.text(dice.mean)} on {dice.n} cases -> {folder}")
        code = max(code, measured.exit_code)
    return code


def _method(
    cfg: TrainConfig, store: CaseStore, init_from: Path | None
) -> tuple[Method, InitialWeights | None]:
    """The LightningModule with its network initialised, and a record of where from."""
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


def _trainer(cfg: TrainConfig, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
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
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(cfg.run_dir),
        )
    except MisconfigurationException as error:
        raise UsageError("the trainer cannot run here", where="trainer", why=str(error)) from error


def _has_bar(callbacks: Sequence[pl.Callback]) -> bool:
    """Without a bar among the callbacks Lightning would add one of its own."""
    return any(isinstance(callback, ProgressBar) for callback in callbacks)


def _tell_where(run: RunFolder, seconds: float, trainer: pl.Trainer) -> None:
    """How the training ended, and what it leaves."""
    out = console()
    dice = last_logged(run, "val/dice")
    summary = {
        "run": str(run.path),
        "took": duration(seconds),
        **({} if dice is None else {"val/dice": f"{dice:.4f}"}),
        **whereabouts(run, trainer.loggers),
    }
    for name, told in summary.items():
        out.print(f"{name:<12}{told}")


def _tell_how_to_go_on(cfg: TrainConfig) -> None:
    if is_one_of_several():
        line = "to go on, give the same command again: runs that are finished stay"
    elif RunFolder(cfg.run_dir).checkpoint.exists():
        line = f"to go on    {resuming(cfg, given_overrides())}"
    else:
        line = "stopped before anything was saved"
    console(stderr=True).print(line)


def _fit(
    trainer: pl.Trainer,
    method: pl.LightningModule,
    datamodule: pl.LightningDataModule,
    ckpt_path: Path | None,
) -> None:
    """Trains; an interrupt keeps its meaning (Lightning turns both signals into an exit)."""
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


if __name__ == "__main__":
    main()
