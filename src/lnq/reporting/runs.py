"""What a training run left on the disk, and which runs lie below a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from lnq.calibration import Calibration, read_calibration
from lnq.curves import read_curves
from lnq.errors import LnqError, UsageError
from lnq.files import MANIFEST, read_json
from lnq.reporting.evaluations import ShownEvaluation, shown_evaluation, with_scans
from lnq.reporting.known_masks import known_masks
from lnq.resuming import unfinished
from lnq.run_folder import MeasuredFolder, RunFolder
from lnq.run_manifest import RunManifest, read_manifest

MANY_RUNS = 4
"""With more runs than this, a table holds a row a run, and of a case each run's DSC alone."""


@dataclass(frozen=True)
class Run:
    """One training run as the report shows it.

    Attributes:
        name: What it is called on the page; unique among the runs shown.
        folder: The run's folder.
        manifest: What its `manifest.json` says.
        config: Text of its `config.yaml`, if there is one.
        curves: What was logged, one row a logging step, if there is anything.
        evaluation: Its evaluation, if there is one.
        training: The evaluation of its own training scans, if there is one: only that tells nodes
            that training saw outlined from nodes that it never did.
        calibration: The threshold that it keeps, if it keeps one.
        panels: Pictures of the pseudo labels, drawn during training, in the order of the epochs.
        notes: Parts that are missing or cannot be read, in words.
    """

    name: str
    folder: RunFolder
    manifest: RunManifest
    config: str | None
    curves: pd.DataFrame | None
    evaluation: ShownEvaluation | None
    training: ShownEvaluation | None = None
    calibration: Calibration | None = None
    panels: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def annotated(self) -> ShownEvaluation | None:
        """The evaluation that knows which nodes were annotated for training, if there is one."""
        for evaluation in (self.training, self.evaluation):
            if evaluation is not None and evaluation.nodes["annotated"].notna().any():
                return evaluation
        return None


def select_runs(given: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The runs a user means: a folder that is no run stands for those below it.

    Args:
        given: Run folders and folders of sweeps.

    Returns:
        Run folders, and what was left out, in words: below a sweep's folder, runs without an
        evaluation where others have one (pre-training, unfinished jobs).
    """
    chosen: list[Path] = []
    notes: list[str] = []
    for folder in given:
        below = [] if _is_run(folder, notes) else _runs_below(folder, notes)
        evaluated = [place for place in below if RunFolder(place).evaluation.is_dir()]
        left_out = [place for place in below if place not in evaluated] if evaluated else []
        if left_out:
            names = ", ".join(place.relative_to(folder).as_posix() for place in left_out)
            notes.append(f"Left out, since they have no evaluation: {names}.")
        chosen += evaluated or below or [folder]
    return chosen, notes


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


def _is_run(folder: Path, notes: list[str]) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    try:
        manifest = read_json(folder / MANIFEST)
    except LnqError as error:
        notes.append(f"Left out: {error}")
        return False
    return isinstance(manifest, dict) and manifest.get("stage") == "train"


def _runs_below(folder: Path, notes: list[str]) -> list[Path]:
    places = sorted(path.parent for path in folder.rglob(MANIFEST) if path.parent != folder)
    return [place for place in places if _is_run(place, notes)]


def _read_run(folder: Path, name: str, evaluation: Path | None) -> Run:
    manifest = _run_manifest(folder)
    run, notes = RunFolder(folder), list[str]()
    if told := unfinished(run):
        notes.append(f"{told[0].upper()}{told[1:]}.")
    config = run.config.read_text(encoding="utf-8") if run.config.is_file() else None
    if config is None:
        notes.append("There is no config.yaml: the configuration is the manifest's.")
    curves = _read_curves(run, notes)
    if evaluation is None:
        evaluated = _own_evaluation(run, notes)
        if not run.evaluation.is_dir():
            notes.append("There is no evaluation yet: run the commands predict and evaluate on it.")
    elif evaluation.is_dir():
        evaluated = with_scans(evaluation, run.predictions)
    else:
        raise UsageError("no such folder", where=f"evaluation={evaluation}")
    if evaluated is not None:
        evaluated = replace(evaluated, known=known_masks(manifest.config))
    training = _own_evaluation(run.training, notes)
    panels = sorted(run.panels.glob("*.png"), key=_epoch)
    calibration = _read_calibration(run, notes)
    return Run(
        name, run, manifest, config, curves, evaluated, training, calibration, panels, notes
    )  # fmt: skip


def _read_calibration(run: RunFolder, notes: list[str]) -> Calibration | None:
    try:
        return read_calibration(run)
    except UsageError as error:
        notes.append(f"The calibration cannot be read: {error}")
        return None


def _own_evaluation(folder: MeasuredFolder, notes: list[str]) -> ShownEvaluation | None:
    """`evaluation/` beside `predictions/`, where there is one; one that is broken is told."""
    if not folder.evaluation.is_dir():
        return None
    try:
        return shown_evaluation(folder)
    except UsageError as error:
        notes.append(f"The evaluation cannot be read: {error}")
        return None


def _epoch(path: Path) -> tuple[int, str]:
    """`epoch=12.png` after `epoch=2.png`, whatever zeros were written before the number."""
    digits = "".join(c for c in path.stem if c.isdecimal())
    return int(digits or 0), path.name


def _run_manifest(folder: Path) -> RunManifest:
    remedy = "give the output folder of the command train, or a folder with such folders below it"
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
    return read_manifest(RunFolder(folder))


def _read_curves(run: RunFolder, notes: list[str]) -> pd.DataFrame | None:
    if not run.curves.is_file():
        notes.append("There is no curves.csv: nothing has been logged yet.")
        return None
    try:
        curves = read_curves(run)
    except UsageError as error:
        notes.append(f"The training curves cannot be read: {error}")
        return None
    if curves.empty:
        notes.append("curves.csv holds no logged steps: there are no training curves.")
        return None
    return curves


def _unique_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the runs apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders)):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]
