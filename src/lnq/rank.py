"""python -m lnq.rank published=FILE evaluation=DIR: our place among published results."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("rank")  # before the imports below, which take seconds

from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from lnq.config import Paths, command
from lnq.console import console
from lnq.evaluation import TEAMS, evaluation_of, rank_teams, read_published, with_run
from lnq.files import sha256, sole_user, write_manifest
from lnq.tables import write_table


@dataclass(frozen=True)
class RankConfig:
    """Root of conf/rank.yaml.

    Attributes:
        published: Table with the columns Case, Dice, ASSD and Team, such as the challenge's.
        evaluation: A run's folder or its evaluation's; None = the published teams alone.
        name: What the run is called in the table.
        output: Folder of the ranking.
        paths: Where everything goes.
    """

    published: Path
    evaluation: Path | None
    name: str
    output: Path
    paths: Paths


@command("rank", RankConfig)
def main(cfg: RankConfig) -> int:
    """Ranks, writes the ranking and prints it."""
    table, notes = read_published(cfg.published), list[str]()
    if cfg.evaluation is not None:
        table, notes = with_run(table, evaluation_of(cfg.evaluation).metrics, cfg.name)
    with sole_user(cfg.output):
        ranking = rank_teams(table)
        write_table(cfg.output / "ranking.csv", ranking)
        write_manifest(
            cfg.output, "rank", asdict(cfg), notes=notes, published_sha256=sha256(cfg.published)
        )
    out = console()
    out.print(_table(ranking))
    for note in notes:
        out.print(f"note: {note}")
    out.print(f"{ranking['num_cases'].iloc[0]} cases; the table is in {cfg.output}")
    return 0


def _table(ranking: pd.DataFrame) -> Table:
    columns = ("", "team", "rank", "DSC", "median", "ASSD mm", "median", "missing")
    table = Table(*columns, box=box.SIMPLE_HEAD, collapse_padding=True)
    table.caption = (
        "rank: mean over cases of the ranks by DSC and by ASSD; missing: cases without ASSD, filled"
        " with the largest one in mean and rank, not in the median"
    )
    for row in ranking.to_dict("records"):
        team = str(row["team"])
        table.add_row(
            str(row["place"]),
            TEAMS.get(team, team),
            f"{row['mean_rank']:.3f}",
            f"{row['dice_mean']:.3f}±{row['dice_sd']:.3f}",
            f"{row['dice_median']:.3f}",
            f"{row['assd_filled_mean_mm']:.2f}",
            f"{row['assd_median_mm']:.2f}",
            str(row["num_missing"]),
        )
    return table


if __name__ == "__main__":
    main()
