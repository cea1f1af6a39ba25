"""Fig. 3 of collected runs: which runs belong to a panel, means and spreads, the figure."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from lnq.reporting import save, sensitivity, sensitivity_figure

DEFAULT = {"tau": 0.3, "gamma": 0.8, "alpha": 0.4, "lambda_max": 2.0}


def tables(
    points: list[tuple[dict[str, float], list[list[float]]]],
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """At each point, for each seed, the DSC of its cases; the ASSD is 10 - 10 DSC."""
    runs, cases = [], []
    for number, (point, seeds) in enumerate(points):
        for seed, values in enumerate(seeds):
            name = f"{number}/{seed}"
            runs.append({"run": name, "experiment": "dbdmp", "seed": seed, **DEFAULT, **point})
            cases += [{"run": name, "dice": v, "assd_filled_mm": 10 - 10 * v} for v in values]
    return pd.DataFrame(runs), pd.DataFrame(cases)


def test_a_panel_holds_the_runs_that_differ_in_its_parameter_alone() -> None:
    found = sensitivity(*tables([
        ({}, [[0.5, 0.7]]), ({"tau": 0.1}, [[0.2, 0.4]]), ({"alpha": 0.5}, [[0.4, 0.4]]),
        ({"tau": 0.2, "alpha": 0.6}, [[0.9, 0.9]]),  # differs in two: a study's, say
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
    found = sensitivity(*tables([({}, seeds), ({"gamma": 1.2}, seeds)]))
    assert found["spread_over"].unique() == ["seeds"]
    assert found["dice_mean"].to_list() == pytest.approx([40, 40])
    assert found["dice_sd"].to_list() == pytest.approx([20, 20])
    assert found["num_cases"].to_list() == [4, 4]


def test_without_a_varied_parameter_there_is_no_panel() -> None:
    assert sensitivity(*tables([({}, [[0.5]]), ({}, [[0.6]])])).empty
    runs, cases = tables([({}, [[0.5]])])
    assert sensitivity(runs.drop(columns=list(DEFAULT)), cases).empty


def test_the_figure_has_a_panel_for_each_parameter_on_one_scale(tmp_path: Path) -> None:
    points = [({}, [[0.5, 0.7]])]
    points += [({name: value + 0.1}, [[0.2, 0.6]]) for name, value in DEFAULT.items()]
    figure = sensitivity_figure(sensitivity(*tables(points)))
    panels, right = figure.axes[:4], figure.axes[4:]
    assert [axes.get_title(loc="left").split()[0] for axes in panels] == [
        r"$\tau$", r"$\gamma$", r"$\alpha$", r"$\lambda$",
    ]  # fmt: skip
    for side in (panels, right):
        assert len({axes.get_ylim() for axes in side}) == 1
    assert "best in the paper: 0.4 or 0.5" in panels[2].get_title(loc="left")
    save(figure, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
