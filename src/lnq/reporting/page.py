"""The page: summary, curves, cases and pictures of one or several runs in one file."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lnq.files import write_text
from lnq.reporting.cases import view_cases
from lnq.reporting.curves import recall_by_size, training_curves
from lnq.reporting.figures import colour_of
from lnq.reporting.overlays import LINES
from lnq.reporting.runs import Run

_CASE_COLUMNS = (
    ("DSC", "dice", "{:.3f}"), ("ASSD, mm", "assd_mm", "{:.1f}"),
    ("Precision", "precision", "{:.2f}"), ("Recall", "recall", "{:.2f}"),
    ("False pos.", "false_positives", "{:.0f}"),
)  # fmt: skip
_COLUMN_NAMES = [name for name, _, _ in _CASE_COLUMNS] + ["Nodes"]
NONE = "–"


def write_report(runs: Sequence[Run], output: Path, max_cases: int) -> list[str]:
    """Writes the report: one HTML file that needs nothing beside it and no network.

    Args:
        runs: What to report on, from `read_runs`.
        output: The file to write.
        max_cases: How many cases are shown in pictures at most, those with the largest error.

    Returns:
        What the page lacks, in words.

    Raises:
        OSError: The file cannot be written.
    """
    views, left_out = view_cases(runs, max_cases)
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True,
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    notes = [(run.name, note) for run in runs for note in run.notes]
    if left_out:
        notes.append(("", f"{left_out} cases have no pictures, to keep this page small."))
    page = environment.get_template("page.html.j2").render(
        runs=runs, colours=[colour_of(i) for i in range(len(runs))], notes=notes,
        tiles=_tiles(runs[0]) if len(runs) == 1 else [],
        summary=summary_rows(runs), curves=training_curves(runs), recall=recall_by_size(runs),
        case_columns=_COLUMN_NAMES, cases=case_rows(runs),
        failures=[(r.name, f) for r in runs if r.evaluation for f in r.evaluation.failures],
        views=views, lines=LINES, recipes=[_recipe(run) for run in runs],
    )  # fmt: skip
    write_text(output, page)
    return [f"{name}: {note}" if name else note for name, note in notes]


def summary_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The summary table: a row a measure, a cell a run.

    Returns:
        Per row `name`, `hint` and `cells`; a cell is the value and a smaller second line.
    """
    summaries = [None if r.evaluation is None else r.evaluation.summary for r in runs]
    if not any(summaries):
        return []
    measures: list[tuple[str, str, Callable[[dict[str, Any]], tuple[str, str]]]] = [
        ("Dice coefficient (DSC)", "mean ± sd", lambda s: _spread(s, "dice", "{:.3f}")),
        ("ASSD, mm", "mean ± sd; cases without one have the largest ASSD of all",
         _distance),
        ("ASSD, mm, where defined", "mean ± sd", lambda s: _spread(s, "assd_mm", "{:.2f}")),
        ("Precision", "mean ± sd", lambda s: _spread(s, "precision", "{:.3f}")),
        ("Recall", "mean ± sd", lambda s: _spread(s, "recall", "{:.3f}")),
        ("Nodes found", "of all nodes in the references", lambda s: _found(s["nodes"])),
        ("Nodes found, never annotated", "held back in training",
         lambda s: _found(s["nodes"]["never_annotated"])),
        ("Voxels found, never annotated", "of the nodes held back in training",
         lambda s: (_percent(s["nodes"]["never_annotated"]["voxel_recall"]), "")),
        ("Nodes found, annotated", "known in training", lambda s: _found(s["nodes"]["annotated"])),
        ("False positives per case", "predicted components that touch no reference node",
         lambda s: (_number(s["nodes"]["false_positives_per_case"], "{:.2f}"),
                    f"{s['nodes']['false_positives']} in all")),
        ("Cases", "evaluated", lambda s: (str(s["cases"]["n"]), "")),
        ("Cases without prediction", "no voxel predicted although there are nodes",
         lambda s: (str(s["cases"]["n_missing"]), "")),
        ("Cases with an empty reference", "no node in the reference",
         lambda s: (str(s["cases"]["n_empty_reference"]),
                    f"{s['cases']['n_both_empty']} of them rightly empty")),
        ("Cases that failed", "not in any number above",
         lambda s: (str(s["cases"]["n_failed"]), "")),
    ]  # fmt: skip
    return [
        {"name": name, "hint": hint, "cells": [read(s) if s else (NONE, "") for s in summaries]}
        for name, hint, read in measures
    ]


def case_rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The table of cases: per row `case` and per run a list of (value to sort by, text)."""
    tables = [None if r.evaluation is None else r.evaluation.metrics for r in runs]
    cases = sorted({str(case) for table in tables if table is not None for case in table.index})
    return [
        {"case": case, "runs": [_case_cells(table, case) for table in tables]} for case in cases
    ]


def _case_cells(table: pd.DataFrame | None, case: str) -> list[tuple[str, str]]:
    if table is None or case not in table.index:
        return [("", NONE)] * len(_COLUMN_NAMES)
    values = [(float(table[key].loc[case]), form) for _, key, form in _CASE_COLUMNS]
    cells = [("" if math.isnan(v) else repr(v), _number(v, form)) for v, form in values]
    found, nodes = int(table["nodes_detected"].loc[case]), int(table["nodes"].loc[case])
    return [*cells, (repr(found / nodes) if nodes else "", f"{found} of {nodes}")]


def _tiles(run: Run) -> list[tuple[str, str, str]]:
    """The four numbers to know first: name, value, second line."""
    if run.evaluation is None:
        return []
    summary = run.evaluation.summary
    found, never = summary["nodes"], summary["nodes"]["never_annotated"]
    return [
        ("Dice coefficient", *_spread(summary, "dice", "{:.3f}")),
        ("ASSD, mm", *_distance(summary)),
        ("Nodes found", *_found(found)),
        ("Never annotated nodes found", *_found(never)),
    ]


def _spread(summary: dict[str, Any], metric: str, form: str) -> tuple[str, str]:
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


def _distance(summary: dict[str, Any]) -> tuple[str, str]:
    """The filled ASSD, which never stands without the number of cases that were filled."""
    value, second = _spread(summary, "assd_filled_mm", "{:.2f}")
    filled = summary["metrics"]["assd_filled_mm"]["n"] - summary["metrics"]["assd_mm"]["n"]
    missing = summary["cases"]["n_missing"]
    return value, f"{second}; {filled} cases filled, {missing} cases without prediction"


def _found(nodes: dict[str, Any]) -> tuple[str, str]:
    if not nodes["n"]:
        return NONE, "none known"
    return _percent(nodes["detection_recall"]), f"{nodes['n_detected']} of {nodes['n']}"


def _percent(value: float | None) -> str:
    return NONE if value is None else f"{100 * value:.0f} %"


def _number(value: float | None, form: str) -> str:
    return NONE if value is None or math.isnan(value) else form.format(value)


def _recipe(run: Run) -> dict[str, Any]:
    """What is needed to repeat a run."""
    manifest = run.manifest
    config = run.config or json.dumps(manifest.get("config", {}), indent=2)
    manifests = [manifest] if run.evaluation is None else [manifest, run.evaluation.manifest]
    commands = [
        shlex.join(["python", "-m", f"lnq.{m['stage']}", *map(str, m.get("command", [])[1:])])
        for m in manifests
    ]
    facts = {
        "Folder": str(run.folder),
        "Begun": manifest.get("created", NONE),
        "Code": manifest.get("git_commit") or "no git commit known",
        **manifest.get("versions", {}),
    }
    return {"name": run.name, "commands": commands, "facts": facts, "config": config}
