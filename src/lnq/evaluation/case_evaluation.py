"""One case: its masks read onto one grid, and measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lnq.data.case import first_path
from lnq.data.readers import Scan, read_label, require_printable
from lnq.errors import CaseError
from lnq.evaluation.case_metrics import CaseMetrics
from lnq.evaluation.froc import Detections, detections, piece_scores
from lnq.evaluation.matching import Match
from lnq.evaluation.metrics import (
    assd_of,
    dice,
    hd95_of,
    node_f1,
    nsd_of,
    precision,
    recall,
    surface_distances,
)
from lnq.evaluation.nodes import (
    ReferenceKind,
    ReferenceNode,
    false_positives,
    label_nodes,
    measure_nodes,
)
from lnq.evaluation.other_thresholds import CutMeasures, CutOf, measure_cuts
from lnq.predictions import FoundNode
from lnq.volume import Mask, reorient


@dataclass(frozen=True)
class CaseEvaluation:
    """What was measured of a case.

    Attributes:
        metrics: Its row of `metrics.csv`.
        nodes: The reference's nodes.
        detections: How certain they and the false positives are; None where nobody knows.
        cuts: The masks at other thresholds; None where they were not asked for.
    """

    metrics: CaseMetrics
    nodes: list[ReferenceNode]
    detections: Detections | None
    cuts: CutMeasures | None = None


def evaluate_case(
    match: Match,
    reference_kind: ReferenceKind,
    min_overlap: float,
    predicted_nodes: Sequence[FoundNode] | None = None,
    cut_of: CutOf | None = None,
) -> CaseEvaluation:
    """Measures one case.

    Args:
        match: Its files.
        reference_kind: Whether the reference is binary or numbers its nodes.
        min_overlap: Share of a node's voxels that makes it detected, in (0, 1].
        predicted_nodes: The prediction's rows of `nodes.csv`, where they are known.
        cut_of: Gives the prediction at other thresholds, to measure it there too.

    Raises:
        CaseError: There is no prediction, a file cannot be read, or the grids differ.
    """
    prediction = prediction_of(match)
    require_printable(match.reference)
    label = reorient(read_label(match.reference, kind=reference_kind))
    voxels = Scan(match.reference, label.grid)
    predicted = mask_on(voxels, prediction, "binary")
    annotation = None
    if match.annotation is not None:  # partial labels often number their instances
        annotation = mask_on(voxels, match.annotation, "instances")
    reference = label.array > 0
    numbered = label_nodes(label.array, reference_kind)
    nodes = measure_nodes(
        match.case, numbered, predicted, label.grid,
        min_overlap=min_overlap, annotation=annotation,
    )  # fmt: skip
    distances = surface_distances(predicted, reference, label.grid.spacing_mm)
    detected = sum(node.detected for node in nodes)
    pieces, wrong = false_positives(predicted, reference)
    scores = None
    if predicted_nodes is not None:
        scores = piece_scores(pieces, label.grid, predicted_nodes)
    voxel_ml = label.grid.voxel_volume_mm3 / 1000
    row = CaseMetrics(
        case=match.case,
        dice=dice(predicted, reference),
        precision=precision(predicted, reference),
        recall=recall(predicted, reference),
        assd_mm=assd_of(distances),
        hd95_mm=hd95_of(distances),
        nsd=nsd_of(distances),
        node_f1=node_f1(len(nodes), detected, len(wrong)),
        reference_ml=float(np.count_nonzero(reference) * voxel_ml),
        prediction_ml=float(np.count_nonzero(predicted) * voxel_ml),
        nodes=len(nodes),
        nodes_detected=detected,
        false_positives=len(wrong),
    )
    scored = None if scores is None else detections(numbered, pieces, wrong, scores, min_overlap)
    cuts = None if cut_of is None else measure_cuts(cut_of(prediction), numbered, min_overlap)
    return CaseEvaluation(row, nodes, scored, cuts)


def mask_on(reference: Scan, path: Path, kind: ReferenceKind) -> Mask:
    """A file's foreground, in the reference's axis order.

    An image's grid must be the reference's; a DICOM-SEG's frames, of which only some slices need
    have one, are put where they belong on it.

    Args:
        reference: File and grid that it must be on.
        path: The mask.
        kind: Whether it is binary or numbers its nodes.

    Raises:
        CaseError: It cannot be read, or lies on another grid.
    """
    volume = reorient(read_label(path, kind=kind, scan=reference))
    difference = volume.grid.difference(reference.grid)
    if difference is not None:
        raise CaseError(
            f"not on the grid of {first_path(reference.path).name}", where=path, why=difference,
            remedy="write the mask on the scan's own grid",
        )  # fmt: skip
    mask: Mask = volume.array > 0
    return mask


def prediction_of(match: Match) -> Path:
    """The mask under test.

    Raises:
        CaseError: There is none.
    """
    if match.prediction is None:
        raise CaseError(
            "no prediction", where=match.case, why=f"{match.reference} has no counterpart",
            remedy="predict this case, or take its reference out of the folder",
        )  # fmt: skip
    return match.prediction
