"""All runs below a folder as one tidy table."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from lnq.errors import UsageError
from lnq.files import MANIFEST, read_json
from lnq.reporting.evaluations import read_evaluation
from lnq.reporting.runs import Run, read_runs

TRAINING = Path("training", "evaluation")
"""Where in a run's folder the evaluation of its own training scans lies."""
PARAMETERS = ("tau", "gamma", "alpha", "lambda_max")


@dataclass(frozen=True)
class Collection:
    """What was found below a folder.

    Attributes:
        runs: A row a run: `run`, `experiment`, `seed`, the method's parameters, and its measures.
        cases: A row a run and case: `run`, `experiment`, `seed` and what `metrics.csv` says, with
            `assd_filled_mm` filled anew: by the largest ASSD of all runs, so that they compare.
        left_out: Runs without an evaluation, by their path below the folder.
    """

    runs: pd.DataFrame
    cases: pd.DataFrame
    left_out: list[str]


def collect(folder: Path) -> Collection:
    """Reads every evaluated training run below a folder.

    Raises:
        UsageError: There is none, or an evaluation cannot be read.
    """
    places = sorted(
        path.parent for path in folder.rglob(MANIFEST) if read_json(path).get("stage") == "train"
    )
    runs = read_runs(places) if places else []
    evaluated = [run for run in runs if run.evaluation is not None]
    if not evaluated:
        raise UsageError(
            "nothing to collect", where=folder,
            why=f"{len(runs)} training runs lie below it, none with an evaluation",
            remedy="run the commands predict and evaluate on each run",
        )  # fmt: skip
    cases = pd.concat([_cases(run, folder) for run in evaluated], ignore_index=True)
    cases["assd_filled_mm"] = _filled(cases)
    rows = [_row(run, folder, cases) for run in evaluated]
    left_out = [_name(run, folder) for run in runs if run.evaluation is None]
    return Collection(pd.DataFrame(rows), cases, left_out)


def _name(run: Run, folder: Path) -> str:
    return run.folder.relative_to(folder.resolve()).as_posix()


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


def _row(run: Run, folder: Path, cases: pd.DataFrame) -> dict[str, Any]:
    assert run.evaluation is not None
    name, config = _name(run, folder), run.manifest["config"]
    own = cases[cases["run"] == name]
    nodes = run.evaluation.summary["nodes"]
    method = config["method"]
    return {
        "run": name,
        "experiment": config["name"],
        "seed": config["seed"],
        **{key: method[key] for key in PARAMETERS if key in method},
        "num_cases": len(own),
        "num_missing": int(own["missing"].sum()),
        "dice_mean": own["dice"].mean(),
        "dice_sd": own["dice"].std(ddof=0),
        "dice_median": own["dice"].median(),
        "assd_filled_mean_mm": own["assd_filled_mm"].mean(),
        "assd_filled_sd_mm": own["assd_filled_mm"].std(ddof=0),
        "precision_mean": own["precision"].mean(),
        "num_nodes": nodes["n"],
        "num_nodes_found": nodes["n_detected"],
        "false_positives": nodes["false_positives"],
        **_hidden(run),
    }


def _hidden(run: Run) -> dict[str, float]:
    """The nodes of the training scans that were never annotated, where they were evaluated."""
    place = run.folder / TRAINING
    if not place.is_dir():
        return {"num_hidden": np.nan, "num_hidden_found": np.nan}
    never = read_evaluation(place, place.parent / "predictions").summary["nodes"]["never_annotated"]
    return {"num_hidden": never["n"], "num_hidden_found": never["n_detected"]}
