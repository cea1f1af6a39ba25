"""python -m lnq.train +experiment=NAME: trains a network, from scratch or from given weights."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("train")  # before the imports below, which take seconds

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace

import pytorch_lightning as pl

from lnq.acceleration import Settings
from lnq.callbacks import (
    BetweenSteps,
    ReportToTrial,
    RunRecord,
    StepSeed,
    silence,
    whereabouts,
)
from lnq.config import command, given_overrides, instantiate, is_one_of_several
from lnq.console import console, duration
from lnq.curves import last_logged
from lnq.data.datasets.checks import shortened
from lnq.data.store.case_store import CaseStore
from lnq.data.store.training_cases import training_cases
from lnq.evaluation.measures import DICE
from lnq.methods.method import Method
from lnq.networks.training_record import TrainingRecord
from lnq.networks.transfer import read_record
from lnq.resuming import (
    AUTO,
    check_resumable,
    claimed,
)
from lnq.run_folder import MeasuredFolder, RunFolder
from lnq.runs.assembly import build_method, build_trainer
from lnq.runs.configuration import GIVEN, TrainConfig
from lnq.runs.fit import fit
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
    cases = training_cases(store, cfg.holdout, cfg.seed, cfg.fold)
    fresh = TrainingRecord(
        cfg.plain(), store.settings, cases.trained, store.split_sha256,
        store.content_sha256(cases.trained), held_out=cases.held_out,
    )  # fmt: skip
    if cfg.ckpt_path is None:
        method, init_from = build_method(cfg, store, cfg.init_from)
    else:
        begun = read_record(cfg.ckpt_path)
        check_resumable(RunFolder(cfg.run_dir), fresh, begun)
        method, _ = build_method(cfg, store, None)  # the checkpoint has the weights
        init_from = begun.init_from
    datamodule = instantiate(
        cfg.datamodule,
        store=cfg.store,
        seed=cfg.seed,
        knows_background=method.knows_background,
    )
    record = RunRecord(cfg.run_dir, replace(fresh, init_from=init_from))
    between_steps = BetweenSteps()
    trainer = build_trainer(cfg, [between_steps, StepSeed(cfg.seed), record])
    # With several devices, each is a process of its own; the first one speaks for the run.
    if trainer.is_global_zero:
        _warn_of_unfinished(store)
        _tell_unused_masks(store, cases.trained, method)
        if cases.held_out:
            console().print(f"held out: {shortened(cases.held_out)}")
        _tell_acceleration(cfg)
    claim = claimed(RunFolder(cfg.run_dir), resuming=cfg.ckpt_path is not None)
    with claim if trainer.is_global_zero else contextlib.nullcontext(), between_steps.handler():
        try:
            fit(trainer, method, datamodule, cfg.ckpt_path)
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


def _tell_unused_masks(store: CaseStore, case_ids: Sequence[str], method: Method) -> None:
    """Masks that nobody looks at should not surprise."""
    masks = sum(store.record(case_id).background_sha256 is not None for case_id in case_ids)
    if masks and not method.knows_background and not method.restores:
        console().print(
            f"note: {masks} cases have masks of background: method.mode=recommended learns from "
            "them, this mode does not"
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


if __name__ == "__main__":
    main()
