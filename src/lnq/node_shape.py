"""Where a node lies and how large it is: one measure for references and for predictions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from lnq.volume import Grid, Mask


@dataclass(frozen=True)
class NodeShape:
    """Place and size of one node.

    Attributes:
        voxels: Size in voxels.
        volume_mm3: Size in mm³.
        short_axis_mm: Short axis, see `axes_mm`.
        long_axis_mm: Long axis, see `axes_mm`.
        centroid_x_mm: Mean position towards the patient's left (LPS), mm.
        centroid_y_mm: Mean position towards the patient's back, mm.
        centroid_z_mm: Mean position towards the patient's head, mm.
    """

    voxels: int
    volume_mm3: float
    short_axis_mm: float
    long_axis_mm: float
    centroid_x_mm: float
    centroid_y_mm: float
    centroid_z_mm: float


def measure_shape(mask: Mask, grid: Grid) -> NodeShape:
    """Place and size of one node.

    Args:
        mask: Boolean mask `z y x` of one node, not empty, its first axis from foot to head.
        grid: Its grid.
    """
    voxels = int(np.count_nonzero(mask))
    x, y, z = (float(v) for v in grid.to_world(np.argwhere(mask).mean(axis=0)))
    short, long = axes_mm(mask, grid.spacing_mm)
    return NodeShape(voxels, voxels * grid.voxel_volume_mm3, short, long, x, y, z)


def axes_mm(mask: Mask, spacing_mm: tuple[float, float, float]) -> tuple[float, float]:
    """Short and long axis of one node, as radiologists measure them.

    In the axial slice with the largest cross-section (the first of equals), the long axis is the
    longest line between two points of the outline, and the short axis is the node's full width
    across it, perpendicular to the long axis. The outline runs through the middles of the pixels'
    edges, so that a row of n pixels is n pixels long and a single pixel one pixel wide.

    Args:
        mask: Boolean mask `z y x` of one node, not empty, its first axis from foot to head.
        spacing_mm: Distance of voxel centres `(z, y, x)`, mm.

    Returns:
        Short axis and long axis, mm.

    Examples:
        >>> axes_mm(np.ones((1, 1, 1), dtype=bool), (3.0, 1.0, 1.0))
        (1.0, 1.0)
        >>> axes_mm(np.ones((1, 1, 5), dtype=bool), (3.0, 1.0, 0.8))
        (1.0, 4.0)
    """
    section = mask[np.argmax(mask.sum(axis=(1, 2)))]
    centres = np.argwhere(section)[:, None]
    edges = np.array([(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)])
    outline = ((centres + edges).reshape(-1, 2)) * np.asarray(spacing_mm[1:])
    corners = outline[ConvexHull(outline).vertices]
    apart = cdist(corners, corners)
    first, second = np.unravel_index(np.argmax(apart), apart.shape)
    along = (corners[second] - corners[first]) / apart[first, second]
    across = corners @ np.array([-along[1], along[0]])
    return float(np.ptp(across)), float(apart.max())
