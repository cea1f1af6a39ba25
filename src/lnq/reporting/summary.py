"""The page's summary: what a run reached, in one table and four tiles."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from lnq.reporting.runs import Run

NONE = "–"

Text = tuple[str, str]
"""A value and a smaller second line."""


def summary_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The summary table: a row a measure, a cell a run.

    Returns:
        Per row `name`, `hint` and `cells`; a cell is the value and a smaller second line.
    """
    if not any(run.evaluation for run in runs):
        return []
    return [
        {"name": name, "hint": hint, "cells": [_cell(run, read) for run in runs]}
        for name, hint, read in [*_of_cases(), *_of_nodes(), *_of_counts()]
    ]


_Measure = tuple[str, str, Callable[[Run, dict[str, Any]], Text]]


def _of_cases() -> list[_Measure]:
    return [
        ("Dice coefficient (DSC)", "mean ± sd", lambda _, s: _spread(s, "dice", "{:.3f}")),
        ("ASSD, mm", "mean ± sd; cases without one have the largest ASSD of all",
         lambda _, s: _distance(s)),
        ("ASSD, mm, where defined", "mean ± sd", lambda _, s: _spread(s, "assd_mm", "{:.2f}")),
        ("Precision", "mean ± sd", lambda _, s: _spread(s, "precision", "{:.3f}")),
        ("Recall", "mean ± sd", lambda _, s: _spread(s, "recall", "{:.3f}")),
    ]  # fmt: skip


def _of_nodes() -> list[_Measure]:
    return [
        ("Nodes found", "of all nodes in the references", lambda _, s: _found(s["nodes"])),
        ("Nodes found, never annotated", "of those that training never saw outlined",
         lambda run, _: _found(_annotated(run)["never_annotated"])),
        ("Voxels found, never annotated", "of the same nodes",
         lambda run, _: (_percent(_annotated(run)["never_annotated"]["voxel_recall"]), "")),
        ("Nodes found, annotated", "of those that training saw outlined",
         lambda run, _: _found(_annotated(run)["annotated"])),
        ("False positives per case", "predicted components that touch no reference node",
         lambda _, s: (number(s["nodes"]["false_positives_per_case"], "{:.2f}"),
                       f"{s['nodes']['false_positives']} in all")),
    ]  # fmt: skip


def _of_counts() -> list[_Measure]:
    return [
        ("Cases", "evaluated", lambda _, s: (str(s["cases"]["n"]), "")),
        ("Cases without prediction", "no voxel predicted although there are nodes",
         lambda _, s: (str(s["cases"]["n_missing"]), "")),
        ("Cases with an empty reference", "no node in the reference",
         lambda _, s: (str(s["cases"]["n_empty_reference"]),
                       f"{s['cases']['n_both_empty']} of them rightly empty")),
        ("Cases that failed", "not in any number above",
         lambda _, s: (str(s["cases"]["n_failed"]), "")),
    ]  # fmt: skip


def _cell(run: Run, read: Callable[[Run, dict[str, Any]], Text]) -> Text:
    return (NONE, "") if run.evaluation is None else read(run, run.evaluation.summary)


def tiles(run: Run) -> list[tuple[str, str, str]]:
    """The four numbers to know first: name, value, second line; none without an evaluation."""
    if run.evaluation is None:
        return []
    summary = run.evaluation.summary
    return [
        ("Dice coefficient", *_spread(summary, "dice", "{:.3f}")),
        ("ASSD, mm", *_distance(summary)),
        ("Nodes found", *_found(summary["nodes"])),
        ("Never annotated nodes found", *_found(_annotated(run)["never_annotated"])),
    ]


def number(value: float | None, form: str) -> str:
    """A number as text, a dash where there is none."""
    return NONE if value is None or math.isnan(value) else form.format(value)


def _annotated(run: Run) -> dict[str, Any]:
    """The nodes' summary that tells annotated from never annotated ones, if any does."""
    evaluation = run.annotated or run.evaluation
    assert evaluation is not None
    nodes: dict[str, Any] = evaluation.summary["nodes"]
    return nodes


def _spread(summary: dict[str, Any], metric: str, form: str) -> Text:
    values = summary["metrics"][metric]
    if values["mean"] is None:
        return NONE, f"undefined in {values['n_undefined']} cases"
    second = (
        f"median {form.format(values['median'])}, quartiles {form.format(values['q25'])} to "
        f"{form.format(values['q75'])}"
    )
    if values["n_undefined"]:
        second += f"; undefined in {values['n_undefined']} of {values['n_undefined'] + values['n']}"
    return f"{form.format(values['mean'])} ± {form.format(values['sd'])}", second


def _distance(summary: dict[str, Any]) -> Text:
    """The filled ASSD, which never stands without the number of cases that were filled."""
    value, second = _spread(summary, "assd_filled_mm", "{:.2f}")
    filled = summary["metrics"]["assd_filled_mm"]["n"] - summary["metrics"]["assd_mm"]["n"]
    missing = summary["cases"]["n_missing"]
    return value, f"{second}; {filled} cases filled, {missing} cases without prediction"


def _found(nodes: dict[str, Any]) -> Text:
    if not nodes["n"]:
        return NONE, "none known"
    return _percent(nodes["detection_recall"]), f"{nodes['n_detected']} of {nodes['n']}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f} %"
