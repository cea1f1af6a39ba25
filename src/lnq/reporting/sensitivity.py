"""The paper's Fig. 3 of our runs: DSC and ASSD against τ, γ, α and λ, one at a time."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.evaluation import Spread
from lnq.evaluation.measures import ASSD_FILLED, DICE
from lnq.reporting.collection import Collection
from lnq.reporting.plotting import colour_of, literal, plain_style
from lnq.reporting.variation import SEED, alike

PAPERS_BEST = {"tau": (0.3,), "gamma": (0.8,), "alpha": (0.4, 0.5), "lambda_max": (2.0,)}
"""Best values of the paper's Fig. 3; α = 0.5 has about the DSC of 0.4 and the lower ASSD."""
SYMBOLS = {"tau": r"$\tau$", "gamma": r"$\gamma$", "alpha": r"$\alpha$", "lambda_max": r"$\lambda$"}
MEASURES = {"dice": "DSC %", "assd": "ASSD mm"}
_CHARACTERS = 62
"""Of the title that fit above a panel."""
COLUMNS = [
    "experiment", "parameter", "value", "num_runs", "num_cases", "spread_over",
    "dice_mean", "dice_sd", "assd_mean", "assd_sd", "paper_best",
]  # fmt: skip


def sensitivity(collection: Collection) -> pd.DataFrame:
    """Runs that differ from the others of their experiment in one parameter alone.

    What the parameters are when they are not varied is what most runs have. Runs that differ in
    anything else but their seed are an experiment of their own, named by it.

    Args:
        collection: Runs, of which those with an evaluation count.

    Returns:
        A row for each experiment, parameter and value, where a parameter has two values or more:
        DSC in %, filled ASSD in mm; the spread is over the seeds' means, or over the cases where
        there is one seed.
    """
    rows = []
    varied = {name: key for name in PAPERS_BEST if (key := f"method.{name}") in collection.varied}
    others = [key for key in collection.varied if key not in varied.values()]
    for experiment, runs in collection.evaluated.groupby("experiment"):
        for words, own in alike(runs, others):
            rows += [
                {"experiment": f"{experiment}{words}", **row}
                for row in _rows(own, varied, collection)
            ]
    numbers = [column for column in COLUMNS if column.endswith(("_mean", "_sd"))]
    return pd.DataFrame(rows, columns=COLUMNS).astype(dict.fromkeys(numbers, float))  # None: NaN


def _rows(
    runs: pd.DataFrame, varied: Mapping[str, str], collection: Collection
) -> Iterator[dict[str, object]]:
    """The points of runs that may be put together; `varied` has each parameter's column."""
    usual = {key: runs[key].mode().iloc[0] for key in varied.values() if runs[key].notna().any()}
    for name, key in varied.items():
        same = [runs[other] == value for other, value in usual.items() if other != key]
        alone = runs[pd.concat(same, axis=1).all(axis=1)] if same else runs
        if alone[key].nunique() < 2:
            continue
        for value, at_value in alone.groupby(key):
            yield {
                "parameter": name,
                "value": value,
                **_measures(at_value, collection.cases),
                "paper_best": value in PAPERS_BEST[name],
            }


def sensitivity_figure(table: pd.DataFrame) -> Figure:
    """A panel for each parameter, DSC on its left axis and ASSD on its right one.

    Args:
        table: As `sensitivity` gives, of one experiment.
    """
    names = [name for name in PAPERS_BEST if name in set(table["parameter"])]
    columns = min(len(names), 2)
    rows = -(-len(names) // columns)
    with plain_style():
        figure = Figure(figsize=(4.6 * columns, 2.9 * rows + 0.5), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        sides = [(axes, axes.twinx()) for axes in panels[: len(names)]]
        for pair, name in zip(sides, names, strict=True):
            _draw_panel(pair, name, table[table["parameter"] == name])
        for side in zip(
            *sides, strict=True
        ):  # one scale for all panels, of what cannot be negative
            low, high = zip(*(axes.get_ylim() for axes in side), strict=True)
            for axes in side:
                axes.set_ylim(max(0.0, min(low)), max(high))
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        spread = ", ".join(sorted(set(table["spread_over"])))
        most = table[["num_runs", "num_cases"]].max()
        counts = f"at most {most['num_runs']} run(s) and {most['num_cases']} cases a point"
        lines = textwrap.wrap(str(table["experiment"].iloc[0]), _CHARACTERS * columns)
        lines += textwrap.wrap(f"mean and sd over {spread}; {counts}", _CHARACTERS * columns)
        figure.suptitle(literal("\n".join(lines)), size=9.5)
    return figure


def _draw_panel(sides: tuple[Axes, Axes], name: str, table: pd.DataFrame) -> None:
    axes, right = sides
    right.grid(False)
    right.spines["right"].set_visible(True)
    apart = 0.008 * (table["value"].max() - table["value"].min())  # bars must not hide bars
    for number, (side, measure) in enumerate(zip(sides, MEASURES, strict=True)):
        colour = colour_of(number)
        side.errorbar(
            table["value"] + (2 * number - 1) * apart, table[f"{measure}_mean"],
            yerr=table[f"{measure}_sd"], color=colour, marker="os"[number], markersize=5,
            linewidth=1.6, linestyle=("-", "--")[number], elinewidth=1, capsize=3,
        )  # fmt: skip
        side.set_ylabel(MEASURES[measure], color=colour)
        side.tick_params(axis="y", colors=colour)
    for place in PAPERS_BEST[name]:
        axes.axvline(place, color="#9aa3ad", linewidth=6, alpha=0.35, zorder=0)
    axes.set_xticks(sorted(table["value"]))
    best = " or ".join(f"{value:g}" for value in PAPERS_BEST[name])
    axes.set_title(f"{SYMBOLS[name]}   (best in the paper: {best})")


def _measures(runs: pd.DataFrame, cases: pd.DataFrame) -> dict[str, object]:
    """Mean and spread of the cases of one or several runs."""
    measured, num_runs = cases[cases["run"].isin(runs["run"])], len(runs)
    seeds = "seeds" if runs[SEED].is_unique else "runs"
    result: dict[str, object] = {
        "num_runs": num_runs,
        "num_cases": len(measured),
        "spread_over": seeds if num_runs > 1 else "cases",
    }
    for name, measure, unit in (("dice", DICE, 100.0), ("assd", ASSD_FILLED, 1.0)):
        values = measured[measure.column]
        spread = Spread.of(unit * (
            values.groupby(measured["run"]).mean() if num_runs > 1 else values
        ))  # fmt: skip
        result |= {f"{name}_mean": spread.mean, f"{name}_sd": spread.sd}
    return result
