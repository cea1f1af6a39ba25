"""All runs below a folder as one tidy table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnq.curves import last_logged
from lnq.errors import UsageError
from lnq.files import MANIFEST, read_json
from lnq.reporting.evaluations import read_evaluation
from lnq.reporting.runs import Run, read_runs
from lnq.reporting.variation import SEED, variations
from lnq.resuming import FINISHED

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


def collect(folder: Path) -> Collection:
    """Reads every training run below a folder.

    Raises:
        UsageError: There is none, or an evaluation cannot be read.
    """
    places = sorted(
        path.parent for path in folder.rglob(MANIFEST) if read_json(path).get("stage") == "train"
    )
    if not places:
        raise UsageError(
            "nothing to collect", where=folder, why="no training run lies below it",
            remedy="give a folder with output folders of the command train",
        )  # fmt: skip
    runs = read_runs(places)
    evaluated = [run for run in runs if run.evaluation is not None]
    cases = pd.DataFrame(columns=["run", "experiment", "seed", "case"])
    if evaluated:
        cases = pd.concat([_cases(run, folder) for run in evaluated], ignore_index=True)
        cases["assd_filled_mm"] = _filled(cases)
    keys = variations([run.manifest["config"] for run in runs])
    measures = pd.DataFrame([_measures(run, folder, cases) for run in runs], columns=_MEASURES)
    table = pd.concat(
        [pd.DataFrame([_record(run, folder) for run in runs]), measures], axis=1
    ).astype(dict.fromkeys(_COUNTS, "Int64"))
    for place, key in enumerate(keys, start=2):  # after the run's name and its experiment's
        table.insert(place, key, keys[key])
    return Collection(table, [str(key) for key in keys if key != SEED], cases)


def _name(run: Run, folder: Path) -> str:
    return run.folder.path.relative_to(folder.resolve()).as_posix()


def _cases(run: Run, folder: Path) -> pd.DataFrame:
    assert run.evaluation is not None
    config = run.manifest["config"]
    table = run.evaluation.metrics.reset_index()
    for place, (column, value) in enumerate(
        {"run": _name(run, folder), "experiment": config["name"], "seed": config["seed"]}.items()
    ):
        table.insert(place, column, value)
    return table


def _filled(cases: pd.DataFrame) -> pd.Series:
    """ASSD with the largest one of all runs where just one of the two masks is empty."""
    one_empty = (cases["reference_ml"] > 0) ^ (cases["prediction_ml"] > 0)
    return cases["assd_mm"].mask(one_empty, cases["assd_mm"].max())


def _record(run: Run, folder: Path) -> dict[str, Any]:
    return {
        "run": _name(run, folder),
        "experiment": run.manifest["config"]["name"],
        "finished": FINISHED in run.manifest,
        VALIDATION: last_logged(run.folder, VALIDATION),
    }


def _measures(run: Run, folder: Path, cases: pd.DataFrame) -> dict[str, Any]:
    """Nothing where there is no evaluation."""
    if run.evaluation is None:
        return {}
    own = cases[cases["run"] == _name(run, folder)]
    nodes = run.evaluation.summary["nodes"]
    return {
        "num_cases": len(own),
        "num_missing": int(own["missing"].sum()),
        **{f"dice_{name}": value for name, value in _spread(own["dice"]).items()},
        **{f"assd_filled_{k}_mm": value for k, value in _spread(own["assd_filled_mm"]).items()},
        "precision_mean": own["precision"].mean(),
        "num_nodes": nodes["n"],
        "num_nodes_found": nodes["n_detected"],
        "false_positives": nodes["false_positives"],
        **_hidden(run),
    }


def _spread(values: pd.Series) -> dict[str, float]:
    q25, median, q75 = values.quantile([0.25, 0.5, 0.75])
    found = (values.mean(), values.std(ddof=0), median, q25, q75)
    return dict(zip(_SPREAD, found, strict=True))


def _hidden(run: Run) -> dict[str, float]:
    """The nodes of the training scans that were never annotated, where they were evaluated."""
    training = run.folder.training
    if not training.evaluation.is_dir():
        return {"num_hidden": np.nan, "num_hidden_found": np.nan}
    found = read_evaluation(training.evaluation, training.predictions)
    never = found.summary["nodes"]["never_annotated"]
    return {"num_hidden": never["n"], "num_hidden_found": never["n_detected"]}
