"""What the pictures of a case show: the scan, and what each run found, missed and made up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lnq.box import Box
from lnq.data.readers import Scan, read_image, read_label
from lnq.errors import CaseError
from lnq.evaluation import ReferenceKind, false_positives, label_nodes
from lnq.evaluation.case_evaluation import mask_on
from lnq.reporting.evaluations import ShownEvaluation
from lnq.volume import Array, Mask, Volume, reorient


@dataclass(frozen=True)
class Line:
    """How one kind of outline is drawn and what it means; `style.css` has its look."""

    colour: str
    dashes: str
    width: float
    meaning: str


BACKGROUND = "background"
# Okabe and Ito's colours; dashes, widths and hatching tell the kinds apart without any colour.
LINES: Mapping[str, Line] = {
    "found": Line("#56B4E9", "", 2.2, "reference node, found"),
    "missed": Line("#E69F00", "", 2.8, "reference node, missed (hatched)"),
    "prediction": Line("#F0E442", "6 4", 2.0, "prediction"),
    "false_positive": Line("#CC79A7", "9 3 2 3", 2.8, "prediction that touches no reference node"),
    "annotated": Line("#FFFFFF", "1.5 3", 1.8, "annotated for training"),
    BACKGROUND: Line("#009E73", "", 0.0, "masks of background (tint)"),
}


@dataclass(frozen=True)
class Layers:
    """Masks of one run in the box that holds them all, so that they stay small.

    Attributes:
        box: Where they lie in the scan, `z y x`.
        masks: By the keys of `LINES`.
    """

    box: Box
    masks: Mapping[str, Mask]


@dataclass(frozen=True)
class Scene:
    """One scan, axes in LPS order, and what lies on it.

    Attributes:
        image: HU.
        layers: By the place of the run in the report.
        backgrounds: By the place of the run: masks of background `z y x` in its store; they lie
            all over the scan, and what is shown of it does not depend on them.
        problems: By the place of the run: why it has no layers.
    """

    image: Volume
    layers: dict[int, Layers] = field(default_factory=dict)
    backgrounds: dict[int, Mask] = field(default_factory=dict)
    problems: dict[int, str] = field(default_factory=dict)


def read_scene(case: str, evaluations: Mapping[int, ShownEvaluation]) -> Scene:
    """Reads one case for the runs that share its scan.

    Args:
        case: Id of the case; all evaluations have it.
        evaluations: By the place of the run.

    Raises:
        CaseError: The scan cannot be read, or no manifest names it.
    """
    shown = next(iter(evaluations.values())).scans.get(case)
    if shown is None:
        raise CaseError("the predictions' manifest names no scan for this case")
    scene = Scene(reorient(read_image(shown.image)))
    references: dict[Path, Volume] = {}
    for number, evaluation in evaluations.items():
        try:
            scene.layers[number] = _layers(case, evaluation, scene.image, references)
        except CaseError as error:
            scene.problems[number] = str(error)
        mask = _background(case, evaluation, scene.image)
        if mask is not None:
            scene.backgrounds[number] = mask
    return scene


def layers_of(
    reference: Array,
    prediction: Mask,
    annotation: Mask | None,
    detected: Mapping[int, bool],
    *,
    kind: ReferenceKind,
) -> Layers:
    """Sorts reference and prediction into what was found, missed and wrong.

    Args:
        reference: Label `z y x`.
        prediction: Boolean mask `z y x`.
        annotation: Partial label used in training, `z y x`, if any.
        detected: Per node number of the evaluation, whether it was detected.
        kind: Whether the label is binary or numbers its nodes.

    Raises:
        CaseError: The reference has other nodes than the evaluation lists.
    """
    everything = (reference > 0) | prediction
    if annotation is not None:
        everything |= annotation
    # Nodes fill little of a scan: what follows happens in the box that holds all of them.
    box = Box.around(everything)
    label, mask = reference[box.slices], prediction[box.slices]
    nodes = label_nodes(label, kind)
    if set(np.unique(nodes)) - {0} != set(detected):
        raise CaseError(
            "the reference has changed since it was evaluated", remedy="run evaluate again"
        )
    found = np.isin(nodes, [number for number, hit in detected.items() if hit])
    wrong = np.isin(*false_positives(mask, label > 0))
    masks = {
        "found": found,
        "missed": (label > 0) & ~found,
        "prediction": mask & ~wrong,
        "false_positive": wrong,
    }
    if annotation is not None:
        masks["annotated"] = annotation[box.slices]
    return Layers(box, masks)


def _background(case: str, evaluation: ShownEvaluation, image: Volume) -> Mask | None:
    scan = evaluation.scans.get(case)
    if evaluation.known is None or scan is None:
        return None
    return evaluation.known.on(scan.image_sha256, image.grid)


def _layers(
    case: str, evaluation: ShownEvaluation, image: Volume, references: dict[Path, Volume]
) -> Layers:
    """Reads what one run's layers need; `references` keeps labels that several runs share."""
    files, kind = evaluation.cases[case], evaluation.facts.reference_kind
    if files.reference not in references:
        label = reorient(read_label(files.reference, kind=kind))
        references[files.reference] = _on_grid(label, image, files.reference)
    voxels = Scan(files.reference, image.grid)
    prediction = mask_on(voxels, files.prediction, "binary")
    annotation = None
    if files.annotation is not None:
        annotation = mask_on(voxels, files.annotation, "instances")
    nodes = evaluation.nodes[evaluation.nodes["case"] == case]
    return layers_of(
        references[files.reference].array, prediction, annotation,
        dict(zip(nodes["node"], nodes["detected"], strict=True)),
        kind=kind,
    )  # fmt: skip


def occupied(layers: Sequence[Layers]) -> Box | None:
    """The box around all layers; None where nothing is marked."""
    boxes = [each.box for each in layers if not each.box.is_empty]
    if not boxes:
        return None
    return Box(
        tuple(min(axis) for axis in zip(*(box.start for box in boxes), strict=True)),
        tuple(max(axis) for axis in zip(*(box.stop for box in boxes), strict=True)),
    )


def _on_grid(label: Volume, image: Volume, path: Path) -> Volume:
    difference = label.grid.difference(image.grid)
    if difference is not None:
        raise CaseError("not on the scan's grid", where=path, why=difference)
    return label
