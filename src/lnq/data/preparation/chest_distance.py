"""How far each place of a scan is from the lungs, what lies between them, and the body."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from scipy.spatial import ConvexHull, QhullError

from lnq.box import Box
from lnq.data.chest.lungs import Chest
from lnq.volume import Array, Grid, Mask, Volume

FARTHEST_MM = 255
LUNGS, BODY = 0, 1
"""Which of the stored distances is which."""


def chest_distances(chest: Chest, grid: Grid) -> tuple[Array, Grid]:
    """Distances on the voxels of about 3.5 mm on which a chest is found, cut to a scan's grid.

    Args:
        chest: Body and lungs; where one was not found, all its distances are 0: nothing is far.
        grid: The working grid; its axes run as those of `chest`.

    Returns:
        uint8 (2, z, y, x): millimetres to the nearest voxel of the lungs, or of what they enclose
        in a slice, and of the body; 0 inside, 255 for all that is farther; and the grid of its
        last three axes.
    """
    box = Box.covering(grid, chest.coarse.grid)
    masks = between(chest.lungs), chest.body
    far = np.stack([_distance(mask, chest.coarse.grid) for mask in masks])
    return far[(slice(None), *box.slices)], chest.coarse.grid.crop(box.start, box.stop)


def on_patch(distances: Volume, grid: Grid) -> Array:
    """The distance at the nearest coarse voxel of each voxel of a patch.

    Args:
        distances: One of `chest_distances`.
        grid: Of the patch: its axes run as those of `distances`; it may reach beyond them, where
            the distance at their edge holds on.
    """
    nearest = []
    for axis, (size, last) in enumerate(zip(grid.size, distances.grid.size, strict=True)):
        index = np.zeros((size, 3))
        index[:, axis] = np.arange(size)
        found = distances.grid.to_index(grid.to_world(index))[:, axis]
        nearest.append(np.clip(np.rint(found), 0, last - 1).astype(int))
    return distances.array[np.ix_(*nearest)]


def between(lungs: Mask) -> Mask:
    """The convex hull of a mask in each slice: lungs and, between them, the mediastinum.

    Args:
        lungs: Boolean `z y x`.

    Examples:
        >>> lungs = np.array([[[True, False, True], [True, False, True]]])
        >>> between(lungs).tolist()
        [[[True, True, True], [True, True, True]]]
    """
    filled = lungs.copy()
    voxels = np.indices(lungs.shape[1:]).reshape(2, -1)
    for mask, slice_ in zip(lungs, filled, strict=True):
        try:
            normals, offsets = np.split(ConvexHull(np.argwhere(mask)).equations, [2], axis=1)
        except (QhullError, ValueError):  # no voxel, or all on one line
            continue
        inside = (normals @ voxels + offsets <= 1e-6).all(axis=0)
        slice_ |= inside.reshape(mask.shape)
    return filled


def _distance(mask: Mask, grid: Grid) -> Array:
    if not mask.any():
        return np.zeros(mask.shape, np.uint8)
    far = ndimage.distance_transform_edt(~mask, sampling=grid.spacing_mm)
    return np.minimum(np.asarray(far), FARTHEST_MM).astype(np.uint8)
