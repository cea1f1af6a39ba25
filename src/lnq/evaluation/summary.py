"""What all cases and nodes together say: the content of `summary.json`."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
import pandas as pd
from pydantic import Field, TypeAdapter

from lnq.evaluation.froc import Froc
from lnq.evaluation.measures import FALSE_POSITIVES, PER_CASE, Measure
from lnq.evaluation.nodes import voxel_recall
from lnq.evaluation.other_thresholds import OtherThresholds
from lnq.evaluation.spread import Spread

SIZE_BINS_MM = ((0.0, 5.0), (5.0, 10.0), (10.0, 15.0), (15.0, float("inf")))
"""Short axes `[low, high)`, mm; 10 mm is the usual limit of an enlarged node."""


@dataclass(frozen=True)
class CaseCounts:
    """How many cases there are of each kind.

    Attributes:
        n: Evaluated.
        n_missing: With a reference and without any predicted voxel.
        n_empty_reference: Without a reference voxel.
        n_both_empty: Of these, those without a predicted voxel either.
        n_failed: Not evaluated, and in no other number.
    """

    n: int
    n_missing: int
    n_empty_reference: int
    n_both_empty: int
    n_failed: int


@dataclass(frozen=True)
class MeasureSpread(Spread):
    """The spread of one measure.

    Attributes:
        n_missing: As of `CaseCounts`, for the filled ASSD never stands without it.
    """

    n_missing: int


@dataclass(frozen=True)
class MeasureSpreads:
    """The spread of each measure over the cases; the names are those of `metrics.csv`."""

    dice: MeasureSpread
    precision: MeasureSpread
    recall: MeasureSpread
    assd_mm: MeasureSpread
    assd_filled_mm: MeasureSpread
    hd95_mm: MeasureSpread
    nsd: MeasureSpread
    node_f1: MeasureSpread


@dataclass(frozen=True)
class Detection:
    """How many of some nodes were found.

    Attributes:
        n: Nodes.
        n_detected: Those found.
        detection_recall: Their share; None without nodes.
    """

    n: int
    n_detected: int
    detection_recall: float | None


@dataclass(frozen=True)
class DetectionUnannotated(Detection):
    """How many of the nodes were found that training never saw outlined.

    Attributes:
        voxel_recall: Share of their voxels that is predicted; None without nodes.
    """

    voxel_recall: float | None


@dataclass(frozen=True)
class DetectionOfSize:
    """How many nodes of a size were found.

    Attributes:
        low: Smallest short axis, mm.
        high: Short axis from which on nodes are larger, mm; None where there is no limit.
        n: As of `Detection`; so are the others.
        n_detected: Those found.
        detection_recall: Their share.
    """

    low: Annotated[float, Field(alias="from")]
    high: Annotated[float | None, Field(alias="to")]
    n: int
    n_detected: int
    detection_recall: float | None


@dataclass(frozen=True)
class NodeSummary(Detection):
    """What was found of all nodes.

    Attributes:
        annotated: Of those that the training's partial labels hold.
        never_annotated: Of those that they lack.
        annotation_unknown: Nodes of which neither is known.
        by_short_axis_mm: In classes of size.
        false_positives: Predicted components that touch no reference voxel.
        false_positives_per_case: The same by case; None without cases.
    """

    annotated: Detection
    never_annotated: DetectionUnannotated
    annotation_unknown: int
    by_short_axis_mm: list[DetectionOfSize]
    false_positives: int
    false_positives_per_case: float | None


@dataclass(frozen=True)
class Summary:
    """What an evaluation says of all its cases together.

    Attributes:
        cases: How many there are.
        metrics: How their measures are spread.
        nodes: Which nodes were found.
        froc: How many at how many false positives; None where no probabilities are known.
        other_thresholds: The DSC of masks cut elsewhere; None where that was not asked.
    """

    cases: CaseCounts
    metrics: MeasureSpreads
    nodes: NodeSummary
    froc: Froc | None = None
    other_thresholds: OtherThresholds | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON; None stands for what does not exist."""
        plain: dict[str, Any] = _SCHEMA.dump_python(self, by_alias=True)
        return plain

    @classmethod
    def from_dict(cls, values: Any) -> Summary:
        """The inverse of `to_dict`.

        Raises:
            ValueError: Something is missing or of another type.
        """
        return _SCHEMA.validate_python(values)


_SCHEMA = TypeAdapter(Summary)


def summarise(
    metrics: pd.DataFrame,
    nodes: pd.DataFrame,
    n_failed: int,
    froc: Froc | None = None,
    other_thresholds: OtherThresholds | None = None,
) -> Summary:
    """Sums up an evaluation.

    Args:
        metrics: From `metrics_table`.
        nodes: From `nodes_table`.
        n_failed: Cases that could not be evaluated.
        froc: From `froc_of`.
        other_thresholds: From the function of that name.
    """
    no_reference = metrics["reference_ml"] == 0
    cases = CaseCounts(
        n=len(metrics),
        n_missing=int(metrics["missing"].sum()),
        n_empty_reference=int(no_reference.sum()),
        n_both_empty=int((no_reference & (metrics["prediction_ml"] == 0)).sum()),
        n_failed=n_failed,
    )

    def spread(measure: Measure) -> MeasureSpread:
        values = asdict(Spread.of(metrics[measure.column]))
        return MeasureSpread(**values, n_missing=cases.n_missing)

    spreads = MeasureSpreads(**{measure.column: spread(measure) for measure in PER_CASE})
    return Summary(cases, spreads, _node_summary(metrics, nodes), froc, other_thresholds)


def _node_summary(metrics: pd.DataFrame, nodes: pd.DataFrame) -> NodeSummary:
    known = nodes["annotated"].notna()
    annotated = nodes["annotated"].fillna(False).astype(bool)
    never = nodes[known & ~annotated]
    false_positives = metrics[FALSE_POSITIVES.column]
    return NodeSummary(
        *_found(nodes),
        annotated=Detection(*_found(nodes[annotated])),
        never_annotated=DetectionUnannotated(*_found(never), voxel_recall(never)),
        annotation_unknown=int((~known).sum()),
        by_short_axis_mm=[
            DetectionOfSize(
                low,
                high if np.isfinite(high) else None,
                *_found(nodes[nodes["short_axis_mm"].between(low, high, inclusive="left")]),
            )
            for low, high in SIZE_BINS_MM
        ],
        false_positives=int(false_positives.sum()),
        false_positives_per_case=Spread.of(false_positives).mean,
    )


def _found(nodes: pd.DataFrame) -> tuple[int, int, float | None]:
    """The fields that all kinds of `Detection` have, in their order."""
    n, detected = len(nodes), int(nodes["detected"].sum())
    return n, detected, detected / n if n else None
