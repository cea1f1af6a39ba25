"""The page's summary: what a run reached, in one table and four tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lnq.evaluation import Detection, Measure, Summary
from lnq.evaluation.froc import RATES, Froc, rate_name
from lnq.evaluation.measures import (
    ASSD,
    ASSD_FILLED,
    DICE,
    FALSE_POSITIVES,
    HD95,
    NODE_F1,
    NSD,
    PRECISION,
    RECALL,
)  # fmt: skip
from lnq.evaluation.summary import MeasureSpread, NodeSummary
from lnq.reporting.runs import Run

NONE = "–"
FROC_RATES = f"{', '.join(map(rate_name, RATES[:-1]))} and {rate_name(RATES[-1])}"

Text = tuple[str, str]
"""A value and a smaller second line."""


@dataclass(frozen=True)
class SummaryRow:
    """One measure of all runs.

    Attributes:
        name: What it is called.
        hint: What it means.
        cells: A value a run, with a smaller second line.
        is_main: Whether it belongs to the few that a table of many runs shows.
    """

    name: str
    hint: str
    cells: list[Text]
    is_main: bool


def summary_rows(runs: Sequence[Run]) -> list[SummaryRow]:
    """The summary table: a row a measure that some run has, a cell a run."""
    if not any(run.evaluation for run in runs):
        return []
    rows = [
        SummaryRow(row.name, row.hint, [_cell(run, row.read) for run in runs], row.is_main)
        for row in (*_of_cases(), *_of_nodes(), *_of_counts())
    ]
    return [row for row in rows if any(value != NONE for value, _ in row.cells)]


class _Row(NamedTuple):
    name: str
    hint: str
    read: Callable[[Run, Summary], Text]
    is_main: bool = False


def _of_cases() -> list[_Row]:
    return [
        _Row("Dice coefficient (DSC)", "mean ± sd",
             lambda _, s: _spread(s.metrics.dice, DICE), True),
        _Row(ASSD.title, "mean ± sd; cases without one have the largest ASSD of all",
             lambda _, s: _distance(s), True),
        _Row(f"{ASSD.title}, where defined", "mean ± sd",
             lambda _, s: _spread(s.metrics.assd_mm, ASSD)),
        _Row(HD95.title, "mean ± sd, where defined",
             lambda _, s: _spread(s.metrics.hd95_mm, HD95)),
        _Row(NSD.title, "mean ± sd; share of both surfaces within the tolerance",
             lambda _, s: _spread(s.metrics.nsd, NSD)),
        _Row(NODE_F1.title, "mean ± sd", lambda _, s: _spread(s.metrics.node_f1, NODE_F1)),
        _Row(PRECISION.title, "mean ± sd", lambda _, s: _spread(s.metrics.precision, PRECISION)),
        _Row(RECALL.title, "mean ± sd", lambda _, s: _spread(s.metrics.recall, RECALL)),
    ]  # fmt: skip


def _of_nodes() -> list[_Row]:
    return [
        _Row("Nodes found", "of all nodes in the references", lambda _, s: _found(s.nodes), True),
        _Row("Nodes found, never annotated", "of those that training never saw outlined",
             lambda run, _: _found(_annotated(run).never_annotated)),
        _Row("Voxels found, never annotated", "of the same nodes",
             lambda run, _: (_percent(_annotated(run).never_annotated.voxel_recall), "")),
        _Row("Nodes found, annotated", "of those that training saw outlined",
             lambda run, _: _found(_annotated(run).annotated)),
        _Row("FROC score", f"mean of the nodes found at {FROC_RATES} false positives per case",
             lambda _, s: _froc(s.froc)),
        _Row(FALSE_POSITIVES.title, "predicted components that touch no reference node",
             lambda _, s: (number(s.nodes.false_positives_per_case, _form(FALSE_POSITIVES)),
                           f"{s.nodes.false_positives} in all"), True),
    ]  # fmt: skip


def _of_counts() -> list[_Row]:
    return [
        _Row("Threshold", "voxels above this probability are nodes", lambda run, _: _cut(run)),
        _Row("Cases", "evaluated", lambda _, s: (str(s.cases.n), ""), True),
        _Row("Cases without prediction", "no voxel predicted although there are nodes",
             lambda _, s: (str(s.cases.n_missing), "")),
        _Row("Cases with an empty reference", "no node in the reference",
             lambda _, s: (str(s.cases.n_empty_reference),
                           f"{s.cases.n_both_empty} of them rightly empty")),
        _Row("Cases that failed", "not in any number above",
             lambda _, s: (str(s.cases.n_failed), "")),
    ]  # fmt: skip


def _cell(run: Run, read: Callable[[Run, Summary], Text]) -> Text:
    return (NONE, "") if run.evaluation is None else read(run, run.evaluation.summary)


def _cut(run: Run) -> Text:
    assert run.evaluation is not None
    threshold = run.evaluation.facts.threshold
    return (NONE, "") if threshold is None else (f"{threshold.value:.6g}", threshold.why)


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """The few numbers to know first, as far as there are any: name, value, second line."""
    if run.evaluation is None:
        return []
    summary = run.evaluation.summary
    known = [
        ("Dice coefficient", *_spread(summary.metrics.dice, DICE)),
        (ASSD.title, *_distance(summary)),
        ("Nodes found", *_found(summary.nodes)),
        ("Never annotated nodes found", *_found(_annotated(run).never_annotated)),
    ]
    return [tile for tile in known if tile[1] != NONE]


def number(value: float | None, form: str) -> str:
    """A number as text, a dash where there is none."""
    return NONE if value is None or math.isnan(value) else form.format(value)


def _form(measure: Measure) -> str:
    return f"{{:.{measure.decimals}f}}"


def _annotated(run: Run) -> NodeSummary:
    """The nodes' summary that tells annotated from never annotated ones, if any does."""
    evaluation = run.annotated or run.evaluation
    assert evaluation is not None
    return evaluation.summary.nodes


def _spread(values: MeasureSpread, measure: Measure) -> Text:
    if values.mean is None:
        return NONE, f"undefined in {values.n_undefined} cases"
    form = _form(measure)
    mean, sd, median, q25, q75 = (
        number(value, form)
        for value in (values.mean, values.sd, values.median, values.q25, values.q75)
    )
    second = f"median {median}, quartiles {q25} to {q75}"
    if values.n_undefined:
        second += f"; undefined in {values.n_undefined} of {values.n_undefined + values.n}"
    return mean if values.sd is None else f"{mean} ± {sd}", second


def _distance(summary: Summary) -> Text:
    """The filled ASSD, which never stands without the number of cases that were filled."""
    metrics, missing = summary.metrics, summary.cases.n_missing
    value, second = _spread(metrics.assd_filled_mm, ASSD_FILLED)
    filled = metrics.assd_filled_mm.n - metrics.assd_mm.n
    return value, f"{second}; {filled} cases filled, {missing} cases without prediction"


def _found(nodes: Detection) -> Text:
    if not nodes.n:
        return NONE, "none known"
    return _percent(nodes.detection_recall), f"{nodes.n_detected} of {nodes.n}"


def _froc(froc: Froc | None) -> Text:
    if froc is None:
        return NONE, ""
    return f"{froc.score:.3f}", ", ".join(
        f"{100 * point.sensitivity:.0f}" for point in froc.at
    ) + " %"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f} %"
