"""python -m lnq.train +experiment=NAME: trains a network, from scratch or from given weights."""

from __future__ import annotations

import contextlib
import copy
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeGuard

import pytorch_lightning as pl
import torch
from pydantic import Field
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from rich.console import Console

from lnq.callbacks import AtomicCheckpointIO, BetweenSteps, ReportToTrial, RunRecord, StepSeed
from lnq.config import DataConfig, Paths, command, instantiate
from lnq.config.detection import AUTO as AUTO_DATA
from lnq.data.store import CaseStore
from lnq.data.stores import only_store
from lnq.errors import RunError, UsageError
from lnq.files import sha256
from lnq.networks.dual_branch_vnet import WIDTHS, total_stride
from lnq.networks.transfer import (
    Checkpoint,
    find_checkpoint,
    initialise_from,
    load_file,
    read_checkpoint,
)
from lnq.run_folder import (
    AUTO,
    check_resumable,
    claimed,
    is_trained,
    last_checkpoint,
    resolve_last,
)
from lnq.trained import Measurement, measure

GIVEN = {
    "method": frozenset({"network", "optimizer"}),
    "datamodule": frozenset({"store", "seed"}),
    "trainer": frozenset({"callbacks", "logger", "plugins", "default_root_dir"}),
}


@dataclass(frozen=True)
class TrainConfig:
    """Root of conf/train.yaml.

    Attributes:
        name: Name of the experiment.
        seed: Seed of everything random.
        run_dir: Folder of the run.
        ckpt_path: Resume: `last`, `auto` (last, if there is one) or a checkpoint of this run.
        init_from: Weights to begin with: a run folder or checkpoint of pre-training, or a `.pth` of
            the authors' code.
        store: Folder that `lnq.preprocess` wrote.
        measure: What the run is measured on once it is trained, by name.
    """

    name: str
    seed: Annotated[int, Field(ge=0)]
    run_dir: Path
    ckpt_path: Path | None
    init_from: Path | None
    store: Path
    data: DataConfig
    datamodule: dict[str, Any]
    network: dict[str, Any]
    method: dict[str, Any]
    optimizer: dict[str, Any]
    callbacks: dict[str, dict[str, Any] | None]
    trainer: dict[str, Any]
    logger: dict[str, dict[str, Any] | None]
    measure: dict[str, Measurement | None]
    paths: Paths

    def measurements(self) -> list[Measurement]:
        """Those that were not set to null."""
        return [measurement for measurement in self.measure.values() if measurement is not None]

    def is_finished(self) -> bool:
        """Whether the run is trained and measured; for sweeps.

        Raises:
            UsageError: The folder holds a run of another configuration.
        """
        trained = is_trained(self.run_dir, _plain(asdict(_with_store(self))))
        return trained and all(measurement.stands() for measurement in self.measurements())

    def require_logged(self, metric: str) -> None:
        """Refuses a validation metric where nothing is validated; for studies.

        Raises:
            UsageError: There is no completely annotated validation case, or no validation.
        """
        if not metric.startswith("val/"):
            return
        store = CaseStore(_with_store(self).store)
        epochs, every = self.trainer["max_epochs"], self.trainer.get("check_val_every_n_epoch", 1)
        why = None
        if not store.case_ids(split="val", supervision="full"):
            why = f"{store.root} has no completely annotated validation case"
        elif self.trainer.get("limit_val_batches") == 0 or (every or 1) > epochs:
            why = "trainer.limit_val_batches and check_val_every_n_epoch leave no validation"
        if why is not None:
            raise UsageError(
                f"{metric} would never be measured",
                where="hydra.sweeper.jobs.metric",
                why=why,
                remedy="give another column of metrics.csv as metric, such as train/loss with "
                "direction=minimize, or validation cases",
            )

    @staticmethod
    def conflicts(nodes: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """What is wrong between several keys; `nodes` are those of the root that are mappings."""
        found = []
        network, datamodule, trainer = (
            nodes.get(k, {}) for k in ("network", "datamodule", "trainer")
        )
        widths, patch = network.get("widths", WIDTHS), datamodule.get("patch_size")
        if _whole_numbers(widths, 2) and _whole_numbers(patch, 3) and len(patch) == 3:
            found += _stride_conflicts(patch, total_stride(len(widths)))
        epochs = trainer.get("max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            found.append(f"trainer.max_epochs={epochs}: must be a whole number of at least 1")
        else:
            t_max = (nodes.get("callbacks", {}).get("ramp_up") or {}).get("t_max", 0)
            if isinstance(t_max, int) and t_max > epochs:
                found.append(
                    f"callbacks.ramp_up.t_max={t_max}: the ramp is longer than the training of "
                    f"trainer.max_epochs={epochs}; use at most that"
                )
        if trainer.get("accumulate_grad_batches") not in (None, 1):
            found.append(
                "trainer.accumulate_grad_batches: patches are counted by optimiser steps; use "
                "datamodule.batch_size, or trainer.devices, for larger batches"
            )
        for group in ("callbacks", "logger"):
            members = nodes.get(group, {})
            found += [
                f"{group}.{name} has no _target_: say which class it is, or correct the name; "
                f"there are {', '.join(n for n in members if n != name)}"
                for name, node in members.items()
                if isinstance(node, Mapping) and "_target_" not in node
            ]
        return found


@command("train", TrainConfig, given=GIVEN, prepare=resolve_last)
def main(cfg: TrainConfig) -> int:
    """Trains as configured, measures where asked, and says where everything lies."""
    _silence()
    resolved = _with_store(cfg)
    console = Console(soft_wrap=True, highlight=False, markup=False)
    if resolved.store != cfg.store:
        console.print(f"dataset: {resolved.store.name}, in {resolved.store}")
    cfg = resolved
    for measurement in cfg.measurements():
        measurement.check()
    if cfg.ckpt_path == AUTO:
        cfg = replace(cfg, ckpt_path=last_checkpoint(cfg.run_dir))
        begins = "begins" if cfg.ckpt_path is None else "goes on with its last checkpoint"
        console.print(f"{cfg.run_dir.name}: {begins}")
    trainer = _train(cfg)
    if not trainer.is_global_zero:
        return 0
    code = 0 if _was_pruned(trainer) else _measure(cfg)
    console.print(f"checkpoint, curves and records are in {cfg.run_dir}")
    return code


def _train(cfg: TrainConfig) -> pl.Trainer:
    """Trains; the trainer as it is then."""
    config = _plain(asdict(cfg))
    store = CaseStore(cfg.store)
    facts: dict[str, Any] = {
        "preprocessing": store.settings,
        "cases": store.case_ids(split="train"),
        "split_sha256": store.split_sha256,
    }
    if cfg.ckpt_path is None:
        method, facts["init_from"] = _method(cfg, store, cfg.init_from)
    else:
        begun = load_file(find_checkpoint(cfg.ckpt_path)).get("lnq", {})
        check_resumable(cfg.run_dir, {"config": config, **facts}, begun)
        method, _ = _method(cfg, store, None)  # the checkpoint has the weights
        facts["init_from"] = begun["init_from"]
    datamodule = instantiate(cfg.datamodule, store=cfg.store, seed=cfg.seed)
    record = RunRecord(cfg.run_dir, config, facts)
    between_steps = BetweenSteps()
    trainer = _trainer(cfg, [between_steps, StepSeed(cfg.seed), record])
    # With several devices, each is a process of its own; the first one speaks for the run.
    claim = claimed(cfg.run_dir, resuming=cfg.ckpt_path is not None)
    with claim if trainer.is_global_zero else contextlib.nullcontext(), between_steps.handler():
        _fit(trainer, method, datamodule, cfg.ckpt_path)
        if trainer.is_global_zero and not _was_pruned(trainer):
            record.finish()
    return trainer


def _was_pruned(trainer: pl.Trainer) -> bool:
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return any(callback.pruned for callback in callbacks if isinstance(callback, ReportToTrial))


def _measure(cfg: TrainConfig) -> int:
    """Measures what was not measured yet; 0, or 3 where a case failed."""
    device = "cpu" if cfg.trainer["accelerator"] == "cpu" else "auto"
    left = [measurement for measurement in cfg.measurements() if not measurement.stands()]
    return max((measure(cfg.run_dir, each, device) for each in left), default=0)


def _with_store(cfg: TrainConfig) -> TrainConfig:
    """The configuration with the only store there is, where none was chosen."""
    folder = cfg.paths.outputs / "preprocess"
    if cfg.data.name != AUTO_DATA or cfg.store != folder / AUTO_DATA:
        return cfg
    store = only_store(folder)
    return replace(cfg, store=store, data=replace(cfg.data, name=store.name))


def _silence() -> None:
    """Drops what Lightning says that is no concern of the user's.

    The run's folder was checked, and a resumed run's is full or has moved; pre-training, or a store
    without completely annotated cases, has nothing to validate; a deprecation of torch's inside
    Lightning; an advert.
    """
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The dirpath has changed from")
    warnings.filterwarnings("ignore", "You passed in a `val_dataloader` but have no")
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_is_no_advert)


def _is_no_advert(record: logging.LogRecord) -> bool:
    return "Tip: For seamless cloud" not in record.getMessage()


def _method(
    cfg: TrainConfig, store: CaseStore, init_from: Path | None
) -> tuple[pl.LightningModule, dict[str, Any] | None]:
    """The LightningModule with its network initialised, and a record of where from."""
    torch.manual_seed(cfg.seed)
    network = instantiate(cfg.network)
    started_from = None
    if init_from is not None:
        source = read_checkpoint(init_from)
        fresh = initialise_from(network, source.state, source.path)
        _note_other_preprocessing(source, store)
        started_from = {
            "path": str(source.path),
            "sha256": sha256(source.path),
            "not_initialised": fresh,
        }
    optimizer = instantiate(cfg.optimizer)
    return instantiate(cfg.method, network=network, optimizer=optimizer), started_from


def _note_other_preprocessing(source: Checkpoint, store: CaseStore) -> None:
    """Weights from data that were prepared otherwise still help, but should not surprise."""
    differing = [
        f"{key}: {theirs} there, {store.settings.get(key)} here"
        for key, theirs in source.preprocessing.items()
        if theirs != store.settings.get(key)
    ]
    if differing:
        Console().print(
            f"note: {source.path} was trained on data prepared otherwise ({'; '.join(differing)})",
            soft_wrap=True, markup=False,
        )  # fmt: skip


def _trainer(cfg: TrainConfig, callbacks: Sequence[pl.Callback]) -> pl.Trainer:
    chosen = [instantiate(node) for node in cfg.callbacks.values() if node is not None]
    loggers = [instantiate(node) for node in cfg.logger.values() if node is not None]
    try:
        return instantiate(
            cfg.trainer,
            callbacks=[*callbacks, *chosen],
            logger=loggers,
            plugins=[AtomicCheckpointIO()],
            default_root_dir=str(cfg.run_dir),
        )
    except MisconfigurationException as error:
        raise UsageError("the trainer cannot run here", where="trainer", why=str(error)) from error


def _whole_numbers(value: Any, at_least: int) -> TypeGuard[list[int]]:
    """Whether a value that was perhaps reported already is a list of that many integers or more."""
    is_list = isinstance(value, list | tuple) and len(value) >= at_least
    return is_list and all(isinstance(item, int) for item in value)


def _stride_conflicts(patch: Sequence[int], stride: Sequence[int]) -> list[str]:
    found = []
    for axis, side, step in zip("zyx", patch, stride, strict=True):
        if side % step:
            lower = side // step * step
            near = f"{lower} or {lower + step}" if lower else f"{step}"
            found.append(
                f"datamodule.patch_size={list(patch)}: its {axis} is not divisible by the "
                f"network's stride {step}; use {near}"
            )
    return found


def _fit(
    trainer: pl.Trainer,
    method: pl.LightningModule,
    datamodule: pl.LightningDataModule,
    ckpt_path: Path | None,
) -> None:
    """Trains; an interrupt keeps its meaning (Lightning turns both signals into an exit)."""
    try:
        trainer.fit(method, datamodule, ckpt_path=ckpt_path, weights_only=True)
    except SystemExit as stop:
        if trainer.received_sigterm:
            raise SystemExit(143) from stop
        raise KeyboardInterrupt from stop
    except torch.OutOfMemoryError as error:
        raise RunError(
            "the GPU's memory is too small", where="lnq.train", why=str(error).split(". ")[0],
            remedy="lower datamodule.batch_size or patch_size, or use trainer.precision=bf16-mixed",
        ) from error  # fmt: skip
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise RunError(
            "a process that cuts patches died", where="datamodule.num_workers", why=str(error),
            remedy="resume with ckpt_path=last; fewer workers need less memory",
        ) from error  # fmt: skip


def _plain(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration in types that a checkpoint may hold: no paths."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(inner) for key, inner in value.items()}
        if isinstance(value, list | tuple):
            return [plain(inner) for inner in value]
        return str(value) if isinstance(value, Path) else copy.copy(value)

    return plain(config)


if __name__ == "__main__":
    main()
