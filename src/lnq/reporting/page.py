"""The page: summary, curves, cases and pictures of one or several runs in one file."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from lnq.data.phantom.dataset import is_phantom
from lnq.errors import UsageError
from lnq.files import provenance, write_text
from lnq.reporting.case_table import CaseTable, case_table
from lnq.reporting.cases import by_scan, pictured_runs, view_cases
from lnq.reporting.curve_plots import pseudo_label_curves, training_curves
from lnq.reporting.distributions import distributions
from lnq.reporting.froc_plot import froc_curves
from lnq.reporting.history import histories
from lnq.reporting.nodes_found import found_by_annotation, found_by_size
from lnq.reporting.operating_point import operating_points
from lnq.reporting.plotting import style_of
from lnq.reporting.runs import MANY_RUNS, Run
from lnq.reporting.scenes import BACKGROUND, LINES
from lnq.reporting.slices import UNITS_PER_MM
from lnq.reporting.summary_table import NONE, summary_rows, tiles

MAX_BYTES = 15_000_000
"""No page is larger: it must open on a phone and pass as an attachment."""

_HISTORY_SHARE = 0.2
"""Of the room for pictures, what those of the pseudo labels may take."""
_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    runs: Sequence[Run], output: Path, max_cases: int, notes: Sequence[str] = ()
) -> list[str]:
    """Writes the report: one HTML file that needs nothing beside it and no network.

    Args:
        runs: What to report on, from `read_runs`.
        output: The file to write.
        max_cases: How many cases are shown in pictures at most, those with the largest error.
        notes: What the page must say at its top beside what the runs lack.

    Returns:
        What the page says at its top, in words.

    Raises:
        UsageError: The page would be too large even without pictures.
        OSError: The file cannot be written.
    """
    table = case_table(runs)
    said = [*notes, *_notes(runs, table)]
    content = {**_content(runs, table), "notes": said}
    room = MAX_BYTES - len(_render(content, runs, [], 0))
    if room < 0:
        raise UsageError(
            "the page would be too large", why=f"{len(runs)} runs, and no room for pictures",
            remedy="report on fewer runs",
        )  # fmt: skip
    wanted = list(table.anchors)[:max_cases]
    # What pictures take is known within some percent; what does not fit is drawn smaller.
    for cases, part in ((wanted, 0.95), (wanted, 0.7), (wanted, 0.0), ([], 0.0)):
        page = _render(content, runs, cases, int(part * room))
        if len(page) <= MAX_BYTES:
            break
    write_text(output, page.decode("utf-8"))
    return said


def _notes(runs: Sequence[Run], table: CaseTable) -> list[str]:
    several = len(runs) > 1
    notes = [f"{run.name}: {note}" if several else note for run in runs for note in run.notes]
    if any(len(by_scan(case, runs)) > 1 for case in table.anchors):
        notes.append(
            "Some cases have other scans in other runs, under the same names: rows of the table of "
            "cases set them side by side nonetheless."
        )
    if table.left_out:
        notes.append(f"The table leaves out the {table.left_out} cases with the smallest errors.")
    pictured = pictured_runs(runs)
    if len(pictured) < sum(run.evaluation is not None for run in runs):
        names = ", ".join(runs[number].name for number in pictured)
        notes.append(f"Pictures are of the two best and the two worst runs by mean DSC: {names}.")
    return notes


def _content(runs: Sequence[Run], table: CaseTable) -> dict[str, Any]:
    """What the template shows beside pictures."""
    known = any(run.evaluation is not None and run.evaluation.known for run in runs)
    script = (_TEMPLATES / "report.js").read_text(encoding="utf-8")
    digest = hashlib.sha256(script.encode("utf-8")).digest()
    return {
        "runs": runs,
        "styles": [style_of(i) for i in range(len(runs))],
        "many": len(runs) > MANY_RUNS,
        "tiles": tiles(runs[0]) if len(runs) == 1 else [],
        "summary": summary_rows(runs),
        "curves": training_curves(runs),
        "pseudo_curves": pseudo_label_curves(runs),
        "distributions": distributions(runs, table.anchors),
        "by_size": [*found_by_size(runs), *froc_curves(runs)],
        "by_annotation": found_by_annotation(runs),
        "operating_points": operating_points(runs),
        "table": table,
        "phantom": any(map(is_phantom, table.anchors)),
        "failures": [(r.name, f) for r in runs if r.evaluation for f in r.evaluation.failures],
        "lines": {kind: line for kind, line in LINES.items() if kind != BACKGROUND or known},
        "units_per_mm": UNITS_PER_MM,
        "recipes": [_recipe(run) for run in runs],
        "made": _made(),
        "script": script,
        "script_hash": base64.b64encode(digest).decode("ascii"),
    }


def _render(content: dict[str, Any], runs: Sequence[Run], cases: Sequence[str], room: int) -> bytes:
    """The page's bytes, with pictures in a given room."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    history = histories(runs, int(_HISTORY_SHARE * room))
    left = room - sum(len(source) for each in history for _, source in each.frames)
    views = view_cases(cases, runs, left)
    pictured = {view.case: place for place, view in reversed(list(enumerate(views)))}
    page = environment.get_template("page.html.j2").render(
        **content, history=history, views=views, pictured=pictured
    )
    return page.encode("utf-8")


def _made() -> dict[str, str]:
    """What made the page, and when."""
    record = provenance("report", {})
    command = shlex.join(["python", "-m", "lnq.report", *record["command"][1:]])
    return {"command": command, "created": record["created"], "lnq": record["versions"]["lnq"]}


def _recipe(run: Run) -> dict[str, Any]:
    """What is needed to repeat a run."""
    manifest = run.manifest
    config = run.config or json.dumps(manifest.config, indent=2)
    given = [("train", manifest.command)]
    if run.evaluation is not None:
        later = (run.evaluation.predicted, run.evaluation.manifest)
        given += [(m["stage"], m.get("command", [])) for m in later if "stage" in m]
    commands = [
        shlex.join(["python", "-m", f"lnq.{stage}", *map(str, words[1:])]) for stage, words in given
    ]
    facts = {
        "Folder": str(run.folder.path),
        "Begun": manifest.created or NONE,
        "Code": manifest.git_commit or "no git commit known",
        **manifest.versions,
    }
    return {"name": run.name, "commands": commands, "facts": facts, "config": config}
