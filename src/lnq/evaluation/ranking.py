"""Ranking segmentations against a published table of cases, as the LNQ2023 challenge did.

Per case and measure (DSC, ASSD) a team's rank is 1 + the number of teams that are better. Ranks are
averaged over the two measures, then over the cases. A missing ASSD counts as the largest one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from lnq.data.datasets.table import BEYOND, read_csv
from lnq.errors import UsageError
from lnq.evaluation.spread import Spread

COLUMNS = {"Case": "case", "Dice": "dice", "ASSD": "assd_mm", "Team": "team"}
"""Columns of a published table, and what we call them."""

TEAMS = {
    "1810929": "Skeleton Suns",
    "Larry.Zhang": "IMR",
    "stefanfischer": "CompAI",
    "Wlty": "HiLab",
}
"""Teams of the challenge by the account that stands for them in the organisers' table."""

_MEASURES = ("dice", "assd_mm")
_MISSING = ("", "nan", "na", "n/a")
"""How a table says that a team has no ASSD in a case."""
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?|[+-]?inf", re.ASCII | re.IGNORECASE)
_NUMBER = re.compile(r"(\d+)\D*$")


def read_published(path: Path) -> pd.DataFrame:
    """Reads a table with the columns Case, Dice, ASSD and Team, a row a case and team; strictly.

    Returns:
        `case`, `team`, `dice` in [0, 1], `assd_mm`, NaN where a team predicted nothing, and
        `assd_filled_mm`, the largest one there.

    Raises:
        UsageError: It is no such table, or a team lacks a case or has it twice.
    """
    try:
        table = pd.DataFrame(read_csv(path), dtype=str)
    except (OSError, UsageError) as error:
        raise UsageError(
            "cannot read the table", where=f"published={path}",
            why=getattr(error, "why", None) or str(error),
            remedy="give a CSV file in UTF-8 with the columns Case, Dice, ASSD and Team",
        ) from error  # fmt: skip
    faults = [f"no column {name}" for name in COLUMNS if name.lower() not in table]
    if table.empty:
        faults = ["there are no rows"]
    elif not faults:
        faults = _faults_of_rows(table)
    if not faults:
        table = table[[name.lower() for name in COLUMNS]].set_axis(list(COLUMNS.values()), axis=1)
        table = table.assign(**{name: _numbers(table[name]) for name in _MEASURES})
        faults = _faults(table)
    if faults:
        raise UsageError(
            "this is no table of cases and teams", where=f"published={path}",
            why="; ".join(faults[:5]),
            remedy="it needs Case, Dice, ASSD and Team, one row for each case of each team",
        )  # fmt: skip
    return _filled(table)


def _filled(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(assd_filled_mm=table["assd_mm"].fillna(table["assd_mm"].max()))


def _faults_of_rows(table: pd.DataFrame) -> list[str]:
    """What keeps the cells from being read: a short or long row, an empty cell, no number."""
    if BEYOND in table or table.isna().any(axis=None):
        return ["a row has more or fewer cells than the header"]
    if (table[["case", "team", "dice"]] == "").any(axis=None):
        return ["a case, team or Dice is missing"]
    return [
        f"{name} holds '{value}', which is no number"
        for name in ("dice", "assd")
        for value in table[name]
        if not _DECIMAL.fullmatch(value) and not (name == "assd" and value.lower() in _MISSING)
    ]


def _numbers(texts: pd.Series) -> pd.Series:
    return texts.map(lambda text: float("nan") if text.lower() in _MISSING else float(text))


def _faults(table: pd.DataFrame) -> list[str]:
    """What keeps a table from being ranked."""
    faults = []
    if not table["dice"].between(0, 1).all():
        faults.append("a Dice lies outside 0 to 1")
    if not table["assd_mm"].dropna().between(0, float("inf"), inclusive="left").all():
        faults.append("an ASSD is negative or infinite")
    twice = table[table.duplicated(["case", "team"])]
    faults += [f"{row.team} has case {row.case} twice" for row in twice.itertuples()]
    counts = table.groupby("team")["case"].nunique()
    short = counts[counts < table["case"].nunique()]
    faults += [f"{team} lacks {table['case'].nunique() - n} cases" for team, n in short.items()]
    return faults


def with_run(
    published: pd.DataFrame, metrics: pd.DataFrame, name: str
) -> tuple[pd.DataFrame, list[str]]:
    """The published table with a run of ours as one more team, over the cases that match.

    Cases match by the last number in their names: `lnq2023-test-0002` is the challenge's `0002`.

    Args:
        published: From `read_published`.
        metrics: `metrics.csv` of the run, indexed by case.
        name: What the run is called.

    Returns:
        The matched cases' table to rank, missing ASSD filled with the largest one of all cases, and
        notes about what was left out.

    Raises:
        UsageError: No case matches, two of ours have one number, or the name is a team's.
    """
    if name in set(published["team"]):
        raise UsageError("a team of the published table has this name", where=f"name={name}")
    own = metrics.reset_index()
    own["number"], number = own["case"].map(_number), published["case"].map(_number)
    matched = own[own["number"].isin(number.dropna())]
    twice = sorted(matched.loc[matched["number"].duplicated(keep=False), "case"])
    if twice or matched.empty:
        raise UsageError(
            "several cases have one number" if twice else "no case is in the published table",
            where=", ".join(twice or own["case"][:3]),
            why=f"cases match by the last number in their names; published are "
            f"{', '.join(published['case'].unique()[:3])}, ...",
        )
    undefined = list(matched.loc[matched["dice"].isna(), "case"])
    matched = matched[matched["dice"].notna()]
    names = dict(zip(number, published["case"], strict=True))
    ours = pd.DataFrame(
        {"case": matched["number"].map(names), "team": name,
         "dice": matched["dice"], "assd_mm": matched["assd_mm"]}
    )  # fmt: skip
    total = published["case"].nunique()
    notes = []
    if undefined:
        notes.append(f"left out, nothing to find and nothing found: {', '.join(undefined)}")
    if len(ours) < total:
        notes.append(f"{len(ours)} of {total} published cases match: no place in the challenge")
    table = _filled(pd.concat([published, ours], ignore_index=True))
    return table[table["case"].isin(ours["case"])], notes


def rank_teams(table: pd.DataFrame) -> pd.DataFrame:
    """The teams in their order.

    Args:
        table: From `read_published` or `with_run`; every team has every case once.

    Returns:
        A row a team, the best first: `place` (shared where the mean ranks are equal), `team`,
        `mean_rank`, `dice_mean`, `dice_sd` (of the population), `dice_median`,
        `assd_filled_mean_mm`, `assd_median_mm` (of the cases that have one), `num_cases`,
        `num_missing`.

    Examples:
        >>> table = pd.DataFrame({
        ...     "case": ["1", "1", "2", "2"], "team": ["A", "B", "A", "B"],
        ...     "dice": [0.7, 0.6, 0.7, 0.6], "assd_mm": [4.0, 3.0, 2.0, 3.0],
        ... })
        >>> ranking = rank_teams(table.assign(assd_filled_mm=table["assd_mm"]))
        >>> ranking[["place", "team", "mean_rank"]].values.tolist()  # ranks 1 2 1 1 and 2 1 2 2
        [[1, 'A', 1.25], [2, 'B', 1.75]]
    """
    cases = table.groupby("case")
    by_dice = cases["dice"].rank(method="min", ascending=False)
    by_distance = cases["assd_filled_mm"].rank(method="min")
    teams = table.assign(rank=(by_dice + by_distance) / 2).groupby("team")
    mean_rank = teams["rank"].mean()
    dice = pd.DataFrame(
        {team: vars(Spread.of(values)) for team, values in teams["dice"]}, dtype=float
    ).T
    ranking = pd.DataFrame(
        {
            "place": mean_rank.rank(method="min").astype(int),
            "mean_rank": mean_rank,
            "dice_mean": dice["mean"],
            "dice_sd": dice["sd"],
            "dice_median": dice["median"],
            "assd_filled_mean_mm": teams["assd_filled_mm"].mean(),
            "assd_median_mm": teams["assd_mm"].median(),
            "num_cases": len(cases),
            "num_missing": len(cases) - teams["assd_mm"].count(),
        }
    )
    ranking = ranking.rename_axis("team").reset_index()
    ranking.insert(0, "place", ranking.pop("place"))
    return ranking.sort_values(["place", "team"], ignore_index=True)


def _number(case: str) -> int | None:
    match = _NUMBER.search(case)
    return int(match.group(1)) if match else None
