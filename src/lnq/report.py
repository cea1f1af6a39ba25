"""python -m lnq.report run=DIR: one self-contained page about one or several runs."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("report")  # before the imports below, which take seconds

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.table import Table

from lnq.config import Paths, command
from lnq.console import console
from lnq.files import require_writable
from lnq.reporting import (
    MANY_RUNS,
    Run,
    read_runs,
    select_runs,
    summary_rows,
    write_report,
)
from lnq.run_folder import RunFolder


@dataclass(frozen=True)
class ReportConfig:
    """Root of conf/report.yaml.

    Attributes:
        run: Output folder of the command train, or several; a folder with such folders below it
            stands for all of them.
        evaluation: Evaluation folder of each run; None = `evaluation/` inside the run.
        output: The page; None = `report.html` inside the one folder given, or `report/report.html`
            below the outputs for several.
        max_cases: How many cases are shown in pictures.
        paths: Where everything goes.
    """

    run: Path | list[Path]
    evaluation: Path | list[Path] | None
    output: Path | None
    max_cases: Annotated[int, Field(ge=0)]
    paths: Paths

    @property
    def place(self) -> Path:
        """The page."""
        given = _several(self.run)
        folder = given[0] if len(given) == 1 else self.paths.outputs / "report"
        return self.output or RunFolder(folder).report


@command("report", ReportConfig)
def main(cfg: ReportConfig) -> int:
    """Writes the page, says what it lacks, and prints its summary."""
    given = _several(cfg.run)
    folders, notes = select_runs(given)
    runs = read_runs(folders, _several(cfg.evaluation) if cfg.evaluation else None)
    output = cfg.place
    require_writable(output)
    out = console()
    for note in write_report(runs, output, cfg.max_cases, notes):
        out.print(f"note: {note}")
    out.print(_table(runs))
    out.print(f"the report is {output}")
    return 0


def _table(runs: list[Run]) -> Table:
    """The page's summary without its second lines.

    Many runs stand below each other, with the few measures that fit beside their names.
    """
    rows = summary_rows(runs)
    if len(runs) <= MANY_RUNS:
        table = Table("", *(run.name for run in runs))
        for row in rows:
            table.add_row(row.name, *(value for value, _ in row.cells))
        return table
    shown = [row for row in rows if row.is_main]
    table = Table("Run", *(row.name for row in shown))
    for place, run in enumerate(runs):
        table.add_row(run.name, *(row.cells[place][0] for row in shown))
    return table


def _several(value: Path | list[Path]) -> list[Path]:
    return value if isinstance(value, list) else [value]


if __name__ == "__main__":
    main()
