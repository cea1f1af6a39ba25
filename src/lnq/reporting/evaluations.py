"""An evaluation with the scans that its masks are of, for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lnq.errors import LnqError, UsageError
from lnq.evaluation import EvaluationRecord, read_evaluation
from lnq.predictions import PredictedCase, read_predicted
from lnq.reporting.known_masks import KnownMasks
from lnq.run_folder import MeasuredFolder


@dataclass(frozen=True)
class ShownEvaluation(EvaluationRecord):
    """An evaluation as the report shows it.

    Attributes:
        predicted: Content of the predictions' `manifest.json`; empty where there is none.
        scans: By case what that says; a case that it does not list is missing.
        known: The masks of background in the run's store, if there are any.
    """

    predicted: dict[str, Any]
    scans: dict[str, PredictedCase]
    known: KnownMasks | None = None

    def scan_id(self, case: str) -> str:
        """What tells a case's scan from others of its name: its hash, else its path."""
        scan = self.scans.get(case)
        return "" if scan is None else scan.image_sha256 or str(scan.image)


def shown_evaluation(folder: MeasuredFolder) -> ShownEvaluation:
    """The evaluation beside predictions; these may have been moved together.

    Raises:
        UsageError: It is none, or it cannot be read.
    """
    return with_scans(folder.evaluation, folder.predictions)


def with_scans(folder: Path, predictions: Path) -> ShownEvaluation:
    """Reads an evaluation and the predictions' manifest.

    Args:
        folder: Output folder of the command evaluate.
        predictions: Where that manifest is looked for if the folder of predictions that the
            evaluation names has been moved with its run.

    Raises:
        UsageError: It is no evaluation, or one of the two cannot be read.
    """
    record = read_evaluation(folder)
    try:
        manifest, listed = read_predicted(record.facts.predictions)
        if not manifest:
            manifest, listed = read_predicted(predictions)
    except (LnqError, ValueError) as error:
        raise UsageError(
            "the predictions' manifest cannot be read", where=record.facts.predictions,
            why=str(error), remedy="run lnq.predict again",
        ) from error  # fmt: skip
    by_mask = {scan.mask: scan for scan in listed}
    scans = {
        case: by_mask[files.prediction.name]
        for case, files in record.cases.items()
        if files.prediction.name in by_mask
    }
    return ShownEvaluation(**vars(record), predicted=manifest, scans=scans)
