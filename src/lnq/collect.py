"""python -m lnq.collect sweep=DIR: one table of all runs, the paper's Table 1 and its Fig. 3."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("collect")  # before the imports below, which take seconds

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.table import Table

from lnq.config import Paths, command
from lnq.console import console
from lnq.errors import UsageError
from lnq.evaluation import mean_and_sd
from lnq.files import sole_user, write_manifest, write_text
from lnq.reporting import (
    MEASURES,
    VALIDATION,
    collect,
    cross_validation,
    save,
    sensitivity,
    sensitivity_figure,
    table1,
    to_latex,
    to_markdown,
)
from lnq.tables import write_table

SHOWN = [
    "row", "DSC %", "DSC % at 0.5", "DSC % at best", "false positives", "hidden nodes found",
    "paper: test DSC %",
]  # fmt: skip
"""Columns of Table 1 that fit a terminal; the files have all."""


@dataclass(frozen=True)
class CollectConfig:
    """Root of conf/collect.yaml.

    Attributes:
        folder: Given as `sweep=DIR`: below it lie training runs with their evaluations.
        output: Folder of the tables; None = `collection` in the sweep's folder.
        paths: Where everything goes.
    """

    folder: Path
    output: Path | None
    paths: Paths

    @property
    def place(self) -> Path:
        """Folder of the tables."""
        return self.output or self.folder / "collection"


def prepare(argv: list[str]) -> list[str]:
    """Arguments with `sweep=DIR` as `folder=DIR`: Hydra would look for DIR in conf/sweep/."""
    return [f"folder={a.removeprefix('sweep=')}" if a.startswith("sweep=") else a for a in argv]


@command("collect", CollectConfig, prepare=prepare)
def main(cfg: CollectConfig) -> int:
    """Writes tables and figures; prints Table 1 or Fig. 3 where that was run, else all runs."""
    output = cfg.place
    if not cfg.folder.is_dir():
        raise UsageError("no such folder", where=f"sweep={cfg.folder}")
    out = console()
    with sole_user(output):
        collected = collect(cfg.folder)
        table, panels = table1(collected), sensitivity(collected)
        crossed = cross_validation(collected)
        write_table(output / "runs.csv", collected.runs)
        write_table(output / "cases.csv", collected.cases)
        if len(table):
            write_text(output / "table1.md", to_markdown(table))
            write_text(output / "table1.tex", to_latex(table))
        if len(crossed):
            write_table(output / "folds.csv", crossed)
        if len(panels):
            write_table(output / "sensitivity.csv", panels)
        for name, own in panels.groupby("experiment"):
            figure = sensitivity_figure(own)
            for format_ in ("png", "pdf", "svg"):
                save(figure, output / f"sensitivity_{_file_name(str(name))}.{format_}")
        write_manifest(output, "collect", asdict(cfg), runs=list(collected.runs["run"]))
    if len(table):
        out.print(_table(table[SHOWN]))
    if len(panels):
        out.print(_table(_panels(panels)))
    if len(crossed):
        out.print(_table(_folds(crossed)))
    if not len(table) and not len(panels) and not len(crossed):
        out.print(_table(_readable(collected.runs)))
    if collected.unevaluated:
        out.print(f"note: without an evaluation: {', '.join(collected.unevaluated)}")
    out.print(f"{len(collected.runs)} runs; tables and figures are in {output}")
    return 0


def _file_name(experiment: str) -> str:
    """An experiment's name, perhaps with what it differs in, as part of a file's."""
    return re.sub(r"[^\w.=-]+", "_", experiment).strip("_")


def _readable(runs: pd.DataFrame) -> pd.DataFrame:
    """What fits a terminal, of what there is: the runs' names say what was varied."""
    columns = ["run", "experiment", VALIDATION, "dice_mean", "assd_filled_mean_mm", "num_missing"]
    shown = runs[columns].dropna(axis="columns", how="all")
    return shown.map(_number)


def _folds(crossed: pd.DataFrame) -> pd.DataFrame:
    """What fits a terminal of cross-validations."""
    shown = crossed[["experiment", "seed", "num_folds", "num_cases"]].rename(
        columns={"num_folds": "folds", "num_cases": "cases"}
    )
    shown["cases"] = shown["cases"].map(lambda number: "-" if pd.isna(number) else int(number))
    for title, name in ((VALIDATION, "val_dice"), ("DSC", "dice")):
        means, spreads = 100 * crossed[f"{name}_mean"], 100 * crossed[f"{name}_sd"]
        shown[f"{title} %"] = [mean_and_sd(m, s) for m, s in zip(means, spreads, strict=True)]
    shown["ASSD mm"] = [mean_and_sd(mean, None) for mean in crossed["assd_filled_mm_mean"]]
    shown["nodes found"] = [
        "-" if pd.isna(number) else f"{found:.0f}/{number:.0f}"
        for found, number in zip(crossed["num_nodes_found"], crossed["num_nodes"], strict=True)
    ]
    return shown


def _number(value: Any) -> Any:
    if pd.isna(value):
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else value


def _panels(panels: pd.DataFrame) -> pd.DataFrame:
    """The numbers of Fig. 3, a line a point."""
    shown = panels[["experiment", "parameter", "value", "num_runs"]].rename(
        columns={"num_runs": "runs"}
    )
    for name, title in MEASURES.items():
        means, spreads = panels[f"{name}_mean"], panels[f"{name}_sd"]
        shown[title] = [mean_and_sd(m, s) for m, s in zip(means, spreads, strict=True)]
    shown["in the paper"] = panels["paper_best"].map({True: "best", False: ""})
    return shown


def _table(frame: pd.DataFrame) -> Table:
    table = Table(*map(str, frame.columns), box=box.SIMPLE_HEAD)
    for row in frame.itertuples(index=False):
        table.add_row(*map(str, row))
    return table


if __name__ == "__main__":
    main()
