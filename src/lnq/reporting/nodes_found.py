"""Which nodes were found: by size, and by whether training had seen them outlined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from scipy.stats import binomtest

from lnq.evaluation import Detection, voxel_recall
from lnq.evaluation.summary import DetectionOfSize
from lnq.reporting.evaluations import ShownEvaluation
from lnq.reporting.plotting import Plot, inline_svg, panel, style_of
from lnq.reporting.runs import MANY_RUNS, Run

_PERCENT = ([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
_MANY_POINTS = 3000
"""From here on points are drawn as a picture: as elements they would slow the page down."""


def found_by_size(runs: Sequence[Run]) -> list[Plot]:
    """Share of nodes found in classes of their short axis, and how much of each was predicted.

    Args:
        runs: In the order of their styles; those without evaluated nodes are left out.
    """
    records = [(i, r.evaluation) for i, r in enumerate(runs) if r.evaluation is not None]
    evaluated = [(i, evaluation) for i, evaluation in records if len(evaluation.nodes)]
    if not evaluated:
        return []
    bins = [evaluation.summary.nodes.by_short_axis_mm for _, evaluation in evaluated]
    groups = [_bin_name(b) for b in bins[0]]
    counts = [[(b.n_detected, b.n) for b in classes] for classes in bins]
    shares = _shares("Nodes found, by short axis", groups, [i for i, _ in evaluated], counts)
    # The nodes of many runs, on top of each other, tell nothing apart.
    return [shares, _overlaps(evaluated)] if len(evaluated) <= MANY_RUNS else [shares]


def found_by_annotation(runs: Sequence[Run]) -> list[Plot]:
    """Share of nodes found among those annotated for training and those never annotated.

    The training scans' own evaluation is taken where there is one, else the run's evaluation.

    Args:
        runs: In the order of their styles; those of which no annotation is known are left out.
    """
    told = [(i, evaluation) for i, run in enumerate(runs) if (evaluation := run.annotated)]
    if not told:
        return []
    kinds = ("annotated\nfor training", "never\nannotated")
    nodes = [evaluation.summary.nodes for _, evaluation in told]
    counts = [[_counts(n.annotated), _counts(n.never_annotated)] for n in nodes]
    numbers = [i for i, _ in told]
    voxels = [[_voxels_found(e.nodes, annotated) for annotated in (True, False)] for _, e in told]
    return [
        _shares("Nodes found", kinds, numbers, counts),
        _bars("Share of their voxels that is predicted", kinds, numbers, voxels),
    ]


def _shares(
    title: str, groups: Sequence[str], runs: Sequence[int], counts: Sequence[Sequence[Any]]
) -> Plot:
    """Points with counts and 95 % Wilson intervals, side by side in each group."""
    with panel() as axes:
        for place, (number, pairs) in enumerate(zip(runs, counts, strict=True)):
            style = style_of(number)
            for group, (k, n) in enumerate(pairs):
                if not n:
                    continue
                x = group + _shift(place, len(runs))
                interval = binomtest(k, n).proportion_ci(method="wilson")
                axes.plot([x, x], interval, color=style.colour, linewidth=1.6, alpha=0.5)
                axes.plot(x, k / n, style.marker, color=style.colour, markersize=6)
                if len(runs) <= 3:
                    axes.annotate(f"{k}/{n}", (x, k / n), xytext=(3, 4),
                                  textcoords="offset points", fontsize=7.5)  # fmt: skip
        _finish(axes, groups)
        return Plot(title, inline_svg(axes))


def _bars(
    title: str, groups: Sequence[str], runs: Sequence[int], shares: Sequence[Sequence[float]]
) -> Plot:
    with panel() as axes:
        for place, (number, values) in enumerate(zip(runs, shares, strict=True)):
            x = np.arange(len(groups)) + _shift(place, len(runs))
            style = style_of(number)
            axes.bar(x, values, 0.7 / len(runs), color=style.colour, alpha=0.35)
            axes.plot(x, values, style.marker, color=style.colour, markersize=6)
            if len(runs) <= 3:
                for position, value in zip(x, values, strict=True):
                    if np.isnan(value):
                        continue
                    axes.annotate(f"{100 * value:.0f} %", (position, value), xytext=(4, 4),
                                  textcoords="offset points", fontsize=7.5)  # fmt: skip
        _finish(axes, groups)
        return Plot(title, inline_svg(axes))


def _overlaps(evaluated: Sequence[tuple[int, ShownEvaluation]]) -> Plot:
    """Every node: its short axis, and how much of it was predicted."""
    many = sum(len(evaluation.nodes) for _, evaluation in evaluated) > _MANY_POINTS
    with panel() as axes:
        for number, evaluation in evaluated:
            style = style_of(number)
            axes.scatter(
                evaluation.nodes["short_axis_mm"], evaluation.nodes["overlap"], s=16, alpha=0.6,
                marker=style.marker, color=style.colour, linewidths=0, rasterized=many,
            )  # fmt: skip
        threshold = evaluated[0][1].facts.min_overlap
        axes.axhline(threshold, color="#4b5563", linewidth=0.9, linestyle="dashed")
        axes.set_xlim(left=0)
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks(*_PERCENT)
        axes.set_xlabel("short axis, mm")
        note = f"Found: {100 * threshold:g} % predicted, or more."
        return Plot("How much of each node is predicted", inline_svg(axes), note)


def _voxels_found(nodes: pd.DataFrame, annotated: bool) -> float:
    chosen = nodes[nodes["annotated"].eq(annotated).fillna(False).astype(bool)]
    share = voxel_recall(chosen)
    return np.nan if share is None else share


def _counts(nodes: Detection) -> tuple[int, int]:
    return nodes.n_detected, nodes.n


def _shift(place: int, runs: int) -> float:
    return (place - (runs - 1) / 2) * 0.8 / runs


def _finish(axes: Axes, groups: Sequence[str]) -> None:
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_xlim(-0.55, len(groups) - 0.4)
    axes.set_ylim(-0.04, 1.08)
    axes.set_yticks(*_PERCENT)
    axes.grid(False, axis="x")


def _bin_name(size_bin: DetectionOfSize) -> str:
    low, high = size_bin.low, size_bin.high
    if high is None:
        return f"≥ {low:g} mm"
    return f"{low:g}–{high:g} mm" if low else f"< {high:g} mm"
