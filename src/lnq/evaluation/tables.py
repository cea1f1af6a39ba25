"""A row per case, and what all rows together say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import pandas as pd

from lnq.evaluation.nodes import Node

METRICS = ("dice", "precision", "recall", "assd_mm", "assd_filled_mm")
SIZE_BINS_MM = ((0.0, 5.0), (5.0, 10.0), (10.0, 15.0), (15.0, float("inf")))
"""Short axes `[low, high)`, mm; 10 mm is the usual limit of an enlarged node."""


@dataclass(frozen=True)
class CaseMetrics:
    """The measures of one case; a row of `metrics.csv`.

    Attributes:
        case: Id of the case.
        dice: See `metrics.dice`.
        precision: See `metrics.precision`.
        recall: See `metrics.recall`.
        assd_mm: See `metrics.assd`.
        reference_ml: Volume of the reference, ml.
        prediction_ml: Volume of the prediction, ml.
        nodes: Number of nodes in the reference.
        nodes_detected: Number of those that were detected.
        false_positives: Number of predicted components that touch no reference voxel.
    """

    case: str
    dice: float
    precision: float
    recall: float
    assd_mm: float
    reference_ml: float
    prediction_ml: float
    nodes: int
    nodes_detected: int
    false_positives: int


def metrics_table(rows: Sequence[CaseMetrics]) -> pd.DataFrame:
    """The rows as a table, with `assd_filled_mm` (see `filled_assd`) and `missing` added.

    `missing` marks the cases that have a reference but no predicted voxel.
    """
    table = pd.DataFrame([asdict(r) for r in rows], columns=[f.name for f in fields(CaseMetrics)])
    filled = filled_assd(table)
    table.insert(list(table.columns).index("assd_mm") + 1, "assd_filled_mm", filled)
    table["missing"] = (table["reference_ml"] > 0) & (table["prediction_ml"] == 0)
    return table


def filled_assd(table: pd.DataFrame) -> pd.Series:
    """The ASSD of cases that must be comparable with each other, with none left out, mm.

    A case where one of the two masks is empty has no ASSD. Leaving it out of the mean would reward
    a missed case, so it gets the largest ASSD computed among all cases, as the paper and the
    LNQ2023 challenge do (they name predictions without a voxel; a prediction where the reference is
    empty is treated alike). Where both are empty, or no case at all has an ASSD, it stays NaN.

    Args:
        table: With the columns of `metrics.csv`, of one run or of several to be compared.

    Example:
        >>> table = pd.DataFrame({"assd_mm": [2.0, 5.0, np.nan], "reference_ml": [1.0, 1.0, 1.0]})
        >>> table["prediction_ml"] = [1.0, 1.0, 0.0]
        >>> filled_assd(table).tolist()
        [2.0, 5.0, 5.0]
    """
    one_empty = (table["reference_ml"] > 0) ^ (table["prediction_ml"] > 0)
    return table["assd_mm"].mask(one_empty, table["assd_mm"].max())


def nodes_table(nodes: Sequence[Node]) -> pd.DataFrame:
    """The nodes as a table; `annotated` is a nullable boolean, empty where unknown."""
    table = pd.DataFrame([asdict(n) for n in nodes], columns=[f.name for f in fields(Node)])
    return table.astype({"detected": bool, "annotated": "boolean"})


def summarise(metrics: pd.DataFrame, nodes: pd.DataFrame) -> dict[str, Any]:
    """What is written to `summary.json`.

    Args:
        metrics: From `metrics_table`.
        nodes: From `nodes_table`.

    Returns:
        `cases` (how many were evaluated, lack a prediction's voxels, have an empty reference or
        both masks empty), `metrics` (per name `mean`, `sd`, `median`, `q25`, `q75`, `n` with a
        value, `n_missing`, `n_undefined` without a value) and `nodes` (detection overall, by
        annotation and by size; false positives). None stands for what does not exist.
    """
    no_reference = metrics["reference_ml"] == 0
    return {
        "cases": {
            "n": len(metrics),
            "n_missing": int(metrics["missing"].sum()),
            "n_empty_reference": int(no_reference.sum()),
            "n_both_empty": int((no_reference & (metrics["prediction_ml"] == 0)).sum()),
        },
        "metrics": {
            name: {**_spread(metrics[name]), "n_missing": int(metrics["missing"].sum())}
            for name in METRICS
        },
        "nodes": _node_summary(metrics, nodes),
    }


def _spread(values: pd.Series) -> dict[str, float | int | None]:
    """Mean, standard deviation (of the population, as in the challenge's tables) and quartiles."""
    valid = values.dropna().to_numpy(float)
    empty = {"mean": None, "sd": None, "median": None, "q25": None, "q75": None}
    counts = {"n": len(valid), "n_undefined": int(values.isna().sum())}
    if not len(valid):
        return {**empty, **counts}
    q25, median, q75 = np.quantile(valid, (0.25, 0.5, 0.75))
    return {
        "mean": float(valid.mean()), "sd": float(valid.std()),
        "median": float(median), "q25": float(q25), "q75": float(q75), **counts,
    }  # fmt: skip


def _node_summary(metrics: pd.DataFrame, nodes: pd.DataFrame) -> dict[str, Any]:
    known = nodes["annotated"].notna()
    annotated = nodes["annotated"].fillna(False).astype(bool)
    never = nodes[known & ~annotated]
    return {
        **_detection(nodes),
        "annotated": _detection(nodes[annotated]),
        "never_annotated": {**_detection(never), "voxel_recall": _voxel_recall(never)},
        "annotation_unknown": int((~known).sum()),
        "by_short_axis_mm": [
            {
                "from": low,
                "to": high if np.isfinite(high) else None,
                **_detection(nodes[nodes["short_axis_mm"].between(low, high, inclusive="left")]),
            }
            for low, high in SIZE_BINS_MM
        ],
        "false_positives": int(metrics["false_positives"].sum()),
        "false_positives_per_case": (
            float(metrics["false_positives"].mean()) if len(metrics) else None
        ),
    }


def _detection(nodes: pd.DataFrame) -> dict[str, float | int | None]:
    n, detected = len(nodes), int(nodes["detected"].sum())
    return {"n": n, "n_detected": detected, "detection_recall": detected / n if n else None}


def _voxel_recall(nodes: pd.DataFrame) -> float | None:
    voxels = int(nodes["voxels"].sum())
    return float((nodes["overlap"] * nodes["voxels"]).sum()) / voxels if voxels else None
