"""The folds of a cross-validation put together: every case as the run saw it that was not told."""

from __future__ import annotations

from typing import Any

import pandas as pd

from lnq.evaluation import Spread
from lnq.evaluation.measures import ASSD_FILLED, DICE, HD95, NODE_F1, NSD
from lnq.reporting.collection import VALIDATION, Collection
from lnq.reporting.variation import SEED, alike

FOLD = "datamodule.fold"
_MEANS = (DICE, ASSD_FILLED, HD95, NSD, NODE_F1)
COLUMNS = [
    "experiment", "seed", "num_folds", "val_dice_mean", "val_dice_sd", "num_cases", "num_missing",
    "dice_mean", "dice_sd", "dice_median",
    *(f"{measure.column}_mean" for measure in _MEANS[1:]),
    "num_nodes", "num_nodes_found", "false_positives",
]  # fmt: skip


def cross_validation(collection: Collection) -> pd.DataFrame:
    """Runs that differ in their fold alone, together; each seed, which draws folds of its own, too.

    Args:
        collection: Runs, measured on whom they held out or not.

    Returns:
        A row for each experiment and seed that has two folds or more. `val_dice` is over the folds,
        each by its last validation; the others are over the cases of all folds, empty where none is
        measured. A case that several folds were measured on counts once, by its mean.
    """
    rows = []
    if FOLD in collection.varied:
        others = [key for key in collection.varied if key != FOLD]
        folds = collection.runs[collection.runs[FOLD].notna()]
        for experiment, runs in folds.groupby("experiment"):
            for words, own in alike(runs, others):
                rows += [
                    _row(f"{experiment}{words}", of_seed, collection.cases)
                    for _, of_seed in own.groupby(SEED)
                    if of_seed[FOLD].nunique() > 1
                ]
    numbers = [column for column in COLUMNS if column.endswith(("_mean", "_sd", "_median"))]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(numbers, float))  # None: NaN


def _row(experiment: str, runs: pd.DataFrame, cases: pd.DataFrame) -> dict[str, Any]:
    validation = Spread.of(runs[VALIDATION])
    row = {
        "experiment": experiment, "seed": int(runs[SEED].iloc[0]),
        "num_folds": runs[FOLD].nunique(),
        "val_dice_mean": validation.mean, "val_dice_sd": validation.sd,
    }  # fmt: skip
    measured = cases[cases["run"].isin(runs["run"])]
    if measured.empty:
        return row
    each = measured.groupby("case").mean(numeric_only=True)
    dice = Spread.of(each[DICE.column])
    return {
        **row,
        "num_cases": len(each),
        "num_missing": int((each["missing"] > 0).sum()),
        "dice_mean": dice.mean, "dice_sd": dice.sd, "dice_median": dice.median,
        **{f"{m.column}_mean": Spread.of(each[m.column]).mean for m in _MEANS[1:]},
        "num_nodes": round(each["nodes"].sum()),
        "num_nodes_found": round(each["nodes_detected"].sum()),
        "false_positives": round(each["false_positives"].sum()),
    }  # fmt: skip
