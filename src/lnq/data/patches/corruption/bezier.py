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
_SAMPLE = 10_000


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
        low, high = _percentiles(work).astype(work.dtype)
        if low == high:
            return np.full_like(patch, low)
        table = low + (high - low) * self.values(np.linspace(0, 1, _TABLE_STEPS))
        table = table.astype(patch.dtype)
        mapped = np.empty_like(patch)
        share = np.empty_like(work[0])
        step = np.empty(share.shape, np.intp)
        for given, result in zip(work, mapped, strict=True):  # a slice stays in the cache
            np.clip(given, low, high, out=share)
            share -= low
            share /= high - low
            share *= _TABLE_STEPS - 1
            step[...] = np.rint(share, out=share)
            np.take(table, step, out=result, mode="clip")  # "raise" would copy
        return mapped

    def values(self, arguments: Array) -> Array:
        """The map itself from [0, 1] to [0, 1]."""
        points = np.array([(0.0, 0.0), *self.inner, (1.0, 1.0)])
        t = np.linspace(1.0, 0.0, _CURVE_POINTS)[:, None]
        basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        x, y = (basis @ points).T
        return np.interp(arguments, np.sort(x), np.sort(y) if self.monotone else y)


def _percentiles(patch: Array) -> Array:
    """`np.percentile(patch, PERCENTILES)`, to the bit; only the ends are put in order.

    What may be among them is guessed from a sample; where too little was, all is put in order.
    """
    flat = patch.ravel()
    dark, bright = np.percentile(flat[:: max(1, flat.size // _SAMPLE)], (1, 99))
    bottom, top = flat[flat <= dark], flat[flat >= bright]
    between, whole = np.modf(np.asarray(PERCENTILES) / 100 * (flat.size - 1))
    lower, upper = whole.astype(int) - (0, flat.size - top.size)
    if lower + 2 > bottom.size or upper < 0:
        return np.percentile(flat, PERCENTILES)
    neighbours = [
        np.partition(bottom, (lower, lower + 1))[lower : lower + 2],
        np.partition(top, (upper, upper + 1))[upper : upper + 2],
    ]
    return np.array([np.quantile(pair, q) for pair, q in zip(neighbours, between, strict=True)])


class RandomBezierIntensity(RandomCorruption):
    """Draws curves with uniform inner control points; half of them are monotone."""

    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> tuple[BezierIntensity]:
        """A curve; it does not depend on `shape`."""
        (x1, y1), (x2, y2) = rng.random((2, 2)).tolist()
        return (BezierIntensity(((x1, y1), (x2, y2)), bool(rng.random() < 0.5), **base),)
