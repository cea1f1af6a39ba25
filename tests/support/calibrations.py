"""Calibrations that nobody measured."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from lnq.calibration import Calibration, CalibrationCurve, write_calibration
from lnq.run_folder import RunFolder

CALIBRATED = 0.515625
RESTS = "rests on 3 annotated nodes of 2 held-out cases"


def calibrated(run: Path, checkpoint_sha256: str, **changes: Any) -> Path:
    """The run, with a calibration of that checkpoint in it."""
    curve = CalibrationCurve([0.25, 0.5, 0.75], [1, 0.5, 0], [9, 4, 1], [9, 4, 1], [0.1, 0.3, 0.2])
    kept = Calibration(
        CALIBRATED, (0.4, 0.7), 0.95, "count", None, None, 1.0, 0.25, 3, ["a", "b"],
        checkpoint_sha256, curve, [],
    )  # fmt: skip
    write_calibration(RunFolder(run), replace(kept, **changes), {})
    return run
