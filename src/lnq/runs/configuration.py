"""What a training run is configured by, and what of it a sweep asks."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, TypeGuard

from pydantic import Field

from lnq.acceleration import Acceleration, Settings, device_type
from lnq.callbacks import RampUp
from lnq.config import DataConfig, Paths
from lnq.config.layout_choice import AUTO
from lnq.construction import locate, stray_files
from lnq.data.datasets.folds import Fold, fold_faults, fold_of
from lnq.data.patches.corruption import GenesisCorruption
from lnq.data.store.case_store import CaseStore
from lnq.data.store.only_store import only_store
from lnq.data.store.training_cases import training_cases
from lnq.errors import ConfigError, UsageError
from lnq.methods.method import Method
from lnq.methods.mode import MODES
from lnq.networks.dual_branch_vnet import WIDTHS, total_stride
from lnq.resuming import is_trained
from lnq.run_folder import RunFolder
from lnq.runs.measuring import Measurement

GIVEN = {
    "method": frozenset({"network", "optimizer"}),
    "datamodule": frozenset({"store", "seed", "knows_background"}),
    "trainer": frozenset({"callbacks", "logger", "plugins", "default_root_dir"}),
}

TRIED = {"tau": (0.1, 0.4), "gamma": (0.4, 1.2), "alpha": (0.3, 0.6), "lambda_max": (1.4, 2.2)}
"""Ranges of the paper's Fig. 3."""


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
    acceleration: Acceleration
    logger: dict[str, dict[str, Any] | None]
    measure: dict[str, Measurement | None]
    paths: Paths

    def with_store(self) -> TrainConfig:
        """The configuration with the only store there is, where none was chosen.

        Raises:
            UsageError: There is none, or there are several.
        """
        folder = self.paths.outputs / "preprocess"
        if self.data.name != AUTO or self.store != folder / AUTO:
            return self
        store = only_store(folder)
        return replace(self, store=store, data=replace(self.data, name=store.name))

    def plain(self) -> dict[str, Any]:
        """In types that a checkpoint may hold: no paths."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain

    def settings(self) -> Settings:
        """What makes this training fast on the device that it gets."""
        limit = self.trainer.get("max_steps", -1)  # Lightning's -1: none
        steps = self.trainer["max_epochs"] * self.datamodule["steps_per_epoch"]
        steps = steps if limit < 0 else min(limit, steps)
        return self.acceleration.on(device_type(self.trainer["accelerator"]), steps)

    @property
    def holdout(self) -> float:
        """Share of the patients with annotations that training never sees."""
        return float(self.datamodule.get("holdout", 0.0))

    @property
    def fold(self) -> Fold | None:
        """The fold of a cross-validation that this run is, if it is one."""
        return fold_of(self.datamodule)

    def measurements(self) -> list[Measurement]:
        """Those that were not set to null."""
        return [measurement for measurement in self.measure.values() if measurement is not None]

    def untried(self) -> list[str]:
        """Settings beyond what the paper tried (Fig. 3), in words."""
        if not any((self.method.get("pseudo") or {}).values()):
            return []
        return [
            f"method.{name}={value:g} is beyond what the paper tried, {low:g} to {high:g}"
            for name, (low, high) in TRIED.items()
            if (value := self.method.get(name)) is not None and not low <= value <= high
        ]

    def is_finished(self) -> bool:
        """Whether the run is trained and measured; for sweeps.

        Raises:
            UsageError: The folder holds a run of another configuration.
        """
        run = RunFolder(self.run_dir)
        if not run.manifest.is_file():  # not begun: there may be no store yet
            return False
        trained = is_trained(run, self.with_store().plain())
        return trained and all(measurement.stands() for measurement in self.measurements())

    def require_logged(self, metric: str) -> None:
        """Refuses a validation metric where nothing is validated; for studies.

        Raises:
            UsageError: There is no completely annotated validation case, or no validation.
        """
        if not metric.startswith("val/"):
            return
        store = CaseStore(self.with_store().store)
        epochs, every = self.trainer["max_epochs"], self.trainer.get("check_val_every_n_epoch", 1)
        why = None
        if not training_cases(store, self.holdout, self.seed, self.fold).validated:
            why = f"{store.root} has no completely annotated validation case"
        elif self.trainer.get("limit_val_batches") == 0 or (every or 1) > epochs:
            why = "trainer.limit_val_batches and check_val_every_n_epoch leave no validation"
        if why is not None:
            raise UsageError(
                f"{metric} would never be measured",
                where="hydra.sweeper.jobs.metric",
                why=why,
                remedy="give another column of curves.csv as metric, such as train/loss with "
                "direction=minimize, or validation cases",
            )

    @staticmethod
    def conflicts(root: Mapping[str, Any]) -> list[str]:
        """What is wrong between several keys of the root, checked or not."""
        nodes = {key: node for key, node in root.items() if isinstance(node, Mapping)}
        home = Path(str(root.get("run_dir")))
        faults = [
            fault
            for group in ("callbacks", "logger", "trainer")
            for fault in stray_files(nodes.get(group), home, group)
        ]
        network, datamodule, trainer = (
            nodes.get(k, {}) for k in ("network", "datamodule", "trainer")
        )
        widths, patch = network.get("widths", WIDTHS), datamodule.get("patch_size")
        if _whole_numbers(widths, 2) and _whole_numbers(patch, 3) and len(patch) == 3:
            faults += _stride_conflicts(patch, total_stride(len(widths)))
        faults += _data_conflicts(nodes.get("data", {}))
        faults += fold_faults(datamodule)
        faults += _measure_conflicts(nodes.get("measure", {}), datamodule)
        faults += _corruption_conflicts(nodes.get("method"), datamodule.get("transform"))
        faults += _knowledge_conflicts(nodes.get("method"), datamodule.get("known_background"))
        faults += _ramp_conflicts(nodes.get("method"), nodes.get("callbacks", {}))
        epochs = trainer.get("max_epochs")
        if not isinstance(epochs, int) or epochs < 1:
            faults.append(f"trainer.max_epochs={epochs}: must be a whole number of at least 1")
        else:
            t_max = (nodes.get("callbacks", {}).get("ramp_up") or {}).get("t_max", 0)
            if isinstance(t_max, int) and t_max > epochs:
                faults.append(
                    f"callbacks.ramp_up.t_max={t_max}: the ramp is longer than the training of "
                    f"trainer.max_epochs={epochs}; use at most that"
                )
        faults += [
            f"trainer.{key}: say acceleration.{key}={trainer[key]}"
            for key in ("precision", "benchmark")
            if key in trainer
        ]
        if trainer.get("accumulate_grad_batches") not in (None, 1):
            faults.append(
                "trainer.accumulate_grad_batches: patches are counted by optimiser steps; use "
                "datamodule.batch_size, or trainer.devices, for larger batches"
            )
        for group in ("callbacks", "logger"):
            members = nodes.get(group, {})
            faults += [
                f"{group}.{name} has no _target_: say which class it is, or correct the name; "
                f"there are {', '.join(n for n in members if n != name)}"
                for name, node in members.items()
                if isinstance(node, Mapping) and "_target_" not in node
            ]
        return faults


def _whole_numbers(value: Any, at_least: int) -> TypeGuard[list[int]]:
    """Whether a value that was perhaps reported already is a list of that many integers or more."""
    is_list = isinstance(value, list | tuple) and len(value) >= at_least
    return is_list and all(isinstance(item, int) for item in value)


def _stride_conflicts(patch: Sequence[int], stride: Sequence[int]) -> list[str]:
    faults = []
    for axis, side, step in zip("zyx", patch, stride, strict=True):
        if side % step:
            lower = side // step * step
            near = f"{lower} or {lower + step}" if lower else f"{step}"
            faults.append(
                f"datamodule.patch_size={list(patch)}: its {axis} is not divisible by the "
                f"network's stride {step}; use {near}"
            )
    if tuple(patch) == tuple(stride):
        faults.append(
            f"datamodule.patch_size={list(patch)}: the deepest level would see one voxel, "
            "which cannot be normalised; use twice as much along one axis at least"
        )
    return faults


def _data_conflicts(data: Mapping[str, Any]) -> list[str]:
    """Scans that training would never read."""
    return [
        f"data.{key}: training reads what lnq.preprocess stored, not the scans; leave it out, or "
        "give store=DIR, or data.name=NAME as in preprocess"
        for key in ("root", "layout")
        if data.get(key) is not None
    ]


def _measure_conflicts(measure: Mapping[str, Any], datamodule: Mapping[str, Any]) -> list[str]:
    if datamodule.get("fold") is not None or datamodule.get("holdout"):
        return []
    return [
        f"measure.{name}.held_out: nobody is held out; give +sweep=folds or datamodule.holdout"
        for name, node in measure.items()
        if isinstance(node, Mapping) and node.get("held_out") is True
    ]


def _corruption_conflicts(method: Any, transform: Any) -> list[str]:
    """Pre-training needs corrupted patches, and nothing else can use them."""
    corrupts = any(issubclass(one, GenesisCorruption) for one in _classes(transform))
    return [
        "datamodule.transform: nothing corrupts the patches that lnq.methods.Genesis restores; use "
        "augmentation@datamodule.transform=genesis or genesis_original"
        if chosen.restores
        else f"datamodule.transform: it corrupts patches for pre-training, and {chosen.__name__} "
        "would take them for scans; use augmentation@datamodule.transform=light, full or none"
        for chosen in _classes(method)
        if issubclass(chosen, Method) and chosen.restores is not corrupts
    ]


def _knowledge_conflicts(method: Any, known: Any) -> list[str]:
    """What a mode that knows no background would not learn from."""
    name = method.get("mode") if isinstance(method, Mapping) else None
    if name not in MODES or MODES[name].knows_background:
        return []
    sources = known if isinstance(known, Mapping) else {}
    unused = [
        f"datamodule.known_background.{key}={sources[key]}"
        for key in ("ring_mm", "beyond_lungs_mm", "beyond_body_mm", "lung_heights")
        if sources.get(key) is not None
    ]
    if method.get("unknown") == "left_out":
        unused.append("method.unknown=left_out")
    return [
        f"{key}: method.mode={name} knows no background; use method.mode=recommended"
        for key in unused
    ]


def _ramp_conflicts(method: Any, callbacks: Mapping[str, Any]) -> list[str]:
    """λ_p rises to the method's λ: pre-training has none."""
    return [
        f"callbacks.{name}: it raises λ_p to method.lambda_max, which {chosen.__name__} has not; "
        f"use callbacks.{name}=null"
        for name, node in callbacks.items()
        if any(issubclass(one, RampUp) for one in _classes(node))
        for chosen in _classes(method)
        if issubclass(chosen, Method) and "lambda_max" not in signature(chosen).parameters
    ]


def _classes(node: Any) -> Iterator[type]:
    """The classes that a node and those inside it name, without what is reported as a fault."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            with suppress(ConfigError):
                yield locate(str(node["_target_"]))
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _classes(inner)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else copy.copy(value)
