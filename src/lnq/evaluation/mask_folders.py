"""Evaluating a folder of predictions against a folder of references."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lnq.data.readers import Scan, read_label, require_printable, unchanged
from lnq.errors import CaseError, UsageError, memory_for
from lnq.evaluation.case_metrics import CaseMetrics, metrics_table
from lnq.evaluation.evaluation_record import CaseFiles, Hashes, write_evaluation
from lnq.evaluation.matching import Match, match_cases
from lnq.evaluation.metrics import (
    Mask,
    assd_of,
    dice,
    hd95_of,
    node_f1,
    nsd_of,
    precision,
    recall,
    surface_distances,
)  # fmt: skip
from lnq.evaluation.nodes import (
    ReferenceKind,
    ReferenceNode,
    false_positives,
    label_nodes,
    measure_nodes,
    nodes_table,
)
from lnq.evaluation.summary import Summary, summarise
from lnq.files import FailureLog, sole_user
from lnq.volume import reorient

Track = Callable[[Sequence[Match]], Iterable[Match]]


@dataclass(frozen=True)
class Evaluation:
    """What an evaluation found; the same as its files say.

    Attributes:
        summary: Content of `summary.json`.
        failures: One entry per reference that could not be evaluated.
        notes: What the user should know and what is no failure.
        exit_code: 0, or 3 where a case failed.
    """

    summary: Summary
    failures: list[dict[str, str | None]]
    notes: list[str]
    exit_code: int


def evaluate_folders(
    predictions: Path,
    references: Path,
    output: Path,
    *,
    config: Mapping[str, Any],
    reference_kind: ReferenceKind,
    min_overlap: float,
    annotations: Path | None = None,
    track: Track = iter,
) -> Evaluation:
    """Evaluates every reference that has a prediction and writes the tables.

    Writes `metrics.csv` (a row a case), `reference_nodes.csv` (a row a node), `summary.json`,
    `manifest.json` and, where a case failed, `failures.json`.

    Args:
        predictions: Folder of binary masks under test.
        references: Folder of reference labels.
        output: Folder to write to.
        config: The resolved configuration, for the manifest.
        reference_kind: Whether the references are binary or number their nodes.
        min_overlap: Share of a node's voxels that makes it detected, in (0, 1].
        annotations: Folder of the partial labels used in training.
        track: Shows progress: gets the cases, gives them back one by one.

    Raises:
        UsageError: The folders do not fit together, or the output folder is one of them, cannot be
            written or is in use.
    """
    folders = [f for f in (predictions, references, annotations) if f is not None]
    if output.resolve() in [f.resolve() for f in folders]:
        raise UsageError("the output folder holds the masks", where=f"output={output}")
    matches, unused = match_cases(predictions, references, annotations)
    with sole_user(output):
        rows, nodes, done, failures = _evaluate_all(track(matches), reference_kind, min_overlap)
        metrics, node_rows = metrics_table(rows), nodes_table(nodes)
        summary = summarise(metrics, node_rows, len(failures.entries))
        notes = _notes(unused, [match for match, _ in done], annotations)
        exit_code = write_evaluation(
            output, config, metrics=metrics, nodes=node_rows, summary=summary, failures=failures,
            predictions=predictions.resolve(), references=references.resolve(),
            annotations=None if annotations is None else annotations.resolve(),
            reference_kind=reference_kind, min_overlap=min_overlap, notes=notes,
            cases=[files for _, files in done],
        )  # fmt: skip
    return Evaluation(summary, failures.entries, notes, exit_code)


def _evaluate_all(
    matches: Iterable[Match], reference_kind: ReferenceKind, min_overlap: float
) -> tuple[list[CaseMetrics], list[ReferenceNode], list[tuple[Match, CaseFiles]], FailureLog]:
    """Rows, nodes and files of the cases that went well, and the others' faults."""
    rows: list[CaseMetrics] = []
    nodes: list[ReferenceNode] = []
    done: list[tuple[Match, CaseFiles]] = []
    failures = FailureLog()
    for match in matches:
        try:
            with memory_for(match.reference), _used(match) as files:
                row, case_nodes = evaluate_case(match, reference_kind, min_overlap)
        except CaseError as error:
            failures.add(match.case, error)
            continue
        rows.append(row)
        nodes.extend(case_nodes)
        done.append((match, files))
    return rows, nodes, done, failures


def evaluate_case(
    match: Match, reference_kind: ReferenceKind, min_overlap: float
) -> tuple[CaseMetrics, list[ReferenceNode]]:
    """Measures one case.

    Args:
        match: Its files.
        reference_kind: Whether the reference is binary or numbers its nodes.
        min_overlap: Share of a node's voxels that makes it detected, in (0, 1].

    Raises:
        CaseError: There is no prediction, a file cannot be read, or the grids differ.
    """
    prediction = _prediction(match)
    require_printable(match.reference)
    label = reorient(read_label(match.reference, kind=reference_kind))
    voxels = Scan(match.reference, label.grid)
    predicted = _mask_on(voxels, prediction, "binary")
    annotation = None
    if match.annotation is not None:  # partial labels often number their instances
        annotation = _mask_on(voxels, match.annotation, "instances")
    reference = label.array > 0
    nodes = measure_nodes(
        match.case, label_nodes(label.array, reference_kind), predicted, label.grid,
        min_overlap=min_overlap, annotation=annotation,
    )  # fmt: skip
    distances = surface_distances(predicted, reference, label.grid.spacing_mm)
    detected = sum(node.detected for node in nodes)
    wrong = len(false_positives(predicted, reference)[1])
    voxel_ml = label.grid.voxel_volume_mm3 / 1000
    row = CaseMetrics(
        case=match.case,
        dice=dice(predicted, reference),
        precision=precision(predicted, reference),
        recall=recall(predicted, reference),
        assd_mm=assd_of(distances),
        hd95_mm=hd95_of(distances),
        nsd=nsd_of(distances),
        node_f1=node_f1(len(nodes), detected, wrong),
        reference_ml=float(np.count_nonzero(reference) * voxel_ml),
        prediction_ml=float(np.count_nonzero(predicted) * voxel_ml),
        nodes=len(nodes),
        nodes_detected=detected,
        false_positives=wrong,
    )
    return row, nodes


def _mask_on(reference: Scan, path: Path, kind: ReferenceKind) -> Mask:
    """A file's foreground, in the reference's axis order.

    An image's grid must be the reference's; a DICOM-SEG's frames, of which only some slices need
    have one, are put where they belong on it.
    """
    volume = reorient(read_label(path, kind=kind, scan=reference))
    difference = volume.grid.difference(reference.grid)
    if difference is not None:
        raise CaseError(
            f"not on the grid of the reference {reference.path.name}", where=path, why=difference,
            remedy="write the mask on the scan's own grid",
        )  # fmt: skip
    mask: Mask = volume.array > 0
    return mask


def _prediction(match: Match) -> Path:
    if match.prediction is None:
        raise CaseError(
            "no prediction", where=match.case, why=f"{match.reference} has no counterpart",
            remedy="predict this case, or take its reference out of the folder",
        )  # fmt: skip
    return match.prediction


@contextmanager
def _used(match: Match) -> Iterator[CaseFiles]:
    """Where a case's files lie and what is in them, also when the block has read them.

    Raises:
        CaseError: There is no prediction; a file is missing, or changed meanwhile.
    """
    partial = match.annotation
    with (
        unchanged(match.reference) as reference,
        unchanged(_prediction(match)) as prediction,
        nullcontext() if partial is None else unchanged(partial) as annotation,
    ):
        yield CaseFiles(
            match.case,
            match.reference.resolve(),
            _prediction(match).resolve(),
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
