"""The table of cases: which there are, the largest error first, and what was measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

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
)
from lnq.reporting.runs import MANY_RUNS, Run
from lnq.reporting.summary_table import NONE, number

_COLUMNS = (
    (DICE.title, DICE.column, "{:.3f}"), (ASSD.title, ASSD.column, "{:.1f}"),
    (HD95.title, HD95.column, "{:.1f}"), (NSD.title, NSD.column, "{:.2f}"),
    (PRECISION.title, PRECISION.column, "{:.2f}"), (RECALL.title, RECALL.column, "{:.2f}"),
    (NODE_F1.title, NODE_F1.column, "{:.2f}"),
    (FALSE_POSITIVES.short, FALSE_POSITIVES.column, "{:.0f}"),
)  # fmt: skip
_NODES = "Nodes"
MAX_CELLS = 30_000
"""Cells of the table: about 100 bytes each, 3 MB."""

Cell = tuple[str, str]
"""What a cell is sorted by, empty where there is no value; and its text."""


@dataclass(frozen=True)
class CaseTable:
    """What the page's table of cases holds.

    Attributes:
        columns: Headings for each run, the same for all.
        rows: Per case its id and each run's cells.
        anchors: Per case the id of its row's element.
        left_out: How many cases with smaller errors the table leaves out, to stay small.
    """

    columns: list[str]
    rows: list[tuple[str, list[list[Cell]]]]
    anchors: Mapping[str, str]
    left_out: int


def case_table(runs: Sequence[Run]) -> CaseTable:
    """The table of all evaluated cases, in the order of `worst_cases`."""
    cases = worst_cases(runs)
    measures = _COLUMNS if len(runs) <= MANY_RUNS else _COLUMNS[:1]
    columns = [name for name, _, _ in measures] + [_NODES] * (len(runs) <= MANY_RUNS)
    shown = cases[: max(1, MAX_CELLS // (len(runs) * len(columns)))]
    tables = [{} if r.evaluation is None else r.evaluation.metrics.T.to_dict() for r in runs]
    rows = [(case, [_cells(table.get(case), columns) for table in tables]) for case in shown]
    anchors = {case: f"row-{i}" for i, case in enumerate(cases)}
    return CaseTable(columns, rows, anchors, len(cases) - len(shown))


def worst_cases(runs: Sequence[Run]) -> list[str]:
    """All evaluated cases, the largest error first.

    The order is that of the mean DSC over the runs, then of the mean ASSD; cases without a DSC
    (nothing to find, nothing found) come last.
    """
    tables = [run.evaluation.metrics for run in runs if run.evaluation is not None]
    if not tables:
        return []
    keys = [DICE.column, ASSD_FILLED.column]
    means = pd.concat(tables).groupby(level="case")[keys].mean()
    ordered = means.sort_values(keys, ascending=[True, False])
    return [str(case) for case in ordered.index]


def _cells(row: dict[Any, Any] | None, columns: Sequence[str]) -> list[Cell]:
    if row is None:
        return [("", NONE)] * len(columns)
    cells = []
    for name, key, form in _COLUMNS:
        if name in columns:
            value = float(row[key])
            cells.append(("" if math.isnan(value) else repr(value), number(value, form)))
    if _NODES in columns:
        detected, nodes = int(row["nodes_detected"]), int(row["nodes"])
        cells.append((repr(detected / nodes) if nodes else "", f"{detected} of {nodes}"))
    return cells
