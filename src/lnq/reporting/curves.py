"""Plots of what training logged and of which nodes were found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import binomtest

from lnq.reporting.figures import colour_of, data_uri, literal, plain_style
from lnq.reporting.runs import Run

_TITLES = {
    "train/loss": "Loss",
    "train/loss_sup": "Supervised term",
    "train/loss_pseudo": "Pseudo-label term",
    "train/lambda_p": r"Weight of the pseudo-label term, $\lambda_p$",
    "train/ce": "Cross-entropy",
    "train/sce": "Symmetric cross-entropy, both branches",
    "train/pce": "Partial cross-entropy, both branches",
    "train/tversky": "Tversky loss, both branches",
    "train/mse_main": "Restoration error, main branch",
    "train/mse_aux": "Restoration error, auxiliary branch",
    "train/lr": "Learning rate",
    "val/dice": "Validation DSC",
}
_INDEX = ("epoch", "step")
_COLUMNS = 3


def training_curves(runs: Sequence[Run]) -> str | None:
    """One small plot per logged quantity, a line a run, as the `src` of an image.

    Losses come first, then λ_p, learning rates and validation. Values are means over an epoch;
    where a run has not finished its first epoch, single steps are shown.

    Args:
        runs: In the order of their colours.

    Returns:
        None where no run logged anything.
    """
    tables = {i: run.curves for i, run in enumerate(runs) if run.curves is not None}
    keys = sorted({str(k) for t in tables.values() for k in t if k not in _INDEX}, key=_place)
    keys = [k for k in keys if any(k in t and t[k].notna().any() for t in tables.values())]
    if not keys:
        return None
    x = "epoch" if all(_epochs(t) > 1 for t in tables.values()) else "step"
    rows = math.ceil(len(keys) / _COLUMNS)
    with plain_style():
        figure = Figure(figsize=(10.5, 2.25 * rows), layout="constrained")
        grid = figure.subplots(rows, _COLUMNS, squeeze=False).ravel()
        for axes, key in zip(grid, keys, strict=False):
            for number, table in tables.items():
                if key in table:
                    _draw(axes, logged_values(table, key, x), colour_of(number))
            axes.set_title(_title(key))
            axes.set_xlabel(x)
        for axes in grid[len(keys) :]:
            axes.set_visible(False)
        return data_uri(figure, "svg")


def recall_by_size(runs: Sequence[Run]) -> str | None:
    """Share of nodes found against their short axis, as the `src` of an image.

    Each point carries its counts and its 95 % Wilson interval: bins hold few nodes.

    Args:
        runs: In the order of their colours.

    Returns:
        None where no run has an evaluation with nodes.
    """
    evaluated = [
        (number, run.evaluation.summary["nodes"]["by_short_axis_mm"])
        for number, run in enumerate(runs)
        if run.evaluation is not None and len(run.evaluation.nodes)
    ]
    if not evaluated:
        return None
    with plain_style():
        figure = Figure(figsize=(7.5, 3.0), layout="constrained")
        axes = figure.subplots()
        for place, (number, bins) in enumerate(evaluated):
            shift = (place - (len(evaluated) - 1) / 2) * 0.8 / len(evaluated)
            _draw_recall(axes, bins, shift, colour_of(number))
        axes.set_xticks(range(len(evaluated[0][1])), [_bin_name(b) for b in evaluated[0][1]])
        axes.set_xlim(-0.6, len(evaluated[0][1]) - 0.4)
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.grid(False, axis="x")
        axes.set_xlabel("short axis of the node")
        axes.set_title("Nodes found")
        return data_uri(figure, "svg")


def logged_values(table: pd.DataFrame, key: str, x: str) -> pd.Series:
    """Means of one logged quantity.

    Args:
        table: Rows as logged, with `step` and perhaps `epoch`.
        key: Column of the quantity; rows without a value are left out.
        x: `epoch` or `step`: what the means are taken over, and their index.
    """
    filled = table.sort_values("step", kind="stable")
    if x == "epoch":
        # The learning-rate monitor logs rows without an epoch; they belong to the next row's.
        filled = filled.assign(epoch=filled["epoch"].bfill().ffill())
    return filled.dropna(subset=[key]).groupby(x)[key].mean()


def _title(key: str) -> str:
    if key.startswith("lr-"):
        return literal(f"Learning rate, {key.removeprefix('lr-')}")
    return _TITLES.get(key) or literal(key)


def _draw(axes: Axes, values: pd.Series, colour: str) -> None:
    marker = "o" if len(values) < 3 else None
    axes.plot(values.index, values, color=colour, linewidth=1.6, marker=marker, markersize=3)


def _draw_recall(axes: Axes, bins: Sequence[dict[str, Any]], shift: float, colour: str) -> None:
    for place, found in enumerate(bins):
        n, k = found["n"], found["n_detected"]
        if not n:
            continue
        interval = binomtest(k, n).proportion_ci(method="wilson")
        x = place + shift
        axes.plot([x, x], [interval.low, interval.high], color=colour, linewidth=1.6, alpha=0.45)
        axes.plot(x, k / n, "o", color=colour, markersize=6)
        axes.annotate(
            f"{k}/{n}", (x, k / n), xytext=(7, 0), textcoords="offset points",
            va="center", fontsize=8,
        )  # fmt: skip


def _bin_name(found: dict[str, Any]) -> str:
    low, high = found["from"], found["to"]
    if high is None:
        return f"{low:g} mm or more"
    return f"{low:g} to {high:g} mm" if low else f"below {high:g} mm"


def _epochs(table: pd.DataFrame) -> int:
    return int(table["epoch"].nunique()) if "epoch" in table else 0


def _place(key: str) -> tuple[int, str]:
    order = ("train/loss", "train/lambda_p", "lr", "val/")
    if key == "train/lambda_p":
        return 1, key
    ranks = [i for i, start in enumerate(order) if key.startswith(start)]
    return (ranks[0] if ranks else len(order)), key
