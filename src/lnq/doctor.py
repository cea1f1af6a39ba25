"""`python -m lnq.doctor`: what is wrong with a dataset, before training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Column, Table

from lnq.config import DataConfig, Paths, command, instantiate
from lnq.config.detection import with_layout
from lnq.data.case import Case
from lnq.data.inspection import CaseReport, inspect_cases
from lnq.data.layouts import Layout
from lnq.files import provenance, sole_user, write_json


@dataclass(frozen=True)
class DoctorConfig:
    """Schema of `conf/doctor.yaml`.

    Attributes:
        data: The dataset.
        output: The JSON file with everything that was found.
        paths: Where output goes.
    """

    data: DataConfig
    output: Path
    paths: Paths


@command("doctor", DoctorConfig, prepare=with_layout)
def main(cfg: DoctorConfig) -> int:
    """Reads every case of a dataset, tells what is wrong with it, and changes nothing."""
    layout: Layout = instantiate(cfg.data.layout or {})
    cases = layout.cases()
    with sole_user(cfg.output.parent):
        return _inspect(cfg, cases)


def _inspect(cfg: DoctorConfig, cases: Sequence[Case]) -> int:
    bar = Console(stderr=True)
    reports = list(
        track(
            inspect_cases(cases),
            "reading",
            total=len(cases),
            console=bar,
            transient=True,
            disable=not bar.is_terminal,
        )
    )
    sick = [report for report in reports if report.problems]
    write_json(
        cfg.output,
        {
            **provenance("doctor", asdict(cfg)),
            "data": cfg.data.name,
            "root": str(cfg.data.root),
            "num_cases": len(reports),
            "num_with_problems": len(sick),
            "cases": [report.to_dict() for report in reports],
        },
    )
    console = Console()
    console.print(_table(reports))
    for report in reports:
        # Below the table: a sentence in a narrow column cannot be read.
        for kind, texts in (("problem", report.problems), ("note", report.notes)):
            for text in texts:
                console.print(f"{kind}: {report.case_id}: {text}", markup=False, soft_wrap=True)
    summary = f"{len(reports)} cases, {len(sick)} with problems; details in {cfg.output}"
    console.print(summary, markup=False)
    return 3 if sick else 0


def _table(reports: Sequence[CaseReport]) -> Table:
    case = Column("case", no_wrap=True)
    table = Table(case, "size (z, y, x)", "spacing, mm", "HU", "nodes, ml", "state")
    for report in reports:
        table.add_row(
            escape(report.case_id),
            " x ".join(map(str, report.size)) if report.size else "-",
            " x ".join(f"{v:.3g}" for v in report.spacing_mm) if report.spacing_mm else "-",
            "{:g} to {:g}".format(*report.hu_range) if report.hu_range else "-",
            _components(report.component_volumes_mm3),
            "[red]problem[/red]" if report.problems else "note" if report.notes else "good",
        )
    return table


def _components(volumes_mm3: Sequence[float] | None) -> str:
    if volumes_mm3 is None:
        return "no label"
    shown = ", ".join(f"{volume / 1000:.2g}" for volume in volumes_mm3[:4])
    return f"{len(volumes_mm3)}: {shown}{' ...' if len(volumes_mm3) > 4 else ''}"


if __name__ == "__main__":
    main()
