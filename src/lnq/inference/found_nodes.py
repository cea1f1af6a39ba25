"""The nodes of a predicted mask, one by one: where, how large, how certain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from lnq.box import Box
from lnq.inference.predictor import Prediction
from lnq.inference.restore import to_scan_grid
from lnq.node_shape import NodeShape, measure_shape
from lnq.tables import write_table
from lnq.volume import Volume, components, reorient

NODES = "nodes.csv"
ENLARGED_MM = 10.0
"""Short axis from which on RECIST 1.1 calls a lymph node pathological."""


@dataclass(frozen=True)
class FoundNode(NodeShape):
    """One 26-connected piece of a predicted mask; a row of `nodes.csv`, with its place and size.

    Attributes:
        mean_hu: Mean of the scan in it, HU.
        mean_probability: Mean of the main branch's probability in it, in [0, 1].
        disagreement: Mean of |p_main - p_aux| in it, in [0, 1]; None where the auxiliary branch
            was not evaluated. The difference and not the KL divergence of Eq. 8: it has
            probability's own scale, favours neither branch, and is not ruled by the few voxels in
            which one of them is nearly certain.
        enlarged: Whether the short axis is at least `ENLARGED_MM`.
    """

    mean_hu: float
    mean_probability: float
    disagreement: float | None
    enlarged: bool


def found_nodes(prediction: Prediction, scan: Volume) -> list[FoundNode]:
    """Measures the nodes of a mask.

    Args:
        prediction: What the network said of the scan.
        scan: HU, on the mask's grid.

    Returns:
        The nodes, the largest first. Neither order nor measures depend on how the scan's axes are
        stored.
    """
    # Pieces are looked for in the box around all of them: the rest of a scan is mostly empty.
    whole = Box.around(prediction.mask.array)
    if whole.is_empty:
        return []
    pieces, _ = components(prediction.mask.array[whole.slices])
    nodes = []
    for number, inner in enumerate(ndimage.find_objects(pieces), start=1):
        box = tuple(
            slice(first + i.start, first + i.stop)
            for first, i in zip(whole.start, inner, strict=True)
        )
        nodes.append(_measured(pieces[inner] == number, box, prediction, scan))
    return sorted(
        nodes, key=lambda n: (-n.voxels, n.centroid_z_mm, n.centroid_y_mm, n.centroid_x_mm)
    )


def write_nodes(path: Path, cases: Sequence[tuple[str, Sequence[FoundNode]]]) -> None:
    """Writes the table of all nodes: case, number within the case from 1 on, measures."""
    rows = [
        {"case": case, "node": number, **asdict(node)}
        for case, nodes in cases
        for number, node in enumerate(nodes, start=1)
    ]
    columns = ["case", "node", *(field.name for field in fields(FoundNode))]
    table = pd.DataFrame(rows, columns=columns)
    write_table(path, table, float_format="%.6g")


def _measured(
    mask: np.ndarray, box: tuple[slice, ...], prediction: Prediction, scan: Volume
) -> FoundNode:
    grid = scan.grid.crop([s.start for s in box], [s.stop for s in box])
    upright = reorient(Volume(mask, grid))
    probability = prediction.probability.array[box][mask]
    disagreement = None
    if prediction.aux_probability is not None:
        aux = to_scan_grid(prediction.aux_probability, grid).array[mask]
        disagreement = float(np.abs(probability - aux).mean(dtype=np.float64))
    shape = measure_shape(upright.array > 0, upright.grid)
    return FoundNode(
        **asdict(shape),
        mean_hu=float(scan.array[box][mask].mean(dtype=np.float64)),
        mean_probability=float(probability.mean(dtype=np.float64)),
        disagreement=disagreement,
        enlarged=shape.short_axis_mm >= ENLARGED_MM,
    )
