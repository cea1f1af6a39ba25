"""Nodes one by one: which there are, how large they are, which were found.

A node is a 26-connected component of a binary reference, or one value of an instance label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage

from lnq.node_shape import measure_shape
from lnq.volume import Array, Grid, Mask, components

ReferenceKind = Literal["binary", "instances"]
Labels = NDArray[np.integer]

_ANNOTATED_SHARE = 0.5


@dataclass(frozen=True)
class ReferenceNode:
    """A node of a reference and what the prediction made of it; a row of `reference_nodes.csv`.

    Attributes:
        case: Id of the case.
        node: Number of the component, or value of the instance.
        voxels: Size in voxels.
        volume_mm3: Size in mm³.
        short_axis_mm: Short axis, see `lnq.node_shape.axes_mm`.
        long_axis_mm: Long axis.
        centroid_x_mm: Mean position towards the patient's left (LPS), mm.
        centroid_y_mm: Mean position towards the patient's back, mm.
        centroid_z_mm: Mean position towards the patient's head, mm.
        overlap: Share of the node's voxels that are predicted, in [0, 1].
        detected: Whether `overlap` reaches the threshold.
        annotated: Whether the training's partial annotation holds the node; None where unknown.
    """

    case: str
    node: int
    voxels: int
    volume_mm3: float
    short_axis_mm: float
    long_axis_mm: float
    centroid_x_mm: float
    centroid_y_mm: float
    centroid_z_mm: float
    overlap: float
    detected: bool
    annotated: bool | None


def label_nodes(reference: Array, kind: ReferenceKind) -> Labels:
    """Numbers the nodes of a reference.

    Args:
        reference: Label `z y x`, integer >= 0 or boolean; 0 is background.
        kind: `binary` = nodes are 26-connected components; `instances` = each value is a node.

    Returns:
        Integers `z y x`: 0 outside, else the node's number.

    Examples:
        >>> reference = np.array([[[3, 0, 0, 7], [0, 3, 0, 5]]])
        >>> label_nodes(reference, "binary").tolist()  # corners touch, values do not matter
        [[[1, 0, 0, 2], [0, 1, 0, 2]]]
        >>> label_nodes(reference, "instances").tolist()
        [[[3, 0, 0, 7], [0, 3, 0, 5]]]
    """
    if kind == "instances":
        return reference
    return components(reference > 0)[0]


def measure_nodes(
    case: str,
    labels: Labels,
    prediction: Mask,
    grid: Grid,
    *,
    min_overlap: float,
    annotation: Mask | None = None,
) -> list[ReferenceNode]:
    """Measures every node of one case.

    A node counts as detected where at least `min_overlap` of its voxels are predicted. The measure
    is the node's own recall, not an IoU, because one predicted region may rightly cover several
    touching nodes; that predicting everything would score 1 is why false positive components and
    precision always stand beside it.

    Args:
        case: Id of the case.
        labels: Numbered nodes `z y x`, as `label_nodes` gives.
        prediction: Boolean mask `z y x`.
        grid: The grid of both, its first axis from foot to head.
        min_overlap: Share of a node that makes it detected, in (0, 1].
        annotation: The partial label used in training, `z y x`; a node is annotated where at least
            half of its voxels are.

    Returns:
        The nodes in the order of their numbers.
    """
    nodes = []
    boxes = enumerate(ndimage.find_objects(labels), start=1)
    for number, box in ((n, b) for n, b in boxes if b):  # none for a value that no voxel has
        mask = labels[box] == number
        shape = measure_shape(mask, grid.crop([s.start for s in box], [s.stop for s in box]))
        overlap = float(np.count_nonzero(prediction[box] & mask) / shape.voxels)
        annotated = (
            None if annotation is None
            else bool(np.count_nonzero(annotation[box] & mask) >= _ANNOTATED_SHARE * shape.voxels)
        )  # fmt: skip
        nodes.append(
            ReferenceNode(
                case, number, **asdict(shape), overlap=overlap, detected=overlap >= min_overlap,
                annotated=annotated,
            )
        )  # fmt: skip
    return nodes


def false_positives(prediction: Mask, reference: Mask) -> tuple[Labels, NDArray[np.integer]]:
    """The pieces of a prediction, and those that touch no reference: false positives.

    A piece is a 26-connected component; one that shares a voxel with the reference touches it.

    Args:
        prediction: Boolean mask `z y x`.
        reference: Boolean mask `z y x`.

    Returns:
        All pieces numbered from 1 on, 0 outside; and the numbers of the false positives.

    Examples:
        >>> prediction = np.array([[[True, True, False, True, False, True]]])
        >>> reference = np.array([[[False, True, False, False, False, False]]])
        >>> pieces, wrong = false_positives(prediction, reference)
        >>> pieces.tolist(), wrong.tolist()
        ([[[1, 1, 0, 2, 0, 3]]], [2, 3])
    """
    pieces, count = components(prediction)
    return pieces, np.setdiff1d(np.arange(1, count + 1), pieces[reference])


def nodes_table(nodes: Sequence[ReferenceNode]) -> pd.DataFrame:
    """The nodes as a table; `annotated` is a nullable boolean, empty where unknown."""
    table = pd.DataFrame(
        [asdict(n) for n in nodes], columns=[f.name for f in fields(ReferenceNode)]
    )
    return table.astype({"detected": bool, "annotated": "boolean"})


def voxel_recall(nodes: pd.DataFrame) -> float | None:
    """Share of the nodes' voxels that is predicted; None without nodes.

    Args:
        nodes: With the columns of `reference_nodes.csv`.
    """
    voxels = int(nodes["voxels"].sum())
    return float((nodes["overlap"] * nodes["voxels"]).sum()) / voxels if voxels else None
