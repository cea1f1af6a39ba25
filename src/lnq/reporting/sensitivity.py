"""The paper's Fig. 3 of our runs: DSC and ASSD against τ, γ, α and λ, one at a time."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.reporting.figures import colour_of, literal, plain_style

PAPERS_BEST = {"tau": (0.3,), "gamma": (0.8,), "alpha": (0.4, 0.5), "lambda_max": (2.0,)}
"""Best values of the paper's Fig. 3; α = 0.5 has about the DSC of 0.4 and the lower ASSD."""
SYMBOLS = {"tau": r"$\tau$", "gamma": r"$\gamma$", "alpha": r"$\alpha$", "lambda_max": r"$\lambda$"}
MEASURES = {"dice": "DSC %", "assd": "ASSD mm"}
COLUMNS = [
    "experiment", "parameter", "value", "num_runs", "num_cases", "spread_over",
    "dice_mean", "dice_sd", "assd_mean", "assd_sd", "paper_best",
]  # fmt: skip


def sensitivity(runs: pd.DataFrame, cases: pd.DataFrame) -> pd.DataFrame:
    """Runs that differ from the others of their experiment in one parameter alone.

    What the parameters are when they are not varied is what most runs have.

    Args:
        runs: As `lnq.reporting.collection.Collection.runs`.
        cases: As `Collection.cases`.

    Returns:
        A row for each experiment, parameter and value, where a parameter has two values or more:
        DSC in %, filled ASSD in mm; the spread is over the seeds' means, or over the cases where
        there is one seed.
    """
    rows = []
    varied = [name for name in PAPERS_BEST if name in runs and runs[name].notna().any()]
    for experiment, own in runs.groupby("experiment"):
        usual = {name: own[name].mode().iloc[0] for name in varied if own[name].notna().any()}
        for name in usual:
            others = [own[other] == value for other, value in usual.items() if other != name]
            alone = own[pd.concat(others, axis=1).all(axis=1)] if others else own
            if alone[name].nunique() < 2:
                continue
            for value, at_value in alone.groupby(name):
                measured = cases[cases["run"].isin(at_value["run"])]
                rows.append(
                    {
                        "experiment": experiment,
                        "parameter": name,
                        "value": value,
                        **_measures(measured),
                        "paper_best": value in PAPERS_BEST[name],
                    }
                )
    return pd.DataFrame(rows, columns=COLUMNS)


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
        for side in zip(*sides, strict=True):  # one scale for all panels
            low, high = zip(*(axes.get_ylim() for axes in side), strict=True)
            for axes in side:
                axes.set_ylim(min(low), max(high))
        for axes in panels[len(names) :]:
            axes.set_visible(False)
        spread = ", ".join(sorted(set(table["spread_over"])))
        counts = f"{table['num_runs'].max()} runs, {table['num_cases'].max()} cases a point at most"
        figure.suptitle(
            literal(f"{table['experiment'].iloc[0]}: mean and sd over {spread}; {counts}"), size=9.5
        )
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


def _measures(cases: pd.DataFrame) -> dict[str, object]:
    """Mean and spread of the cases of one or several runs."""
    num_runs = cases["run"].nunique()
    result: dict[str, object] = {
        "num_runs": num_runs,
        "num_cases": len(cases),
        "spread_over": "seeds" if num_runs > 1 else "cases",
    }
    for name, column, unit in (("dice", "dice", 100.0), ("assd", "assd_filled_mm", 1.0)):
        values = unit * (cases.groupby("run")[column].mean() if num_runs > 1 else cases[column])
        result |= {f"{name}_mean": values.mean(), f"{name}_sd": values.std(ddof=0)}
    return result
