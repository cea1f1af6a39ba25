"""`python -m lnq.doctor`: what is wrong with a dataset, before training.

The JSON holds `num_cases`, `num_with_problems` and in `cases`, in the dataset's order, the fields
of `lnq.data.preparation.inspection.CaseReport`.
"""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("doctor")  # before the imports below, which take seconds

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich import box
from rich.progress import track
from rich.table import Column, Table
from rich.text import Text

from lnq.config import DataConfig, Paths, command, instantiate
from lnq.config.layout_choice import with_layout_or_scans
from lnq.console import console
from lnq.data.case import Case
from lnq.data.datasets import listed
from lnq.data.datasets.checks import shortened
from lnq.data.preparation.inspection import CaseReport, compare_cases, inspect_cases
from lnq.data.readers.left_out import left_out, summary
from lnq.files import provenance, sole_user, write_json

# Wide enough for every column; below, those that matter least are left to the JSON.
FULL_TABLE = 130


@dataclass(frozen=True)
class DoctorConfig:
    """Schema of `conf/doctor.yaml`.

    Attributes:
        data: The dataset.
        output: The JSON file with everything that was found.
        num_workers: Processes; 0 = none beside this one.
        paths: Where output goes.
    """

    data: DataConfig
    output: Path
    num_workers: Annotated[int, Field(ge=0)]
    paths: Paths


@command("doctor", DoctorConfig, prepare=with_layout_or_scans)
def main(cfg: DoctorConfig) -> int:
    """Reads every case of a dataset, tells what is wrong with it, and changes nothing."""
    cases = listed(instantiate(cfg.data.layout or {}))
    with sole_user(cfg.output.parent, all_ours=False):
        return _inspect(cfg, cases)


def _inspect(cfg: DoctorConfig, cases: Sequence[Case]) -> int:
    bar = console(stderr=True)
    inspected = track(
        inspect_cases(cases, cfg.num_workers), "reading", total=len(cases), console=bar,
        transient=True, disable=not bar.is_terminal,
    )  # fmt: skip
    reports = compare_cases(cases, list(inspected))
    sick = [report for report in reports if report.problems]
    write_json(
        cfg.output,
        {
            **provenance("doctor", asdict(cfg)),
            "data": cfg.data.name,
            "root": str(cfg.data.root),
            "num_cases": len(reports),
            "num_with_problems": len(sick),
            "left_out": left_out(cfg.data.root),
            "cases": [report.to_dict() for report in reports],
        },
    )
    out = console()
    out.print(_table(reports, out.width >= FULL_TABLE), soft_wrap=False)
    for report in reports:
        # Below the table: a sentence in a narrow column cannot be read.
        for kind, texts in (("problem", map(str, report.problems)), ("note", report.notes)):
            for text in texts:
                out.print(f"{kind}: {report.case_id}: {text}")
    for told in cut_lungs(reports):
        out.print(told)
    if line := summary(cfg.data.root):
        out.print(line)
    states = Counter(report.supervision for report in reports)
    kinds = ", ".join(f"{states[kind]} {kind}" for kind in ("full", "partial", "none"))
    out.print(f"{len(reports)} cases ({kinds}), {len(sick)} with problems; details in {cfg.output}")
    return 3 if sick else 0


def cut_lungs(reports: Sequence[CaseReport]) -> Iterator[str]:
    """A line for each set of sides at which lungs are cut off, which is no note: it is usual."""
    by_sides: dict[tuple[str, ...], list[str]] = {}
    for report in reports:
        if report.lungs_cut:
            case = f"{report.case_id} ({report.lungs_litres:.1f} l in view)"
            by_sides.setdefault(report.lungs_cut, []).append(case)
    for sides, cases in by_sides.items():
        yield f"cut: lungs are cut off at {', '.join(sides)}: {shortened(cases)}"


def _table(reports: Sequence[CaseReport], full: bool) -> Table:
    """One row a case; short forms where the terminal is narrow."""
    columns = [
        Column("case", overflow="fold", min_width=12), _numbers("size\nz, y, x"),
        _numbers("spacing, mm\nz, y, x"), _numbers("axes"), _numbers("HU"), _numbers("body\nl"),
        _numbers("lungs\nl"), Column("nodes\nml", no_wrap=True), _numbers("annotated\n%"),
        _numbers("known\n%"), Column("state", no_wrap=True),
    ]  # fmt: skip
    known = any(report.background_share is not None for report in reports)
    shown = [True, True, True, full, True, full, True, True, full, known, True]
    table = Table(
        *(column for column, keep in zip(columns, shown, strict=True) if keep),
        box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1 if full else 0, 0, 0), pad_edge=False,
    )  # fmt: skip
    digits = 3 if full else 2
    for report in reports:
        row = [
            report.case_id,
            "x".join(map(str, report.size)) if report.size else "-",
            "x".join(f"{v:.{digits}g}" for v in report.spacing_mm) if report.spacing_mm else "-",
            report.orientation or "-",
            "{:.4g}..{:.4g}".format(*report.hu_range) if report.hu_range else "-",
            _litres(report.body_litres),
            _litres(report.lungs_litres),
            _components(report, 4 if full else 1),
            _percent(report.annotated_fraction),
            _percent(report.background_share),
            Text("problem", style="red") if report.problems else "note" if report.notes else "good",
        ]
        table.add_row(*(cell for cell, keep in zip(row, shown, strict=True) if keep))
    return table


def _numbers(name: str) -> Column:
    return Column(name, justify="right", no_wrap=True)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2g}"


def _litres(volume: float | None) -> str:
    return "-" if volume is None else f"{volume:.1f}" if volume else "none"


def _components(report: CaseReport, most: int) -> str:
    volumes = report.component_volumes_mm3
    if volumes is None:
        return "-" if report.label is None else "?"
    if not volumes:
        return "empty"
    more = "..." if len(volumes) > most > 1 else ""
    return f"{len(volumes)}: {', '.join(f'{v / 1000:.2g}' for v in volumes[:most])}{more}"


if __name__ == "__main__":
    main()
