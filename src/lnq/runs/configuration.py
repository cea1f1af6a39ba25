"""What a training run is configured by, and what of it a sweep asks."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from lnq.acceleration import Acceleration, Settings, device_type
from lnq.config import DataConfig, Paths
from lnq.config.layout_choice import AUTO
from lnq.data.datasets.folds import Fold, fold_of
from lnq.data.store.case_store import CaseStore
from lnq.data.store.only_store import only_store
from lnq.data.store.training_cases import training_cases
from lnq.errors import UsageError
from lnq.resuming import is_trained
from lnq.run_folder import RunFolder
from lnq.runs.conflicts import conflicts
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
        expected_nodes: Nodes a scan that are expected on average, for the choice of a threshold.
        measure: What the run is measured on once it is trained, by name.
    """

    name: str
    seed: Annotated[int, Field(ge=0)]
    run_dir: Path
    ckpt_path: Path | None
    init_from: Path | None
    store: Path
    expected_nodes: Annotated[float, Field(gt=0, le=1000)] | None
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
        """Settings of the paper's method beyond what it tried (Fig. 3), in words."""
        pseudo = any((self.method.get("pseudo") or {}).values())
        if not pseudo or self.method.get("unknown", "background") != "background":
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
        return conflicts(root)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return str(value) if isinstance(value, Path) else copy.copy(value)
