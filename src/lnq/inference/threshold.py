"""Which threshold a network's probabilities are cut at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from lnq.calibration import read_calibration
from lnq.errors import UsageError
from lnq.networks.transfer import Checkpoint
from lnq.predictions.threshold import Probability, Threshold
from lnq.run_folder import RunFolder

GivenThreshold = Literal["auto"] | Probability
"""As users say it."""
_GIVEN: TypeAdapter[GivenThreshold] = TypeAdapter(GivenThreshold)


def choose_threshold(given: GivenThreshold, checkpoints: Sequence[Checkpoint]) -> Threshold:
    """A number is taken as it is; `auto` is the calibration of this very checkpoint, else 0.5.

    Args:
        given: What the user says.
        checkpoints: The networks whose probabilities are averaged. Of several no calibration tells:
            it was made with one network's probabilities.

    Raises:
        UsageError: The number is not between 0 and 1, or the run's calibration is damaged.
    """
    try:
        given = _GIVEN.validate_python(given)
    except ValidationError as error:
        raise UsageError(
            "no such threshold", where=f"threshold={given}",
            remedy="give auto, or a number between 0 and 1",
        ) from error  # fmt: skip
    if given != "auto":
        return Threshold(given, "given", "as given")
    if len(checkpoints) != 1:
        return Threshold(why="several networks have no calibration in common")
    (checkpoint,) = checkpoints
    run = _run_of(checkpoint.path)
    calibration = None if run is None else read_calibration(run)
    if run is None or calibration is None:
        return Threshold(why="the network has no calibration")
    if calibration.checkpoint_sha256 != checkpoint.sha256:
        return Threshold(why=f"{run.calibration} is of another checkpoint; run lnq.calibrate again")
    return Threshold(calibration.threshold, "calibration", f"rests on {calibration.basis}")


def _run_of(checkpoint: Path) -> RunFolder | None:
    """The run that a checkpoint lies in, by the place that it has there."""
    folder = checkpoint.absolute().parent
    run = RunFolder(folder.parent)
    return run if run.checkpoint.parent == folder else None
