"""Non-linear intensity change by a Bezier curve (Zhou et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnq.volume import Array

_SAMPLES = 1000


@dataclass(frozen=True)
class BezierCurve:
    """One drawn intensity map: cubic Bezier from (0, 0) to (1, 1) over two inner control points.

    Attributes:
        inner: The inner control points ((x1, y1), (x2, y2)), each coordinate in [0, 1].
        monotone: Sorted into an increasing map. Otherwise the values run along the curve from its
            bright end while the arguments are sorted from dark, which inverts the contrast, as the
            authors of Model Genesis do with every other curve.
    """

    inner: tuple[tuple[float, float], tuple[float, float]]
    monotone: bool

    @classmethod
    def draw(cls, rng: np.random.Generator) -> BezierCurve:
        """Uniform inner control points; half of the curves monotone."""
        (x1, y1), (x2, y2) = rng.random((2, 2)).tolist()
        return cls(((x1, y1), (x2, y2)), bool(rng.random() < 0.5))

    def apply(self, patch: Array, low: float, high: float) -> Array:
        """`patch` with intensities mapped; what lies outside [low, high] takes the end values.

        Args:
            patch: z y x.
            low: Intensity at the curve's start, the patch's 0.1 percentile for z-scored data.
            high: Intensity at its end, the 99.9 percentile.
        """
        points = np.array([(0.0, 0.0), *self.inner, (1.0, 1.0)])
        t = np.linspace(1.0, 0.0, _SAMPLES)[:, None]
        basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        x, y = (basis @ points).T
        x = np.sort(x)
        if self.monotone:
            y = np.sort(y)
        span = high - low
        mapped = np.interp(patch, low + span * x, low + span * y)
        return mapped.astype(patch.dtype, copy=False)
