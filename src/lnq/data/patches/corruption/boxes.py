"""Boxes inside a patch: windows of the shuffling, painted and kept regions."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lnq.data.patches.corruption.base import Shape
from lnq.volume import Array


def draw_boxes(
    shape: Shape, count: int, low: Array, high: Array, border: int, rng: np.random.Generator
) -> Array:
    """Boxes with uniform sides at uniform places.

    Args:
        shape: Of the patch, z, y, x.
        count: How many.
        low: Smallest side along each axis, voxels.
        high: Largest.
        border: Voxels that the boxes keep from the patch's border where there is room.
        rng: Where they come from.

    Returns:
        (count, 2, 3) int32: first voxel and the one past the last.
    """
    extent = np.asarray(shape)
    sides = rng.integers(low, high, size=(count, 3), endpoint=True)
    margin = np.minimum(border, (extent - sides) // 2)
    start = rng.integers(margin, extent - sides - margin, endpoint=True)
    return np.stack([start, start + sides], axis=1).astype(np.int32)


def sides_of(shape: Shape, share: float) -> Array:
    """This share of the patch's sides, cut off to whole voxels, at least one."""
    return np.maximum(1, (np.asarray(shape) * share).astype(int))


def slices(boxes: Array) -> Iterator[tuple[slice, slice, slice]]:
    """The boxes as indices of a patch."""
    # Column by column: ten thousand little lists would call Python's garbage collector.
    columns = np.asarray(boxes).reshape(-1, 6).T.tolist()
    for z, y, x, z_stop, y_stop, x_stop in zip(*columns, strict=True):
        yield slice(z, z_stop), slice(y, y_stop), slice(x, x_stop)
