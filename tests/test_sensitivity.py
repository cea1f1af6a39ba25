"""Fig. 3 of collected runs: which runs belong to a panel, means and spreads, the figure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from lnq.reporting import Collection, save, sensitivity, sensitivity_figure

DEFAULT = {
    "method.tau": 0.3, "method.gamma": 0.8, "method.alpha": 0.4, "method.lambda_max": 2.0,
}  # fmt: skip
Points = list[tuple[dict[str, Any], list[list[float]]]]


def collected(points: Points) -> Collection:
    """At each point, for each seed, the DSC of its cases; the ASSD is 10 - 10 DSC."""
    runs, cases = [], []
    usual = {"method.mode": "paper", **DEFAULT, **{key: None for point, _ in points for key in point
                                                   if key not in DEFAULT}}  # fmt: skip
    for number, (point, seeds) in enumerate(points):
        for seed, values in enumerate(seeds):
            name = f"{number}/{seed}"
            run = {"run": name, "experiment": "dbdmp", "seed": seed, "num_cases": len(values)}
            runs.append({**run, **usual, **point})
            cases += [{"run": name, "dice": v, "assd_filled_mm": 10 - 10 * v} for v in values]
    return Collection(pd.DataFrame(runs), list(usual), pd.DataFrame(cases))


def test_a_panel_holds_the_runs_that_differ_in_its_parameter_alone() -> None:
    found = sensitivity(collected([
        ({}, [[0.5, 0.7]]), ({"method.tau": 0.1}, [[0.2, 0.4]]),
        ({"method.alpha": 0.5}, [[0.4, 0.4]]),
        ({"method.tau": 0.2, "method.alpha": 0.6}, [[0.9, 0.9]]),  # differs in two: a study's, say
    ])).set_index(["parameter", "value"])  # fmt: skip
    assert list(found.index) == [("tau", 0.1), ("tau", 0.3), ("alpha", 0.4), ("alpha", 0.5)]
    at_default = found.loc[("tau", 0.3)]
    assert at_default["dice_mean"] == pytest.approx(60)
    assert at_default["dice_sd"] == pytest.approx(10)  # over the cases: one seed
    assert at_default["assd_mean"] == pytest.approx(4)
    assert at_default["assd_sd"] == pytest.approx(1)
    assert at_default["spread_over"] == "cases"
    assert found["paper_best"].to_list() == [False, True, True, True]


def test_with_several_seeds_the_spread_is_over_their_means() -> None:
    seeds = [[0.5, 0.7], [0.1, 0.3]]
    found = sensitivity(collected([({}, seeds), ({"method.gamma": 1.2}, seeds)]))
    assert found["spread_over"].unique() == ["seeds"]
    assert found["dice_mean"].to_list() == pytest.approx([40, 40])
    assert found["dice_sd"].to_list() == pytest.approx([20, 20])
    assert found["num_cases"].to_list() == [4, 4]


def test_a_measure_that_no_case_has_leaves_a_gap() -> None:
    undefined = float("nan")
    found = sensitivity(collected([({}, [[undefined]]), ({"method.tau": 0.1}, [[0.6]])]))
    assert found["dice_mean"].isna().to_list() == [False, True]
    assert found["dice_sd"].dtype == found["assd_mean"].dtype == float
    sensitivity_figure(found)


def test_without_a_varied_parameter_there_is_no_panel() -> None:
    assert sensitivity(collected([({}, [[0.5]]), ({}, [[0.6]])])).empty


def test_runs_that_differ_in_anything_else_are_not_put_together() -> None:
    points: Points = [({}, [[0.5], [0.7]]), ({"method.tau": 0.1}, [[0.2], [0.4]])]
    points += [({**point, "optimizer.lr": 0.1, "method.mode": "original"}, seeds)
               for point, seeds in points]  # fmt: skip
    found = sensitivity(collected(points))
    assert found["experiment"].to_list() == ["dbdmp"] * 2 + ["dbdmp (original)"] * 2
    assert found["num_runs"].to_list() == [2] * 4
    assert found["dice_sd"].to_list() == pytest.approx([10] * 4)  # of the seeds, not of the modes


def test_twins_are_no_seeds() -> None:
    points: Points = [({}, [[0.5]]), ({}, [[0.7]]), ({"method.tau": 0.1}, [[0.5]])]
    assert sensitivity(collected(points))["spread_over"].to_list() == ["cases", "runs"]


def test_runs_without_an_evaluation_are_no_points() -> None:
    found = collected([({}, [[0.5]]), ({"method.tau": 0.1}, [[0.5]])])
    found.runs.loc[1, "num_cases"] = np.nan
    assert sensitivity(found).empty


@pytest.mark.slow
def test_the_figure_has_a_panel_for_each_parameter_on_one_scale(tmp_path: Path) -> None:
    points: Points = [({}, [[0.5, 0.7]])]
    points += [({name: value + 0.1}, [[0.2, 0.6]]) for name, value in DEFAULT.items()]
    figure = sensitivity_figure(sensitivity(collected(points)))
    panels, right = figure.axes[:4], figure.axes[4:]
    assert [axes.get_title(loc="left").split()[0] for axes in panels] == [
        r"$\tau$", r"$\gamma$", r"$\alpha$", r"$\lambda$",
    ]  # fmt: skip
    for side in (panels, right):
        assert len({axes.get_ylim() for axes in side}) == 1
    assert "best in the paper: 0.4 or 0.5" in panels[2].get_title(loc="left")
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000


@pytest.mark.parametrize("parameters", [1, 4])
@pytest.mark.slow
def test_the_figure_fits_its_page_and_shows_nothing_impossible(
    parameters: int, tmp_path: Path
) -> None:
    points: Points = [({}, [[0.0, 0.9]])]
    points += [({key: v + 0.1}, [[0.0, 0.3]]) for key, v in list(DEFAULT.items())[:parameters]]
    table = sensitivity(collected(points)).assign(experiment="dbdmp, with a long name " * 5)
    figure = sensitivity_figure(table)
    assert all(axes.get_ylim()[0] >= 0 for axes in figure.axes if axes.get_visible())
    for suffix in ("png", "pdf", "svg"):
        save(figure, tmp_path / f"figure.{suffix}")
        assert (tmp_path / f"figure.{suffix}").stat().st_size > 5_000
    title = figure._suptitle.get_window_extent()
    assert title.x0 >= 0
    assert title.x1 <= figure.bbox.x1


def test_one_seed_has_no_spread() -> None:
    found = sensitivity(collected([({}, [[0.5]]), ({"method.tau": 0.1}, [[0.6]])]))
    assert found["dice_sd"].isna().all()
