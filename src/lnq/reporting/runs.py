"""What a training run, its predictions and its evaluation left on the disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from lnq.errors import LnqError, UsageError
from lnq.files import FAILURES, MANIFEST, read_json


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one evaluated case lie.

    Attributes:
        image: The scan; None where no manifest of the predictions names it.
        reference: The reference label.
        prediction: The mask under test.
        annotation: The partial label used in training, if one was given.
    """

    image: Path | None
    reference: Path
    prediction: Path
    annotation: Path | None


@dataclass(frozen=True)
class EvaluationFiles:
    """An evaluation's output folder, read.

    Attributes:
        manifest: Content of `manifest.json`.
        summary: Content of `summary.json`.
        metrics: Content of `metrics.csv`, indexed by case.
        nodes: Content of `nodes.csv`; `case` is text, `annotated` a nullable boolean.
        failures: Content of `failures.json`; empty where there is none.
        cases: Files by case.
        numbered_reference: Whether the reference's values number the nodes; else its components
            are the nodes.
    """

    manifest: dict[str, Any]
    summary: dict[str, Any]
    metrics: pd.DataFrame
    nodes: pd.DataFrame
    failures: list[dict[str, str | None]]
    cases: dict[str, CaseFiles]
    numbered_reference: bool


@dataclass(frozen=True)
class Run:
    """One training run as the report shows it.

    Attributes:
        name: What it is called on the page; unique among the runs shown.
        folder: The run's folder.
        manifest: Content of its `manifest.json`.
        config: Text of its `config.yaml`, if there is one.
        curves: What was logged, one row a logging step, if there is anything.
        evaluation: Its evaluation, if there is one.
        notes: Parts that are missing or cannot be read, in words.
    """

    name: str
    folder: Path
    manifest: dict[str, Any]
    config: str | None
    curves: pd.DataFrame | None
    evaluation: EvaluationFiles | None
    notes: list[str] = field(default_factory=list)


def read_runs(folders: Sequence[Path], evaluations: Sequence[Path] | None = None) -> list[Run]:
    """Reads the runs to report on.

    Args:
        folders: Run folders, at least one.
        evaluations: An evaluation folder for each run; None = `evaluation/` inside the run.

    Raises:
        UsageError: A folder is no run or no evaluation, is given twice, or the lists' lengths
            differ.
    """
    places = [folder.resolve() for folder in folders]
    if not places or len(set(places)) < len(places):
        raise UsageError(
            "each run must be given once", where=f"run=[{','.join(map(str, folders))}]"
        )
    if evaluations is not None and len(evaluations) != len(folders):
        raise UsageError(
            f"{len(evaluations)} evaluations for {len(folders)} runs",
            remedy="give one evaluation folder for each run, in the same order",
        )
    explicit = [None] * len(places) if evaluations is None else [e.resolve() for e in evaluations]
    names = _unique_names(places)
    return [_read_run(*arguments) for arguments in zip(places, names, explicit, strict=True)]


def _read_run(folder: Path, name: str, evaluation: Path | None) -> Run:
    manifest = _run_manifest(folder)
    notes: list[str] = []
    config_file = folder / "config.yaml"
    config = config_file.read_text(encoding="utf-8") if config_file.is_file() else None
    if config is None:
        notes.append("There is no config.yaml: the configuration is the manifest's.")
    curves = _read_curves(folder / "metrics.csv", notes)
    place = evaluation or folder / "evaluation"
    found = None
    if place.is_dir():
        try:
            found = read_evaluation(place, folder / "predictions")
        except UsageError as error:
            if evaluation is not None:
                raise
            notes.append(f"The evaluation cannot be read: {error}")
    elif evaluation is not None:
        raise UsageError("no such folder", where=f"evaluation={evaluation}")
    else:
        notes.append("There is no evaluation yet: run the commands predict and evaluate on it.")
    return Run(name, folder, manifest, config, curves, found, notes)


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
        images = _images_by_mask([Path(manifest["predictions"]), predictions])
        cases = {entry["case"]: _case_files(entry, images) for entry in manifest["cases"]}
        numbered = manifest["config"]["reference_kind"] == "instances"
    except (LnqError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "this is not a whole evaluation", where=folder, why=f"{error}",
            remedy="run the command evaluate again",
        ) from error  # fmt: skip
    return EvaluationFiles(
        manifest, summary, metrics.set_index("case"), nodes, failures, cases, numbered
    )


def _case_files(entry: dict[str, Any], images: dict[str, Path]) -> CaseFiles:
    prediction, annotation = Path(entry["prediction"]), entry["annotation"]
    return CaseFiles(
        images.get(prediction.name), Path(entry["reference"]), prediction,
        None if annotation is None else Path(annotation),
    )  # fmt: skip


def _images_by_mask(folders: Sequence[Path]) -> dict[str, Path]:
    """Scans by the name of the mask that was predicted from them."""
    for folder in folders:
        if (folder / MANIFEST).is_file():
            entries = read_json(folder / MANIFEST).get("cases", [])
            return {Path(entry["mask"]).name: Path(entry["image"]) for entry in entries}
    return {}


def _run_manifest(folder: Path) -> dict[str, Any]:
    remedy = "give the output folder of the command train"
    if not (folder / MANIFEST).is_file():
        why = "it has no manifest.json" if folder.is_dir() else "no such folder"
        raise UsageError("this is no run", where=f"run={folder}", why=why, remedy=remedy)
    try:
        manifest = read_json(folder / MANIFEST)
    except LnqError as error:
        raise UsageError("this is no run", where=f"run={folder}", why=str(error)) from error
    stage = manifest.get("stage") if isinstance(manifest, dict) else None
    if stage != "train":
        raise UsageError(
            "this is no run", where=f"run={folder}", why=f"its manifest says stage {stage}",
            remedy=remedy,
        )  # fmt: skip
    return dict(manifest)


def _read_curves(path: Path, notes: list[str]) -> pd.DataFrame | None:
    if not path.is_file():
        notes.append("There is no metrics.csv: nothing has been logged yet.")
        return None
    try:
        curves = pd.read_csv(path)
    except (OSError, ValueError) as error:  # pandas' parser errors are ValueErrors
        notes.append(f"The training curves cannot be read: {error}")
        return None
    curves = curves.select_dtypes("number")
    if "step" not in curves or curves.empty:
        notes.append("metrics.csv holds no logged steps: there are no training curves.")
        return None
    return curves


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
