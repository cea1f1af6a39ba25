"""How a measure is spread over the cases, run by run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from lnq.evaluation import Measure
from lnq.evaluation.measures import ASSD, DICE, FALSE_POSITIVES, PRECISION, RECALL
from lnq.reporting.plotting import PANEL_INCHES, Plot, inline_svg, literal, panel, style_of
from lnq.reporting.runs import Run

_MEASURES = (
    (DICE, "{:.3f}", True), (ASSD, "{:.1f} mm", False), (PRECISION, "{:.2f}", True),
    (RECALL, "{:.2f}", True), (FALSE_POSITIVES, "{:.0f}", False),
)  # fmt: skip
_GOLDEN = 0.618


@dataclass(frozen=True)
class _Row:
    run: int
    place: int
    values: pd.Series
    undefined: int


def distributions(runs: Sequence[Run], anchors: Mapping[str, str]) -> list[Plot]:
    """One plot per measure: a row a run, a point a case, quartiles and median behind.

    Args:
        runs: In the order of their styles; those without an evaluation have no row.
        anchors: Per case the id of the page's element that a point leads to.
    """
    evaluated = [i for i, run in enumerate(runs) if run.evaluation is not None]
    return [_plot(runs, evaluated, anchors, *measure) for measure in _MEASURES] if evaluated else []


def _plot(
    runs: Sequence[Run], evaluated: Sequence[int], anchors: Mapping[str, str],
    measure: Measure, form: str, share: bool,
) -> Plot:  # fmt: skip
    rows = [_row(runs[number], number, place, measure) for place, number in enumerate(evaluated)]
    tooltips: list[str] = []
    with panel(max(PANEL_INCHES[1] * 0.62, 0.45 + 0.42 * len(rows))) as axes:
        if len(rows) == 2:
            _join_pairs(axes, rows)
        for row in rows:
            _draw(axes, row, anchors)
            name = runs[row.run].name
            tooltips += [f"{case}, {name}: {form.format(v)}" for case, v in row.values.items()]
        names = [literal(_short(runs[row.run].name)) for row in rows]
        axes.set_yticks(range(len(rows)), names if len(rows) > 1 else [""])
        axes.set_ylim(len(rows) - 0.4, -0.6)
        axes.grid(False, axis="y")
        if share:
            axes.set_xlim(-0.03, 1.03)
        elif any(len(row.values) for row in rows):
            axes.set_xlim(left=0 if measure is ASSD else -0.5)
        return Plot(measure.title, inline_svg(axes, tooltips), _undefined(rows, runs))


def _row(run: Run, number: int, place: int, measure: Measure) -> _Row:
    assert run.evaluation is not None
    values = run.evaluation.metrics[measure.column].astype(float)
    return _Row(number, place, values.dropna(), int(values.isna().sum()))


def _draw(axes: Axes, row: _Row, anchors: Mapping[str, str]) -> None:
    if row.values.empty:
        axes.text(0.5, row.place, "undefined in all cases", fontsize=8, va="center", ha="center",
                  transform=axes.get_yaxis_transform())  # fmt: skip
        return
    style = style_of(row.run)
    low, median, high = np.quantile(row.values, (0.25, 0.5, 0.75))
    axes.barh(row.place, high - low, left=low, height=0.62, color=style.colour, alpha=0.18)
    axes.plot([median, median], [row.place - 0.31, row.place + 0.31], color=style.colour, lw=2)
    points = axes.scatter(
        row.values, row.place + _spread(len(row.values)), s=24, marker=style.marker,
        color=style.colour, edgecolors="#ffffff", linewidths=0.5,
    )  # fmt: skip
    points.set_urls([f"#{anchors[str(case)]}" for case in row.values.index])


def _spread(n: int) -> np.ndarray:
    """Offsets that keep equal values apart, the same at every drawing."""
    return 0.44 * (np.arange(n) * _GOLDEN % 1 - 0.5)


def _join_pairs(axes: Axes, rows: Sequence[_Row]) -> None:
    """Thin lines between the two runs' values of a case."""
    first, second = rows
    places = [pd.Series(r.place + _spread(len(r.values)), index=r.values.index) for r in rows]
    for case in first.values.index.intersection(second.values.index):
        axes.plot(
            [first.values[case], second.values[case]], [places[0][case], places[1][case]],
            color="#9aa3ad", linewidth=0.6, zorder=0.9,
        )  # fmt: skip


def _undefined(rows: Sequence[_Row], runs: Sequence[Run]) -> str:
    parts = [f"{row.undefined} of {runs[row.run].name}" for row in rows if row.undefined]
    return f"Undefined, and not drawn: {', '.join(parts)}." if parts else ""


def _short(name: str) -> str:
    return name if len(name) <= 18 else f"…{name[-17:]}"
