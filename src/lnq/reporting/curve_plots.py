"""Plots of what training logged."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from lnq.reporting.plotting import Plot, inline_svg, panel, style_of
from lnq.reporting.runs import Run

_TITLES = {
    "train/loss": "Loss",
    "train/loss_sup": "Supervised term",
    "train/loss_pseudo": "Pseudo-label term",
    "train/pseudo_klce": "Consensus-weighted loss (KLCE), both branches",
    "train/pseudo_dice": "Dice loss with the hard pseudo label, both branches",
    "train/lambda_p": "Weight of the pseudo-label term, λₚ",
    "train/ce": "Cross-entropy",
    "train/sce": "Symmetric cross-entropy, both branches",
    "train/pce": "Partial cross-entropy, both branches",
    "train/dice": "Dice loss, both branches",
    "train/tversky": "Tversky loss, both branches",
    "train/mse_main": "Restoration error, main branch",
    "train/mse_aux": "Restoration error, auxiliary branch",
    "train/lr": "Learning rate",
    "val/dice": "Validation DSC",
    "panels/annotation": "Annotated share of the pictured patches",
    "panels/main": "Mean foreground there, main branch",
    "panels/aux": "Mean foreground there, auxiliary branch",
    "panels/pseudo_label": "Mean pseudo label there",
    "panels/weight": "Mean weight W there",
    "perf/patches_per_second": "Patches a second",
    "perf/patches_per_second_per_gpu": "Patches a second, each GPU",
    "perf/wait_seconds": "Waiting for patches, s a step",
    "perf/memory_gb": "Peak memory, GB",
    "perf/gpu_memory_gb": "Peak GPU memory, GB",
}
_INDEX = ("epoch", "step")
_ORDER = ("val/dice", "train/loss", "train/lambda_p", "train/", "val/", "panels/")
_OF_PSEUDO_LABELS = ("pseudo", "lambda_p", "panels/")
_POINTS = 6000
"""Of all lines of one plot together: long trainings of many runs are averaged to this many."""


def training_curves(runs: Sequence[Run]) -> list[Plot]:
    """One small plot per logged quantity, a line a run, without those of `pseudo_label_curves`.

    Values are means over an epoch; where a run has not finished its first epoch, single steps are
    shown.

    Args:
        runs: In the order of their styles.
    """
    return _plots(runs, of_pseudo_labels=False)


def pseudo_label_curves(runs: Sequence[Run]) -> list[Plot]:
    """The plots of what was logged about the pseudo labels: their weight, loss and audit."""
    return _plots(runs, of_pseudo_labels=True)


def logged_values(table: pd.DataFrame, key: str, x: str) -> pd.Series:
    """Means of one logged quantity.

    Args:
        table: Rows as logged, with `step` and perhaps `epoch`.
        key: Column of the quantity; rows without a value are left out.
        x: `epoch` or `step`: what the means are taken over, and their index.
    """
    filled = table.sort_values("step", kind="stable")
    if x == "epoch":
        # Lightning's own monitors log rows without an epoch; they belong to the next row's.
        filled = filled.assign(epoch=filled["epoch"].bfill().ffill())
    return filled.dropna(subset=[key]).groupby(x)[key].mean()


def _plots(runs: Sequence[Run], *, of_pseudo_labels: bool) -> list[Plot]:
    tables = {i: run.curves for i, run in enumerate(runs) if run.curves is not None}
    keys = {str(k) for t in tables.values() for k in t if k not in _INDEX and t[k].notna().any()}
    wanted = [k for k in keys if any(w in k for w in _OF_PSEUDO_LABELS) == of_pseudo_labels]
    x = "epoch" if all(_epochs(t) > 1 for t in tables.values()) else "step"
    alike: dict[tuple[object, ...], list[str]] = {}
    for key in sorted(wanted, key=_place):
        alike.setdefault(tuple(_drawn(t, key) for t in tables.values()), []).append(key)
    return [_plot(tables, keys, x) for keys in alike.values()]


def _drawn(table: pd.DataFrame, key: str) -> object:
    """What there is to draw of one quantity; equal where one curve would be drawn twice."""
    if key not in table:
        return None
    values = table[key].dropna()
    return tuple(values.index), tuple(values)


def _plot(tables: dict[int, pd.DataFrame], keys: Sequence[str], x: str) -> Plot:
    """Of one quantity, or of several that are the same in every run."""
    key, *same = keys
    with panel() as axes:
        for number, table in tables.items():
            if key in table and table[key].notna().any():
                values = _thinned(logged_values(table, key, x), _POINTS // len(tables))
                style = style_of(number)
                axes.plot(
                    values.index, values, color=style.colour, linestyle=style.line, linewidth=1.6,
                    marker=style.marker if len(values) < 3 else None, markersize=4,
                )  # fmt: skip
        axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
        axes.set_xlabel(x)
        note = f"The same: {', '.join(_title(other) for other in same)}" if same else ""
        return Plot(_title(key), inline_svg(axes), note)


def _thinned(values: pd.Series, points: int) -> pd.Series:
    """Means of neighbours where there are more values than points."""
    size = -(-len(values) // max(20, points))
    return values.groupby(np.arange(len(values)) // size).mean().set_axis(values.index[::size])


def _title(key: str) -> str:
    return _TITLES.get(key) or key


def _epochs(table: pd.DataFrame) -> int:
    return int(table["epoch"].nunique()) if "epoch" in table else 0


def _place(key: str) -> tuple[int, str]:
    return next((i for i, start in enumerate(_ORDER) if key.startswith(start)), len(_ORDER)), key
