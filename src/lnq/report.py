"""python -m lnq.report run=DIR: one self-contained page about one or several runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from lnq.config import Paths, command
from lnq.reporting import NONE, Run, read_runs, summary_rows, write_report


@dataclass(frozen=True)
class ReportConfig:
    """Root of conf/report.yaml.

    Attributes:
        run: Output folder of the command train, or several.
        evaluation: Evaluation folder of each run; None = `evaluation/` inside the run.
        output: The page; None = `report.html` inside the run, or `report/report.html` below the
            outputs for several runs.
        max_cases: How many cases are shown in pictures.
        paths: Where everything goes.
    """

    run: Path | list[Path]
    evaluation: Path | list[Path] | None
    output: Path | None
    max_cases: Annotated[int, Field(ge=0)]
    paths: Paths


@command("report", ReportConfig)
def main(cfg: ReportConfig) -> int:
    """Writes the page, says what it lacks, and prints its summary."""
    runs = read_runs(_several(cfg.run), _several(cfg.evaluation) if cfg.evaluation else None)
    place = runs[0].folder if len(runs) == 1 else cfg.paths.outputs / "report"
    output = cfg.output or place / "report.html"
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for note in write_report(runs, output, cfg.max_cases):
        console.print(f"note: {note}")
    console.print(_table(runs))
    console.print(f"the report is {output}")
    return 0


def _table(runs: list[Run]) -> Table:
    """The page's summary without its second lines, and without rows that no run has."""
    table = Table("", *(escape(run.name) for run in runs))
    for row in summary_rows(runs):
        values = [value for value, _ in row["cells"]]
        if set(values) != {NONE}:
            table.add_row(row["name"], *values)
    return table


def _several(value: Path | list[Path]) -> list[Path]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
