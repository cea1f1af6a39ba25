"""Two runs against each other: pairs, fills, intervals and the test, by hand and by brute force."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from scipy import stats

from lnq.compare import main
from lnq.errors import UsageError
from lnq.evaluation import compare_runs, evaluate_folders, evaluation_of
from lnq.evaluation.comparison import bootstrap_interval, wilcoxon
from lnq.volume import Grid, Volume, to_sitk

NAN = float("nan")
GRID = Grid((4, 12, 12), (3.0, 1.0, 1.0))


def table(dice: dict[str, float], assd: dict[str, float], **more: float) -> pd.DataFrame:
    """`metrics.csv` of a run; a case without ASSD has a reference and no prediction."""
    values = {"precision": 0.5, "recall": 0.5, "hd95_mm": 5.0, "nsd": 0.5, "node_f1": 0.5,
              "false_positives": 0, "reference_ml": 1.0, **more}  # fmt: skip
    rows = {
        case: {**values, "dice": dice[case], "assd_mm": assd[case],
               "prediction_ml": 0.0 if math.isnan(assd[case]) else 1.0}
        for case in dice
    }  # fmt: skip
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("case")


def test_cases_are_paired_by_name_and_missing_distances_filled_alike() -> None:
    # In another order, each with a case of its own whose ASSD is the largest of all.
    a = table({"x": 0.5, "y": 0.0, "z": 0.7, "only": 0.1}, {"x": 4, "y": NAN, "z": 2, "only": 99})
    b = table({"z": 0.6, "w": 0.1, "y": 0.4, "x": 0.5}, {"z": 3, "w": 77, "y": 6, "x": 4})
    found = compare_runs(a, b)
    assert (found.n, found.only_a, found.only_b) == (3, ["only"], ["w"])
    assert (found.a_missing, found.b_missing, found.fill_mm) == (1, 0, 6)
    rows = {row.measure: row for row in found.differences}
    dice = rows["dice"]
    assert (dice.a_mean, dice.b_mean) == pytest.approx((0.4, 0.5))
    assert dice.a_sd == pytest.approx(np.std([0.5, 0, 0.7]))
    assert (dice.mean, dice.median) == pytest.approx((0.1, 0))
    assert (dice.b_better, dice.equal, dice.b_worse) == (1, 1, 1)
    # y: 6 in both, filled in A. z: B's surface is farther, so it is worse although it is more.
    filled = rows["assd_filled_mm"]
    assert (filled.n, filled.a_mean, filled.b_mean) == (3, 4, pytest.approx(13 / 3))
    assert (filled.b_better, filled.equal, filled.b_worse) == (0, 2, 1)
    assert (rows["assd_mm"].n, rows["assd_mm"].n_undefined) == (2, 1)


@pytest.mark.parametrize(
    ("name", "a", "b", "b_better"),
    [("hd95_mm", 5.0, 4.0, 1), ("nsd", 0.5, 0.4, 0), ("node_f1", 0.5, 0.75, 1)],
)
def test_surfaces_and_nodes_are_compared_too(name: str, a: float, b: float, b_better: int) -> None:
    first, second = (table({"x": 0.5}, {"x": 4.0}, **{name: value}) for value in (a, b))
    rows = {row.measure: row for row in compare_runs(first, second).differences}
    assert (rows[name].a_mean, rows[name].b_mean, rows[name].b_better) == (a, b, b_better)


def signed_rank_p(differences: list[float]) -> float:
    """Share of all sign flips with a statistic as extreme: the definition, in plain loops."""
    d = [value for value in differences if value]
    size = [abs(value) for value in d]
    ranks = [sum(s < t for s in size) + (size.count(t) + 1) / 2 for t in size]
    middle = sum(ranks) / 2
    off = [
        abs(sum(r for r, sign in zip(ranks, signs, strict=True) if sign) - middle)
        for signs in itertools.product((False, True), repeat=len(d))
    ]
    observed = abs(sum(r for r, value in zip(ranks, d, strict=True) if value > 0) - middle)
    return sum(value >= observed - 1e-9 for value in off) / len(off)


@pytest.mark.parametrize(
    ("differences", "method"),
    [
        ([1, 2, 3, 4, 5, -6, 7], "exact"),
        ([1, 2, 0, 4, 0, -6, 7], "exact"),
        ([1, 1, -1, 2, 2, 3, 3, 3, -4], "sign flips"),
        ([2, 2, 0, 2], "sign flips"),
        ([3], "exact"),
    ],
)
def test_wilcoxon_is_the_share_of_sign_flips(differences: list[float], method: str) -> None:
    p, how = wilcoxon(np.array(differences, float))
    assert p == pytest.approx(signed_rank_p(differences))
    assert how == method


def test_wilcoxon_of_many_pairs_and_of_none() -> None:
    d = np.random.default_rng(0).normal(0.2, 1, 60)
    p, how = wilcoxon(np.append(d, [0.0, 0.0]))
    n, rank_sum = 60, stats.rankdata(np.abs(d))[d > 0].sum()
    z = abs(rank_sum - n * (n + 1) / 4) - 0.5
    z /= math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
    assert (p, how) == (pytest.approx(math.erfc(z / math.sqrt(2))), "normal")
    assert wilcoxon(np.zeros(3)) == (None, None)
    assert wilcoxon(np.zeros(0)) == (None, None)


def test_bootstrap_agrees_with_theory_and_repeats() -> None:
    d = np.random.default_rng(1).normal(0.3, 1, 200)
    low, high = bootstrap_interval(d, 0.95, np.random.default_rng(2))
    theory = stats.t.interval(0.95, 199, d.mean(), stats.sem(d))
    assert (low, high) == pytest.approx(theory, abs=0.01)
    assert bootstrap_interval(d, 0.95, np.random.default_rng(2)) == (low, high)
    inner = bootstrap_interval(d, 0.5, np.random.default_rng(2))
    assert low < inner[0] < d.mean() < inner[1] < high


@pytest.mark.parametrize(("dice", "n", "interval"), [([NAN], 0, (None, None)),
                         ([0.5], 1, (None, None)), ([0.5, 0.5], 2, (0.25, 0.25))])  # fmt: skip
def test_few_cases_give_no_interval_rather_than_a_wrong_one(
    dice: list[float], n: int, interval: tuple[float | None, float | None]
) -> None:
    cases = dict(zip("uv", dice, strict=False))
    a = table({case: value - 0.25 for case, value in cases.items()}, dict.fromkeys(cases, 1.0))
    row = compare_runs(a, table(cases, dict.fromkeys(cases, 1.0))).differences[0]
    assert (row.n, row.n_undefined) == (n, len(dice) - n)
    assert (row.low, row.high) == interval


def test_small_samples_are_called_small() -> None:
    cases = {f"c{i}": i / 10 for i in range(5)}
    distances = dict.fromkeys(cases, 1.0)
    better = {case: value + 0.1 + value / 10 for case, value in cases.items()}
    found = compare_runs(table(cases, distances), table(better, distances))
    assert found.differences[0].p == 0.0625
    assert any("5 pairs are few" in note for note in found.notes)
    assert any("cannot fall below 0.062" in note for note in found.notes)


def evaluated(folder: Path, references: Path, predicted: dict[str, int]) -> None:
    """A run's evaluation: predictions of a node of some width against a reference of four."""
    for case, width in predicted.items():
        for place, columns in ((folder / "predictions", width), (references, 4)):
            array = np.zeros(GRID.size, np.uint8)
            array[1:3, 2:6, 2 : 2 + columns] = 1
            place.mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(to_sitk(Volume(array, GRID)), place / f"{case}.nrrd")
    evaluate(folder, references)


def evaluate(folder: Path, references: Path) -> None:
    evaluate_folders(
        folder / "predictions", references, folder / "evaluation",
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b, references, output = (tmp_path / name for name in ("a", "b", "references", "out"))
    evaluated(a, references, {"p": 2, "q": 0})
    evaluated(b, references, {"p": 4, "q": 1})
    assert run(f"runs=[{a},{b / 'evaluation'}]", f"output={output}") == 0
    said = capsys.readouterr().out
    assert "A 1, B 0" in said
    rows = pd.read_csv(output / "comparison.csv").set_index("measure")
    assert rows.loc["dice", "mean"] == pytest.approx((1 + 2 / 5) / 2 - (2 / 3 + 0) / 2)
    content = json.loads((output / "comparison.json").read_text())
    assert content["differences"][0]["mean"] == pytest.approx(rows.loc["dice", "mean"])
    assert content["a_missing"] == 1
    assert json.loads((output / "manifest.json").read_text())["stage"] == "compare"


@pytest.mark.slow
def test_what_cannot_be_compared_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    evaluated(a, tmp_path / "references", {"p": 2})
    evaluated(b, tmp_path / "others", {"p": 2})
    other = tmp_path / "others/p.nrrd"  # another truth of the same name
    sitk.WriteImage(to_sitk(Volume(np.ones(GRID.size, np.uint8), GRID)), other)
    evaluate(b, tmp_path / "others")
    assert run(f"runs=[{a},{b}]", f"output={tmp_path / 'out'}") == 2
    assert "different references" in capsys.readouterr().err
    assert run(f"runs=[{a},{a}]", f"output={tmp_path / 'out'}") == 2
    assert "the same run" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    for folder, message in ((tmp_path / "none", "no such folder"), (tmp_path, "lies in it")):
        with pytest.raises(UsageError, match=message):
            evaluation_of(folder)
    apart = (table({case: 0.5}, {case: 1.0}) for case in "uv")
    with pytest.raises(UsageError, match="no case in common"):
        compare_runs(*apart)
