"""The report shows the threshold that a run keeps, and what it rests on."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.calibrations import CALIBRATED, RESTS, calibrated
from support.report_runs import LARGE, make_run

from lnq.evaluation.threshold_sweep import THRESHOLDS
from lnq.reporting import calibration_figure, read_runs, write_report
from lnq.reporting.operating_point import operating_points
from lnq.run_folder import RunFolder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    made = [make_run(folder, {"case_1": (LARGE, LARGE)}, name=name) for name in ("a", "b", "c")]
    calibrated(made[1], "0" * 64)
    calibrated(made[2], "0" * 64, rule="expected_dice", interval=None)
    return made


@pytest.mark.slow
def test_the_page_shows_it(runs: list[Path], tmp_path: Path) -> None:
    write_report(read_runs(runs[1:2]), tmp_path / "with.html", max_cases=0)
    page = (tmp_path / "with.html").read_text()
    assert 'href="#threshold"' in page
    assert f"threshold {CALIBRATED} (95 %: 0.4 to 0.7). It {RESTS}." in page
    assert page.count("Candidates a scan, q") == 1
    write_report(read_runs(runs[:1]), tmp_path / "without.html", max_cases=0)
    assert 'id="threshold"' not in (tmp_path / "without.html").read_text()


@pytest.mark.slow
def test_each_run_that_has_one_is_shown_beside_its_colour(runs: list[Path]) -> None:
    shown = operating_points(read_runs(runs))
    assert [place for place, _, _ in shown] == [1, 2]
    titles = [[plot.title for plot in plots] for _, _, plots in shown]
    assert titles[0] == ["Nodes found, r", "Candidates a scan, q", "r²/q"]
    assert titles[1] == ["Nodes found, r", "Predicted volume a scan, ml", "Expected DSC"]
    assert shown[1][1] == f"threshold {CALIBRATED}. It {RESTS}."


def test_the_figure_marks_threshold_and_interval(runs: list[Path]) -> None:
    (run,) = read_runs(runs[1:2])
    assert run.calibration is not None
    figure = calibration_figure(run.calibration)
    assert len(figure.axes) == 3
    for axes in figure.axes:
        curve, threshold = (line.get_xdata() for line in axes.get_lines())
        assert len(curve) == 3
        assert threshold[0] == pytest.approx(0.0625, abs=1e-3)  # its logit
        assert len(axes.patches) == 1


def test_a_damaged_one_is_told_and_not_shown(tmp_path: Path) -> None:
    run = calibrated(make_run(tmp_path, {"case_1": (LARGE, LARGE)}), "0" * 64)
    RunFolder(run).calibration.write_text("{}")
    (read,) = read_runs([run])
    assert read.calibration is None
    assert any("The calibration cannot be read" in note for note in read.notes)


def test_an_end_of_the_range_is_known(runs: list[Path]) -> None:
    for threshold, at_end in ((0.25, True), (0.75, True), (THRESHOLDS[64], False)):
        calibrated(runs[2], "0" * 64, threshold=float(threshold))
        (run,) = read_runs(runs[2:])
        assert run.calibration is not None
        assert run.calibration.is_at_an_end == at_end
