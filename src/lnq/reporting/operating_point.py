"""What a run's threshold was chosen from: recall, candidates and criterion over the threshold."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lnq.calibration import Calibration
from lnq.reporting.plotting import Plot, colour_of, inline_svg, panel, plain_style, style_of
from lnq.reporting.runs import Run

_TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
_CRITERION = {
    "count": "r²/q",
    "expected_dice": "Expected DSC",
    "dice": "Mean DSC",
    "f1": "Mean F1 of nodes",
}


def calibration_figure(calibration: Calibration) -> Figure:
    """Three panels side by side, the chosen threshold and its interval marked in each."""
    with plain_style():
        figure = Figure(figsize=(10.0, 3.1), layout="constrained")
        for axes, (title, values) in zip(
            figure.subplots(1, 3), _panels(calibration).items(), strict=True
        ):
            _draw(axes, calibration, values, colour_of(0))
            axes.set_title(title)
        figure.suptitle(f"{calibration}; rests on {calibration.basis}", size=9.5)
    return figure


def operating_points(runs: Sequence[Run]) -> list[tuple[int, str, list[Plot]]]:
    """Of each run that has a calibration: its place, what is to be said, and the three panels."""
    shown = []
    for place, run in enumerate(runs):
        if run.calibration is None:
            continue
        plots = []
        for title, values in _panels(run.calibration).items():
            with panel() as axes:
                _draw(axes, run.calibration, values, style_of(place).colour)
                plots.append(Plot(title, inline_svg(axes)))
        shown.append((place, f"{run.calibration}. It rests on {run.calibration.basis}.", plots))
    return shown


def _panels(calibration: Calibration) -> dict[str, Sequence[float]]:
    curve, rule = calibration.curve, calibration.rule
    by_volume = rule in ("expected_dice", "dice")
    return {
        "Nodes found, r": curve.recall,
        "Predicted volume a scan, ml" if by_volume else "Candidates a scan, q": (
            curve.volume_ml if by_volume else curve.candidates
        ),
        _CRITERION[rule]: curve.criterion,
    }


def _draw(axes: Axes, calibration: Calibration, values: Sequence[float], colour: str) -> None:
    axes.plot(_logit(calibration.curve.threshold), values, color=colour, linewidth=1.6)
    if calibration.interval is not None:
        axes.axvspan(*_logit(calibration.interval), color=colour, alpha=0.15, linewidth=0)
    axes.axvline(*_logit([calibration.threshold]), color=colour, linestyle="dashed", linewidth=1)
    axes.set_xticks(_logit(_TICKS), [f"{tick:g}" for tick in _TICKS], fontsize=7.5)
    axes.set_xlabel("threshold")
    axes.set_ylim(bottom=0)


def _logit(probability: Sequence[float]) -> np.ndarray:
    share = np.asarray(probability, float)
    return np.asarray(np.log(share / (1 - share)))
