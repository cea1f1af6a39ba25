"""FROC curves: nodes found against false positives, run by run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lnq.evaluation.froc import FALSE_POSITIVES, RATES, SENSITIVITY, rate_name
from lnq.reporting.plotting import Plot, inline_svg, panel, style_of
from lnq.reporting.runs import Run

_POINTS = 120


def froc_curves(runs: Sequence[Run]) -> list[Plot]:
    """One plot of all runs' curves; none where no evaluation knows probabilities.

    Args:
        runs: In the order of their styles.
    """
    curves = {
        place: run.evaluation.froc
        for place, run in enumerate(runs)
        if run.evaluation is not None and run.evaluation.froc is not None
    }
    if not curves:
        return []
    rates = np.geomspace(RATES[0], RATES[-1], _POINTS)
    with panel() as axes:
        for place, curve in curves.items():
            # From the mask to none: numpy wants it the other way round.
            known, sensitivity = curve[FALSE_POSITIVES][::-1], curve[SENSITIVITY][::-1]
            style, end = style_of(place), known.max()
            for at, width, alpha in ((rates, 0.8, 0.5), (rates[rates <= end], 1.6, 1.0)):
                axes.plot(at, np.interp(at, known, sensitivity), color=style.colour,
                          linestyle=style.line, linewidth=width, alpha=alpha)  # fmt: skip
            marks = [rate for rate in RATES if rate <= end]
            axes.plot(marks, np.interp(marks, known, sensitivity), style.marker,
                      color=style.colour, markersize=4)  # fmt: skip
        axes.set_xscale("log", base=2)
        axes.set_xticks(RATES, [rate_name(rate) for rate in RATES])
        axes.set_ylim(-0.04, 1.04)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        axes.set_xlabel("false positives per case")
        note = "Less certain nodes left out one by one. Thin: beyond the mask's own rate."
        return [Plot("Nodes found (FROC)", inline_svg(axes), note)]
