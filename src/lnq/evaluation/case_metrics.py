"""The measures of a case, and the table with a row a case."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields

import pandas as pd


@dataclass(frozen=True)
class CaseMetrics:
    """The measures of one case; a row of `metrics.csv`.

    Attributes:
        case: Id of the case.
        dice: See `metrics.dice`.
        precision: See `metrics.precision`.
        recall: See `metrics.recall`.
        assd_mm: See `metrics.assd`.
        hd95_mm: See `metrics.hd95_of`.
        nsd: See `metrics.nsd_of`.
        node_f1: See `metrics.node_f1`.
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
    hd95_mm: float
    nsd: float
    node_f1: float
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

    Examples:
        >>> table = pd.DataFrame({"assd_mm": [2.0, 5.0, None], "reference_ml": [1.0, 1.0, 1.0]})
        >>> table["prediction_ml"] = [1.0, 1.0, 0.0]
        >>> filled_assd(table).tolist()
        [2.0, 5.0, 5.0]
    """
    one_empty = (table["reference_ml"] > 0) ^ (table["prediction_ml"] > 0)
    return table["assd_mm"].mask(one_empty, table["assd_mm"].max())
