"""All runs below a folder as one tidy table."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnq.curves import last_logged
from lnq.errors import LnqError, UsageError
from lnq.evaluation import EvaluationRecord, Spread, filled_assd, read_evaluation
from lnq.evaluation.measures import ASSD_FILLED, DICE, PRECISION
from lnq.files import MANIFEST, read_json
from lnq.reporting.variation import SEED, variations
from lnq.run_folder import MeasuredFolder, RunFolder
from lnq.run_manifest import RunManifest, read_manifest

VALIDATION = "val/dice"
_COUNTS = [
    "num_cases", "num_missing", "num_nodes", "num_nodes_found", "false_positives", "num_hidden",
    "num_hidden_found",
]  # fmt: skip
_SPREAD = ("mean", "sd", "median", "q25", "q75")
_MEASURES = [
    *_COUNTS[:2],
    *(f"dice_{name}" for name in _SPREAD),
    *(f"assd_filled_{name}_mm" for name in _SPREAD),
    "precision_mean",
    *_COUNTS[2:],
    "threshold",
    "dice_at_half",
    "best_dice",
    "best_threshold",
]


@dataclass(frozen=True)
class Collection:
    """What was found below a folder.

    Attributes:
        runs: A row a run: `run`, `experiment`, `seed`, the keys in which the runs' configurations
            differ, whether it is `finished`, its last `val/dice`, and its measures, which are empty
            where it has no evaluation.
        varied: The columns of `runs` that are keys of the configuration, beside the seed.
        cases: A row an evaluated run and case: `run`, `experiment`, `seed` and what `metrics.csv`
            says, with `assd_filled_mm` filled anew: by the largest ASSD of all runs, so that they
            compare.
    """

    runs: pd.DataFrame
    varied: list[str]
    cases: pd.DataFrame

    @property
    def evaluated(self) -> pd.DataFrame:
        """The runs that have measures."""
        return self.runs[self.runs["num_cases"].notna()]

    @property
    def unevaluated(self) -> list[str]:
        """The others, by their path below the folder."""
        return list(self.runs.loc[self.runs["num_cases"].isna(), "run"])


@dataclass(frozen=True)
class _Run:
    name: str
    manifest: RunManifest
    validation: float | None
    evaluation: EvaluationRecord | None
    training: EvaluationRecord | None


def collect(folder: Path) -> Collection:
    """Reads every training run below a folder.

    Raises:
        UsageError: There is none, or manifest, curves or evaluation of one cannot be read.
    """
    places = sorted(path.parent for path in folder.rglob(MANIFEST) if _is_of_a_run(path))
    if not places:
        raise UsageError(
            "nothing to collect", where=folder, why="no training run lies below it",
            remedy="give a folder with output folders of the command train",
        )  # fmt: skip
    runs = [_read(place, place.relative_to(folder).as_posix()) for place in places]
    evaluated = [_cases(run) for run in runs if run.evaluation is not None]
    cases = pd.DataFrame(columns=["run", "experiment", "seed", "case"])
    if evaluated:
        cases = pd.concat(evaluated, ignore_index=True)
        cases[ASSD_FILLED.column] = filled_assd(cases)
    keys = variations([run.manifest.config for run in runs])
    measures = pd.DataFrame([_measures(run, cases) for run in runs], columns=_MEASURES, dtype=float)
    table = pd.concat([pd.DataFrame([_record(run) for run in runs]), measures], axis=1).astype(
        dict.fromkeys(_COUNTS, "Int64")
    )
    for place, key in enumerate(keys, start=2):  # after the run's name and its experiment's
        table.insert(place, key, keys[key])
    return Collection(table, [str(key) for key in keys if key != SEED], cases)


def _is_of_a_run(manifest: Path) -> bool:
    try:
        content = read_json(manifest)
    except LnqError:
        # Whose it was, what lies beside it says: a damaged run is told, nothing else is looked at.
        return RunFolder(manifest.parent).config.is_file()
    return isinstance(content, dict) and content.get("stage") == "train"


def _read(place: Path, name: str) -> _Run:
    run = RunFolder(place)
    return _Run(
        name, read_manifest(run), last_logged(run, VALIDATION),
        _evaluation(run), _evaluation(run.training),
    )  # fmt: skip


def _evaluation(folder: MeasuredFolder) -> EvaluationRecord | None:
    """None where there is none; one that cannot be read must not pass for that."""
    return read_evaluation(folder.evaluation) if folder.evaluation.is_dir() else None


def _cases(run: _Run) -> pd.DataFrame:
    assert run.evaluation is not None
    table = run.evaluation.metrics.reset_index()
    own = run.manifest
    told: dict[str, str | int] = {
        "run": run.name, "experiment": own.experiment, "seed": own.seed,
    }  # fmt: skip
    for place, (column, value) in enumerate(told.items()):
        table.insert(place, column, value)
    return table


def _record(run: _Run) -> dict[str, Any]:
    return {
        "run": run.name,
        "experiment": run.manifest.experiment,
        "finished": run.manifest.finished is not None,
        VALIDATION: run.validation,
    }


def _measures(run: _Run, cases: pd.DataFrame) -> dict[str, Any]:
    """Nothing where there is no evaluation."""
    if run.evaluation is None:
        return {}
    own = cases[cases["run"] == run.name]
    dice, distance = Spread.of(own[DICE.column]), Spread.of(own[ASSD_FILLED.column])
    nodes, hidden = run.evaluation.summary.nodes, None
    cut, others = run.evaluation.facts.threshold, run.evaluation.summary.other_thresholds
    if run.training is not None:  # only these scans have nodes that were never annotated
        hidden = run.training.summary.nodes.never_annotated
    return {
        "num_cases": len(own),
        "num_missing": int(own["missing"].sum()),
        **{f"dice_{name}": getattr(dice, name) for name in _SPREAD},
        **{f"assd_filled_{name}_mm": getattr(distance, name) for name in _SPREAD},
        "precision_mean": Spread.of(own[PRECISION.column]).mean,
        "num_nodes": nodes.n,
        "num_nodes_found": nodes.n_detected,
        "false_positives": nodes.false_positives,
        "num_hidden": np.nan if hidden is None else hidden.n,
        "num_hidden_found": np.nan if hidden is None else hidden.n_detected,
        "threshold": np.nan if cut is None else cut.value,
        **({} if others is None else asdict(others)),
    }
