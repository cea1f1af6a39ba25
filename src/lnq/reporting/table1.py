"""The paper's Table 1: its rows as they were published, and those of our runs beside them.

Two rows more stand below: what we recommend, and what complete labels would give.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from lnq.evaluation import Spread, mean_and_sd
from lnq.evaluation.measures import ASSD_FILLED, DICE
from lnq.reporting.collection import Collection
from lnq.reporting.variation import SEED, alike

PREFIX = "table1_"


Figures = tuple[float, float]
"""Mean and standard deviation."""


@dataclass(frozen=True)
class Row:
    """A row of Table 1 (MELBA 2024:017), or below it, of which nothing was published.

    Attributes:
        network: VNet = one decoder, DBN = two.
        supervised: Terms of L_sup.
        pseudo: L_p.
        validation_dice: %, on the 20 validation cases.
        validation_assd: mm.
        test_dice: %, on the 100 test cases.
        test_assd: mm.
    """

    network: str
    supervised: str
    pseudo: str
    validation_dice: Figures | None = None
    validation_assd: Figures | None = None
    test_dice: Figures | None = None
    test_assd: Figures | None = None


ROWS = {
    "baseline": Row(
        "VNet", "CE", "-", (11.04, 17.86), (20.83, 8.64), (19.04, 19.40), (18.23, 10.10)
    ),
    "a": Row(
        "DBN", "CE", "Dice", (15.12, 14.75), (26.94, 11.78), (23.22, 17.50), (25.41, 15.33)
    ),
    "b": Row(
        "DBN", "CE + Tversky", "Dice",
        (34.99, 25.82), (16.39, 12.73), (45.10, 21.58), (13.54, 12.05),
    ),
    "c": Row(
        "DBN", "CE + Tversky", "KLCE",
        (32.10, 24.29), (15.88, 9.09), (40.26, 22.39), (15.19, 10.94),
    ),
    "d": Row(
        "DBN", "SCE + Tversky", "KLCE",
        (31.48, 25.68), (17.63, 11.84), (39.34, 22.58), (16.54, 15.75),
    ),
    "e": Row(
        "DBN", "PCE + Tversky", "KLCE",
        (52.53, 22.29), (8.39, 6.84), (57.36, 17.09), (9.85, 13.25),
    ),
    "f": Row(
        "DBN", "PCE + SCE + Tversky", "KLCE",
        (53.31, 20.40), (8.07, 6.55), (56.10, 17.58), (10.28, 12.75),
    ),
    "g": Row(
        "DBN, Genesis", "PCE + SCE + Tversky", "KLCE",
        (54.10, 21.92), (8.72, 7.71), (55.44, 18.98), (9.35, 7.69),
    ),
    "recommended": Row("DBN", "CE + Tversky, lopsided", "KLCE"),
    "complete": Row("DBN", "CE + Dice, all nodes", "-"),
}  # fmt: skip


def table1(collection: Collection) -> pd.DataFrame:
    """Our runs of the table's experiments, a row of text each, beside the published figures.

    Args:
        collection: Runs, of which those with an evaluation count. Seeds of a row are pooled; runs
            that differ in anything else have rows of their own, named by it.

    Returns:
        A row for each experiment `table1_*` among the runs, in the table's order, with text in all
        columns; no rows where there is none. Means and standard deviations are over all cases of
        all seeds, `by seed` gives each seed's mean DSC, `cut at` where its masks were cut; beside
        them the DSC at 0.5 and at each seed's best threshold, which only the references tell. A
        mode other than the paper's stands beside the row's name.
    """
    experiments = dict(list(collection.evaluated.groupby("experiment")))
    rows = []
    for name, published in ROWS.items():
        runs = experiments.get(PREFIX + name)
        if runs is None:
            continue
        for words, own in alike(runs.sort_values(SEED, kind="stable"), collection.varied):
            cases = collection.cases[collection.cases["run"].isin(own["run"])]
            rows.append({"row": name + words, **_row(own, cases, published)})
    return pd.DataFrame(rows)


def _row(runs: pd.DataFrame, cases: pd.DataFrame, published: Row) -> dict[str, str]:
    return {
        "network": published.network,
        "L_sup": published.supervised,
        "L_p": published.pseudo,
        "DSC %": _spread(100 * cases[DICE.column]),
        "by seed": ", ".join(f"{100 * value:.1f}" for value in runs["dice_mean"]),
        "cut at": ", ".join(f"{value:.3g}" for value in runs["threshold"].dropna()) or "-",
        "DSC % at 0.5": _percent(runs["dice_at_half"]),
        "DSC % at best": _percent(runs["best_dice"]),
        "best cut": ", ".join(f"{value:.3g}" for value in runs["best_threshold"].dropna()) or "-",
        "ASSD mm": _spread(cases[ASSD_FILLED.column]),
        "empty": f"{int(cases['missing'].sum())} of {len(cases)}",
        "nodes found": _share(runs["num_nodes_found"], runs["num_nodes"]),
        "hidden nodes found": _share(runs["num_hidden_found"], runs["num_hidden"]),
        "false positives": f"{runs['false_positives'].sum() / len(cases):.1f}",
        "paper: val DSC %": _published(published.validation_dice),
        "paper: val ASSD mm": _published(published.validation_assd),
        "paper: test DSC %": _published(published.test_dice),
        "paper: test ASSD mm": _published(published.test_assd),
    }


def _percent(by_seed: pd.Series) -> str:
    """The mean over the seeds; a dash where one does not know it."""
    return "-" if by_seed.isna().any() else f"{100 * by_seed.mean():.1f}"


def _published(figures: Figures | None) -> str:
    return "-" if figures is None else "{:.2f}±{:.2f}".format(*figures)


def to_markdown(table: pd.DataFrame) -> str:
    """A table of text as Markdown, with its column names."""
    lines = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_latex(table: pd.DataFrame) -> str:
    """A table of text as a LaTeX tabular for the package booktabs."""
    plain = table.replace({"±": r" $\\pm$ ", "%": r"\\%", "_": r"\\_"}, regex=True)
    plain.columns = [name.replace("%", r"\%").replace("_", r"\_") for name in table.columns]
    return str(plain.style.hide(axis="index").to_latex(hrules=True))


def _spread(values: pd.Series) -> str:
    spread = Spread.of(values)
    return mean_and_sd(spread.mean, spread.sd)


def _share(part: pd.Series, whole: pd.Series) -> str:
    """Both summed over the seeds; a dash where nothing was counted."""
    if not whole.sum():
        return "-"
    return f"{100 * part.sum() / whole.sum():.0f} % of {int(whole.sum())}"
