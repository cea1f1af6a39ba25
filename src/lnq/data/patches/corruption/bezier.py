"""Non-linear intensity change by a Bezier curve (Zhou et al. 2021)."""

from __future__ import annotations

from typing import Any

import numpy as np

from lnq.data.patches.corruption.base import Corruption, RandomCorruption, Shape
from lnq.volume import Array

PERCENTILES = (0.1, 99.9)
"""Where the curve begins and ends: z-scored intensities have no fixed range.

See docs/explanation/method.md#pre-training-model-genesis."""

Points = tuple[tuple[float, float], tuple[float, float]]

_CURVE_POINTS = 10_000
_TABLE_STEPS = 2**16


class BezierIntensity(Corruption):
    """Maps intensities by a cubic Bezier curve from the 0.1 to the 99.9 percentile of the patch.

    What lies outside takes the end values. Intensities are looked up in a table of 65,536 steps
    between the end points, finer than the float16 of the store, which is faster than searching the
    curve for each voxel.

    Args:
        inner: The inner control points ((x1, y1), (x2, y2)) of the curve from (0, 0) to (1, 1),
            each coordinate in [0, 1].
        monotone: Sorted into an increasing map. Otherwise the values run along the curve from its
            bright end while the arguments are sorted from dark, which inverts the contrast, as the
            authors of Model Genesis do with every other curve.
        **base: Arguments of `torchio.Transform`.
    """

    def __init__(self, inner: Points, monotone: bool, **base: Any) -> None:
        super().__init__(**base)
        self.inner = inner
        self.monotone = monotone
        self.args_names = ["inner", "monotone"]

    def corrupt(self, patch: Array) -> Array:
        """`patch` (z y x) with intensities mapped."""
        work = patch.astype(np.result_type(patch, np.float32), copy=False)
        low, high = np.percentile(work, PERCENTILES).astype(work.dtype)
        if low == high:
            return np.full_like(patch, low)
        share = (np.clip(work, low, high) - low) / (high - low)
        table = low + (high - low) * self.values(np.linspace(0, 1, _TABLE_STEPS))
        steps = np.rint(share * (_TABLE_STEPS - 1)).astype(np.int32)
        return np.take(table.astype(patch.dtype), steps)

    def values(self, arguments: Array) -> Array:
        """The map itself from [0, 1] to [0, 1]."""
        points = np.array([(0.0, 0.0), *self.inner, (1.0, 1.0)])
        t = np.linspace(1.0, 0.0, _CURVE_POINTS)[:, None]
        basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        x, y = (basis @ points).T
        return np.interp(arguments, np.sort(x), np.sort(y) if self.monotone else y)


class RandomBezierIntensity(RandomCorruption):
    """Draws curves with uniform inner control points; half of them are monotone."""

    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> tuple[BezierIntensity]:
        """A curve; it does not depend on `shape`."""
        (x1, y1), (x2, y2) = rng.random((2, 2)).tolist()
        return (BezierIntensity(((x1, y1), (x2, y2)), bool(rng.random() < 0.5), **base),)
