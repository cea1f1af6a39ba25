"""Ranking as the challenge did: by hand, and on the organisers' own table where it is there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lnq.errors import UsageError
from lnq.evaluation import rank_teams, read_published, with_run
from lnq.rank import main

HEADER = "Case,Dice,ASSD,Team\n"
# Team a is best in 01; b and c tie in Dice there, and c has no ASSD. In 02 all have the same Dice.
ROWS = "01,0.8,2,a\n01,0.5,3,b\n01,0.5,,c\n02,0.4,9,a\n02,0.4,5,b\n02,0.4,7,c\n"


def published(folder: Path, text: str = HEADER + ROWS) -> Path:
    path = folder / "published.csv"
    path.write_text(text)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def metrics(cases: dict[str, tuple[float, float]]) -> pd.DataFrame:
    rows = [{"case": case, "dice": d, "assd_mm": s} for case, (d, s) in cases.items()]
    return pd.DataFrame(rows).set_index("case")


def test_ranks_by_hand(tmp_path: Path) -> None:
    ranking = rank_teams(read_published(published(tmp_path))).set_index("team")
    # Dice: a 1, 1; b 2, 1; c 2, 1. ASSD, c filled with 9: a 1, 3; b 2, 1; c 3, 2.
    assert ranking["mean_rank"].to_dict() == {"a": 6 / 4, "b": 6 / 4, "c": 8 / 4}
    assert ranking["place"].to_dict() == {"a": 1, "b": 1, "c": 3}
    assert ranking["num_missing"].to_dict() == {"a": 0, "b": 0, "c": 1}
    assert ranking.loc["c", "assd_filled_mean_mm"] == 8
    assert ranking.loc["c", "assd_median_mm"] == 7
    assert ranking.loc["a", "dice_sd"] == pytest.approx(0.2)


def test_our_run_takes_its_place_among_the_cases_that_match(tmp_path: Path) -> None:
    own = metrics({"lnq2023-test-0002": (0.6, 1.0), "lnq2023-test-0077": (0.9, 1.0)})
    table, notes = with_run(read_published(published(tmp_path)), own, "ours")
    ranking = rank_teams(table).set_index("team")
    assert ranking.loc["ours", ["place", "mean_rank", "num_cases"]].tolist() == [1, 1, 1]
    assert ranking.loc["a", "mean_rank"] == (2 + 4) / 2
    assert notes == ["1 of 2 published cases match: no place in the challenge"]
    empty = metrics({"01": (0.0, np.nan), "02": (np.nan, np.nan)})
    table, notes = with_run(read_published(published(tmp_path)), empty, "ours")
    ranking = rank_teams(table).set_index("team")
    assert ranking.loc["ours", "mean_rank"] == (4 + 3) / 2  # the missing ASSD ties with c's
    assert "nothing to find and nothing found: 02" in notes[0]


@pytest.mark.parametrize(
    ("own", "name", "message"),
    [
        (["case-7"], "ours", "no case is in the published table"),
        (["none"], "ours", "no case is in the published table"),
        (["x-01", "y-001"], "ours", "several cases have one number"),
        (["01"], "b", "has this name"),
    ],
)
def test_runs_that_cannot_be_placed(
    own: list[str], name: str, message: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=message):
        with_run(read_published(published(tmp_path)), metrics(dict.fromkeys(own, (0.5, 1.0))), name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Case,Dice,Team\n01,0.5,a\n", "no column ASSD"),
        (HEADER, "no rows"),
        (HEADER + ROWS + "01,0.5,3,b\n", "b has case 01 twice"),
        (HEADER + ROWS + "03,0.5,3,b\n", "a lacks 1 cases"),
        (HEADER + "01,80,3,b\n", "outside 0 to 1"),
        (HEADER + "01,0.5,-3,b\n", "negative"),
        (HEADER + "01,0.5,inf,b\n", "infinite"),
        (HEADER + "01,,3,b\n", "missing"),
        (HEADER + "01,good,3,b\n", "'good', which is no number"),
        (HEADER + "01,0.5,1_0,b\n", "no number"),
        (HEADER + "01,0.5,3,b,5\n", "more or fewer cells"),
        (HEADER + ROWS + "03,0.5\n", "more or fewer cells"),
        (HEADER + '01,0.5,3,"b\n', "cannot read the table"),
        ("Case,Dice,ASSD,Team,Team\n01,0.5,3,b,c\n", "cannot read the table"),
        ("", "no rows"),
    ],
)
def test_tables_that_are_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        read_published(published(tmp_path, text))


def test_the_challenge_comes_out_as_it_was_published(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = real_data.parent / "lnq2023_phase3_results.csv"
    if not path.is_file():
        pytest.skip(f"the organisers' table is not there: {path}")
    assert run(f"published={path}", f"output={tmp_path}") == 0
    said = capsys.readouterr().out
    names = ["Skeleton Suns", "IMR", "CompAI", "HiLab", "sofija_engelson", "SKJP"]
    assert sorted(names, key=said.index) == names
    ranking = pd.read_csv(tmp_path / "ranking.csv", dtype={"team": str})
    assert ranking["place"].tolist() == [1, 2, 3, 4, 5, 6]
    assert ranking["num_missing"].tolist() == [0, 0, 4, 0, 0, 12]
    assert ranking["dice_mean"].tolist() == pytest.approx(
        [0.674, 0.665, 0.628, 0.603, 0.569, 0.402], abs=5e-4
    )
    assert ranking["dice_sd"].tolist() == pytest.approx(
        [0.165, 0.163, 0.193, 0.141, 0.185, 0.229], abs=5e-4
    )
    assert ranking["assd_filled_mean_mm"].tolist() == pytest.approx(
        [4.46, 5.36, 10.21, 8.16, 6.90, 23.30], abs=5e-3
    )
    assert ranking["assd_median_mm"].tolist() == pytest.approx(
        [2.95, 4.15, 4.80, 5.92, 6.00, 9.27], abs=5e-3
    )
