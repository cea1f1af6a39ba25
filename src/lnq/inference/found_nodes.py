"""The nodes of a predicted mask, one by one: where, how large, how certain."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
from scipy import ndimage

from lnq.box import Box
from lnq.inference.predictor import Prediction
from lnq.inference.restore import to_scan_grid
from lnq.node_shape import measure_shape
from lnq.predictions import ENLARGED_MM, FoundNode
from lnq.volume import Volume, components, reorient


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
