"""Closed contours on a grid's slices."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lnq.volume import Array


def filled(contours: Sequence[Array], size_yx: tuple[int, int]) -> Array:
    """The pixels whose centres lie inside an odd number of contours.

    So a contour within another is a hole, an island in the hole is filled again, and a line that
    leads to a hole and back the same way encloses nothing.

    Args:
        contours: Each (points, 2): `y x` in pixels, pixel centres at whole numbers. The last point
            is joined to the first.
        size_yx: Rows and columns.

    Returns:
        bool `y x`.
    """
    rows, columns = size_yx
    # A crossing of an edge with a row turns inside to outside from its place on.
    turns = np.zeros((rows, columns + 1), np.int64)
    for contour in contours:
        for (y0, x0), (y1, x1) in zip(contour, np.roll(contour, -1, axis=0), strict=True):
            if y0 > y1:
                y0, x0, y1, x1 = y1, x1, y0, x0
            # Half-open in y: a vertex on a row belongs to one of its two edges, not to both.
            first, last = max(0, int(np.ceil(y0))), min(rows, int(np.ceil(y1)))
            row = np.arange(first, last)
            if len(row) == 0:
                continue
            crossing = x0 + (row - y0) * (x1 - x0) / (y1 - y0)
            np.add.at(turns, (row, np.clip(np.ceil(crossing), 0, columns).astype(int)), 1)
    return np.cumsum(turns, axis=1)[:, :columns] % 2 == 1
