"""python -m lnq.compare runs=[A,B]: what differs between two runs, and how sure that is."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("compare")  # before the imports below, which take seconds

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich import box
from rich.table import Table

from lnq.config import Paths, command
from lnq.console import console
from lnq.errors import LnqError, UsageError
from lnq.evaluation import (
    Comparison,
    check_same_references,
    compare_runs,
    differences_table,
    evaluation_of,
)
from lnq.evaluation.comparison import COMPARED
from lnq.files import sole_user, write_json, write_manifest
from lnq.tables import write_table


@dataclass(frozen=True)
class CompareConfig:
    """Root of conf/compare.yaml.

    Attributes:
        runs: Two run folders with their evaluations, or evaluation folders: A and B.
        output: Folder of the results.
        confidence: Of the bootstrap intervals.
        seed: Of the bootstrap.
        paths: Where everything goes.
    """

    runs: Annotated[list[Path], Field(min_length=2, max_length=2)]
    output: Path
    confidence: Annotated[float, Field(gt=0, lt=1)]
    seed: Annotated[int, Field(ge=0)]
    paths: Paths


@command("compare", CompareConfig)
def main(cfg: CompareConfig) -> int:
    """Compares B with A over their common cases, writes the tables and prints them."""
    a, b = cfg.runs
    if a.resolve() == b.resolve():
        raise UsageError("both are the same run", where=f"runs=[{a},{b}]")
    first, second = evaluation_of(a), evaluation_of(b)
    check_same_references(first, second)
    with sole_user(cfg.output):
        comparison = compare_runs(
            first.metrics, second.metrics, confidence=cfg.confidence, seed=cfg.seed
        )
        write_table(cfg.output / "comparison.csv", differences_table(comparison))
        write_json(cfg.output / "comparison.json", asdict(comparison))
        write_manifest(cfg.output, "compare", asdict(cfg), a=a.resolve(), b=b.resolve())
    out = console()
    out.print(_table(comparison, cfg.confidence))
    for line in _lines(comparison, a, b):
        out.print(str(LnqError(line)))
    out.print(f"tables are in {cfg.output}")
    return 0


def _table(comparison: Comparison, confidence: float) -> Table:
    columns = ("", "A", "B", f"B - A, {100 * confidence:g} %", "median", "+ = -", "n", "p")
    table = Table(*columns, box=box.SIMPLE_HEAD, collapse_padding=True)
    for row in comparison.differences:
        measure = COMPARED[row.measure]
        number = measure.text
        interval = f" [{number(row.low)}, {number(row.high)}]" if row.n > 1 else ""
        table.add_row(
            measure.short,
            number(row.a_mean),
            number(row.b_mean),
            number(row.mean) + interval,
            number(row.median),
            f"{row.b_better} {row.equal} {row.b_worse}",
            str(row.n),
            "-" if row.p is None else f"{row.p:.2g}",
        )
    table.caption = (
        "means over the n cases that both define; mean difference with its bootstrap interval,"
        " median difference; cases in which B is better, equal, worse; Wilcoxon's p"
    )
    return table


def _lines(comparison: Comparison, a: Path, b: Path) -> Iterator[str]:
    yield f"A = {a}, B = {b}; {comparison.n} common cases"
    for name, left_out in (("A", comparison.only_a), ("B", comparison.only_b)):
        if left_out:
            yield f"note: {len(left_out)} cases of {name} alone are left out: " + ", ".join(
                left_out[:3]
            )
    largest = comparison.fill_mm
    fill = "none has an ASSD" if largest is None else f"filled with {largest:.2f} mm"
    yield (
        f"cases with nodes and without any predicted voxel: A {comparison.a_missing}, "
        f"B {comparison.b_missing} ({fill})"
    )
    for note in comparison.notes:
        yield f"note: {note}"


if __name__ == "__main__":
    main()
