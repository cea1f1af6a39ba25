"""What an evaluation left on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lnq.errors import LnqError, UsageError
from lnq.files import FAILURES, MANIFEST, read_json
from lnq.run_folder import MeasuredFolder


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one evaluated case lie.

    Attributes:
        image: The scan; None where no manifest of the predictions names it.
        image_id: What tells this scan from others of the same name: its hash, else its path.
        reference: The reference label.
        prediction: The mask under test.
        annotation: The partial label used in training, if one was given.
    """

    image: Path | None
    image_id: str
    reference: Path
    prediction: Path
    annotation: Path | None


@dataclass(frozen=True)
class EvaluationFiles:
    """An evaluation's output folder, read.

    Attributes:
        manifest: Content of `manifest.json`.
        predicted: Content of the predictions' `manifest.json`; empty where there is none.
        summary: Content of `summary.json`.
        metrics: Content of `metrics.csv`, indexed by case.
        nodes: Content of `nodes.csv`; `case` is text, `annotated` a nullable boolean.
        failures: Content of `failures.json`; empty where there is none.
        cases: Files by case.
        numbered_reference: Whether the reference's values number the nodes; else its components
            are the nodes.
    """

    manifest: dict[str, Any]
    predicted: dict[str, Any]
    summary: dict[str, Any]
    metrics: pd.DataFrame
    nodes: pd.DataFrame
    failures: list[dict[str, str | None]]
    cases: dict[str, CaseFiles]
    numbered_reference: bool


def evaluation_of(folder: Path) -> EvaluationFiles:
    """Reads an evaluation, given its own folder or the run's that holds it.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    place = folder if (folder / "summary.json").is_file() else MeasuredFolder(folder).evaluation
    if not place.is_dir():
        raise UsageError(
            "there is no evaluation", where=folder,
            why="no such folder" if not folder.is_dir() else "nothing of lnq.evaluate lies in it",
            remedy="run the commands predict and evaluate first, or give the evaluation's folder",
        )  # fmt: skip
    return read_evaluation(place.resolve(), MeasuredFolder(place.resolve().parent).predictions)


def read_evaluation(folder: Path, predictions: Path) -> EvaluationFiles:
    """Reads an evaluation's output folder.

    Args:
        folder: Output folder of the command evaluate.
        predictions: Where the predictions' manifest is looked for if the folder of predictions that
            the evaluation names has been moved with its run.

    Raises:
        UsageError: It is none, or its files cannot be read.
    """
    try:
        manifest = read_json(folder / MANIFEST)
        summary = read_json(folder / "summary.json")
        metrics = pd.read_csv(folder / "metrics.csv", dtype={"case": str}, keep_default_na=False,
                              na_values={c: [""] for c in summary["metrics"]})  # fmt: skip
        nodes = pd.read_csv(folder / "nodes.csv", dtype={"case": str},
                            keep_default_na=False, na_values={"annotated": [""]})  # fmt: skip
        nodes = nodes.astype({"annotated": "boolean"})
        failures = read_json(folder / FAILURES) if (folder / FAILURES).is_file() else []
        predicted = _predicted([Path(manifest["predictions"]), predictions])
        scans = {Path(entry["mask"]).name: entry for entry in predicted.get("cases", [])}
        cases = {entry["case"]: _case_files(entry, scans) for entry in manifest["cases"]}
        numbered = manifest["config"]["reference_kind"] == "instances"
    except (LnqError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "this is not a whole evaluation", where=folder, why=f"{error}",
            remedy="run the command evaluate again",
        ) from error  # fmt: skip
    return EvaluationFiles(
        manifest, predicted, summary, metrics.set_index("case"), nodes, failures, cases, numbered
    )


def _predicted(folders: Sequence[Path]) -> dict[str, Any]:
    """The manifest of the predictions."""
    for folder in folders:
        if (folder / MANIFEST).is_file():
            return dict(read_json(folder / MANIFEST))
    return {}


def _case_files(entry: dict[str, Any], scans: dict[str, dict[str, Any]]) -> CaseFiles:
    prediction, annotation = Path(entry["prediction"]), entry["annotation"]
    scan = scans.get(prediction.name)
    return CaseFiles(
        None if scan is None else Path(scan["image"]),
        "" if scan is None else scan.get("image_sha256") or scan["image"],
        Path(entry["reference"]), prediction, None if annotation is None else Path(annotation),
    )  # fmt: skip
