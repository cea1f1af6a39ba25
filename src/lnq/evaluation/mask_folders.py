"""Evaluating a folder of predictions against a folder of references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from lnq.data.readers import unchanged
from lnq.errors import CaseError, LnqError, UsageError, memory_for
from lnq.evaluation.case_evaluation import CaseEvaluation, evaluate_case, prediction_of
from lnq.evaluation.case_metrics import metrics_table
from lnq.evaluation.evaluation_record import CaseFiles, Hashes, write_evaluation
from lnq.evaluation.froc import Froc, froc_curve, froc_of
from lnq.evaluation.matching import Match, match_cases
from lnq.evaluation.nodes import ReferenceKind, nodes_table
from lnq.evaluation.other_thresholds import CutOf, other_thresholds, thresholds_table
from lnq.evaluation.summary import Summary, summarise
from lnq.files import FailureLog, sole_user
from lnq.predictions import (
    FoundNode,
    Threshold,
    nodes_of_masks,
    read_predicted,
    threshold_of,
)

Track = Callable[[Sequence[Match]], Iterable[Match]]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; the same as its files say.

    Attributes:
        summary: Content of `summary.json`.
        failures: One entry per reference that could not be evaluated.
        notes: What the user should know and what is no failure.
        exit_code: 0, or 3 where a case failed.
        threshold: Where the masks were cut, as far as their manifest says so.
    """

    summary: Summary
    failures: list[dict[str, str | None]]
    notes: list[str]
    exit_code: int
    threshold: Threshold | None


def evaluate_folders(
    predictions: Path,
    references: Path,
    output: Path,
    *,
    config: Mapping[str, Any],
    reference_kind: ReferenceKind,
    min_overlap: float,
    annotations: Path | None = None,
    only_predicted: bool = False,
    cut_of: CutOf | None = None,
    track: Track = iter,
) -> Evaluation:
    """Evaluates every reference that has a prediction and writes the tables.

    Writes `metrics.csv` (a row a case), `reference_nodes.csv` (a row a node), `summary.json`,
    `manifest.json`, where `nodes.csv` beside the predictions tells how certain each of their nodes
    is `froc.csv`, where masks at other thresholds are given `thresholds.csv`, and, where a case
    failed, `failures.json`.

    Args:
        predictions: Folder of binary masks under test.
        references: Folder of reference labels.
        output: Folder to write to.
        config: The resolved configuration, for the manifest.
        reference_kind: Whether the references are binary or number their nodes.
        min_overlap: Share of a node's voxels that makes it detected, in (0, 1].
        annotations: Folder of the partial labels used in training.
        only_predicted: References without a prediction are of no interest, and do not fail.
        cut_of: Gives the masks at other thresholds, for `thresholds.csv`.
        track: Shows progress: gets the cases, gives them back one by one.

    Raises:
        UsageError: The folders do not fit together, or the output folder is one of them, cannot be
            written or is in use.
    """
    folders = [f for f in (predictions, references, annotations) if f is not None]
    if output.resolve() in [f.resolve() for f in folders]:
        raise UsageError("the output folder holds the masks", where=f"output={output}")
    matches, unused = match_cases(predictions, references, annotations)
    if only_predicted:
        matches = [match for match in matches if match.prediction is not None]
    threshold = _threshold(predictions)
    with sole_user(output):
        nodes_by_mask, why = _predicted_nodes(predictions)
        done, failures = _evaluate_all(
            track(matches), reference_kind, min_overlap, nodes_by_mask, cut_of
        )
        metrics = metrics_table([one.measured.metrics for one in done])
        nodes = nodes_table([node for one in done for node in one.measured.nodes])
        curve, froc = (None, None) if _unscored(done) else _froc(done)
        cuts = [one.measured.cuts for one in done if one.measured.cuts is not None]
        others = thresholds_table(cuts) if cuts else None
        summary = summarise(
            metrics, nodes, len(failures.entries), froc,
            None if others is None else other_thresholds(others),
        )  # fmt: skip
        notes = _notes(unused, [one.match for one in done], annotations)
        if why is None and nodes_by_mask and (unknown := _unscored(done)):
            why = f"nodes.csv knows nothing of {len(unknown)} masks: {', '.join(unknown[:3])}"
        notes += [] if why is None else [f"no FROC: {why}"]
        exit_code = write_evaluation(
            output, config, metrics=metrics, nodes=nodes, froc=curve, thresholds=others,
            summary=summary, failures=failures,
            predictions=predictions.resolve(), references=references.resolve(),
            annotations=None if annotations is None else annotations.resolve(),
            reference_kind=reference_kind, min_overlap=min_overlap, notes=notes,
            cases=[one.files for one in done], threshold=threshold,
        )  # fmt: skip
    return Evaluation(summary, failures.entries, notes, exit_code, threshold)


def _threshold(predictions: Path) -> Threshold | None:
    """Masks of another program have no manifest, or one that says something else."""
    try:
        return threshold_of(read_predicted(predictions)[0])
    except (LnqError, ValueError):
        return None


@dataclass(frozen=True)
class _Done:
    """A case that went well."""

    match: Match
    files: CaseFiles
    measured: CaseEvaluation


def _evaluate_all(
    matches: Iterable[Match],
    reference_kind: ReferenceKind,
    min_overlap: float,
    nodes_by_mask: Mapping[str, Sequence[FoundNode]],
    cut_of: CutOf | None,
) -> tuple[list[_Done], FailureLog]:
    """The cases that went well, and the others' faults."""
    done: list[_Done] = []
    failures = FailureLog()
    for match in matches:
        nodes = nodes_by_mask.get(match.prediction.name) if match.prediction else None
        try:
            with memory_for(match.reference), _used(match) as files:
                measured = evaluate_case(match, reference_kind, min_overlap, nodes, cut_of)
        except CaseError as error:
            failures.add(match.case, error)
            continue
        done.append(_Done(match, files, measured))
    return done, failures


def _predicted_nodes(predictions: Path) -> tuple[Mapping[str, Sequence[FoundNode]], str | None]:
    """What `nodes.csv` beside the masks says of each; and why nothing, where it is unusable."""
    try:
        return nodes_of_masks(predictions) or {}, None
    except UsageError as error:
        return {}, str(error)


def _unscored(done: Sequence[_Done]) -> list[str]:
    """The masks of which `nodes.csv` says nothing, or which are not those that it is of."""
    return [one.files.prediction.name for one in done if one.measured.detections is None]


def _froc(done: Sequence[_Done]) -> tuple[pd.DataFrame | None, Froc | None]:
    """Of cases that all have scores; None where no reference has a node."""
    cases = [one.measured.detections for one in done if one.measured.detections is not None]
    if not any(case.nodes for case in cases):
        return None, None
    curve = froc_curve(cases)
    return curve, froc_of(curve, cases)


@contextmanager
def _used(match: Match) -> Iterator[CaseFiles]:
    """Where a case's files lie and what is in them, also when the block has read them.

    Raises:
        CaseError: There is no prediction; a file is missing, or changed meanwhile.
    """
    partial = match.annotation
    with (
        unchanged(match.reference) as reference,
        unchanged(prediction_of(match)) as prediction,
        nullcontext() if partial is None else unchanged(partial) as annotation,
    ):
        yield CaseFiles(
            match.case,
            match.reference.resolve(),
            prediction_of(match).resolve(),
            None if partial is None else partial.resolve(),
            Hashes(reference, prediction, annotation),
        )


def _notes(unused: Sequence[Path], done: Sequence[Match], annotations: Path | None) -> list[str]:
    notes = []
    if unused:
        names = ", ".join(path.name for path in unused[:3])
        notes.append(f"{len(unused)} predictions have no reference and were ignored: {names}")
    without = [match.case for match in done if match.annotation is None]
    if annotations is not None and without:
        names = ", ".join(without[:3])
        notes.append(
            f"{len(without)} cases have no annotation in {annotations}, so it is unknown which of "
            f"their nodes were annotated: {names}"
        )
    return notes
