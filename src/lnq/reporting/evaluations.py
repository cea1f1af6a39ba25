"""The evaluation that a user means by a folder."""

from __future__ import annotations

from pathlib import Path

from lnq.errors import UsageError
from lnq.reporting.runs import EvaluationFiles, read_evaluation


def evaluation_of(folder: Path) -> EvaluationFiles:
    """Reads an evaluation, given its own folder or the run's that holds it.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    place = folder if (folder / "summary.json").is_file() else folder / "evaluation"
    if not place.is_dir():
        raise UsageError(
            "there is no evaluation", where=folder,
            why="no such folder" if not folder.is_dir() else "nothing of lnq.evaluate lies in it",
            remedy="run the commands predict and evaluate first, or give the evaluation's folder",
        )  # fmt: skip
    return read_evaluation(place.resolve(), place.resolve().parent / "predictions")
