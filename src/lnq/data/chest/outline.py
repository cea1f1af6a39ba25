"""Where a body's outline meets the scan's edges."""

from __future__ import annotations

import numpy as np

from lnq.volume import Mask

AIR_SHARE = 0.02  # a plane at the scan's edge that holds less body than this shows air


def ends(outline: Mask, axis: int) -> tuple[float, float]:
    """Share of body in the first and last plane along an axis, smaller one first."""
    first, last = (float(np.take(outline, at, axis=axis).mean()) for at in (0, -1))
    return min(first, last), max(first, last)


def whole_in_plane(outline: Mask) -> bool:
    """Whether air is seen on all four sides of the body."""
    return max(ends(outline, 1)[1], ends(outline, 2)[1]) <= AIR_SHARE
