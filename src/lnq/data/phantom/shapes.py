"""The two solids every organ of the phantom is made of: tubes and lumpy ellipsoids.

Coordinates are patient millimetres with x to the left, y to the back, z to the head (LPS); the
carina is at about (0, 20, 0).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Tube:
    """A chain of round cones: a vessel, an airway, a bone shaft.

    Attributes:
        points: centre line, shape (n, 3), x y z in mm, n >= 2.
        radii: radius at each point, shape (n,), mm.
    """

    points: FloatArray
    radii: FloatArray

    def bounds(self, margin_mm: float) -> tuple[FloatArray, FloatArray]:
        """Returns the lower and upper corner (x y z, mm) of a box around the whole tube."""
        reach = self.radii[:, None] + margin_mm
        return (self.points - reach).min(axis=0), (self.points + reach).max(axis=0)

    def distance(self, points: FloatArray) -> FloatArray:
        """Signed distance in mm, negative inside, of points of shape (..., 3)."""
        start, step = self.points[:-1], np.diff(self.points, axis=0)
        length = np.sum(step * step, axis=-1)
        # |p - a - t s|^2 multiplied out: two matrix products instead of an array (..., n, 3).
        forth = points @ step.T - np.sum(start * step, axis=-1)
        apart = np.sum(points * points, axis=-1)[..., None] - 2 * points @ start.T
        apart = apart + np.sum(start * start, axis=-1)
        along = np.clip(forth / length, 0.0, 1.0)
        gap = np.sqrt(np.maximum(apart - 2 * along * forth + along * along * length, 0))
        radius = self.radii[:-1] + along * np.diff(self.radii)
        return np.asarray((gap - radius).min(axis=-1), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Ellipsoid:
    """An ellipsoid whose surface may be bumpy: a heart chamber or a lymph node.

    Attributes:
        centre: x y z in mm.
        semi_axes: three half lengths in mm.
        rotation: 3 x 3, its rows are the directions of the semi-axes.
        bumps: relative height of each surface wave, shape (m,); empty for a plain ellipsoid.
        waves: wave vectors on the unit sphere, shape (m, 3).
        phases: shape (m,), radians.
    """

    centre: FloatArray
    semi_axes: FloatArray
    rotation: FloatArray
    bumps: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))
    waves: FloatArray = field(default_factory=lambda: np.zeros((0, 3), np.float32))
    phases: FloatArray = field(default_factory=lambda: np.zeros(0, np.float32))

    def bounds(self, margin_mm: float) -> tuple[FloatArray, FloatArray]:
        """Returns the lower and upper corner (x y z, mm) of a box around the ellipsoid."""
        grown = self.semi_axes * np.float32(1 + self.bumps.sum())
        reach = np.sqrt(((self.rotation * grown[:, None]) ** 2).sum(axis=0)) + margin_mm
        return self.centre - reach, self.centre + reach

    def distance(self, points: FloatArray) -> FloatArray:
        """Approximate signed distance in mm, negative inside, of points of shape (..., 3)."""
        local = (points - self.centre) @ self.rotation.T
        if self.bumps.size:
            norm = np.linalg.norm(local, axis=-1, keepdims=True)
            angle = (local / np.maximum(norm, 1e-3)) @ self.waves.T + self.phases
            local = local / (1 + np.sin(angle) @ self.bumps)[..., None]
        scaled = local / self.semi_axes
        rho = np.maximum(np.linalg.norm(scaled, axis=-1), 1e-3)
        slope = np.maximum(np.linalg.norm(scaled / self.semi_axes, axis=-1), 1e-4)
        return np.asarray(rho * (rho - 1) / slope, dtype=np.float32)

    def surface(self, directions: FloatArray) -> FloatArray:
        """Returns the points (..., 3) where unit directions (..., 3, local axes) leave the body."""
        height = 1 + np.sin(directions @ self.waves.T + self.phases) @ self.bumps
        local = directions * self.semi_axes * height[..., None]
        return np.asarray(local @ self.rotation + self.centre, dtype=np.float32)


def smooth_tube(
    controls: NDArray[np.floating], radii: NDArray[np.floating], step_mm: float = 6.0
) -> Tube:
    """Lays a tube along a smooth curve through control points.

    Args:
        controls: shape (n, 3), x y z in mm, n >= 2.
        radii: radius at each control point, mm, shape (n,).
        step_mm: length of one straight piece.
    """
    controls = np.asarray(controls, dtype=np.float64)
    knots = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(controls, axis=0), axis=1))])
    count = max(2, int(np.ceil(knots[-1] / step_mm)) + 1)
    at = np.linspace(0.0, knots[-1], count)
    spline = make_interp_spline(knots, controls, k=min(2, len(controls) - 1))
    return Tube(
        points=spline(at).astype(np.float32),
        radii=np.interp(at, knots, radii).astype(np.float32),
    )


def random_rotation(rng: np.random.Generator) -> FloatArray:
    """Draws a rotation matrix uniformly from all rotations."""
    matrix, upper = np.linalg.qr(rng.standard_normal((3, 3)))
    matrix = matrix * np.sign(np.diag(upper))
    if np.linalg.det(matrix) < 0:
        matrix[0] = -matrix[0]
    return matrix.astype(np.float32)


def ellipsoid(
    centre: tuple[float, float, float], semi_axes: tuple[float, float, float], turn_deg: float = 0.0
) -> Ellipsoid:
    """Builds a plain ellipsoid turned by `turn_deg` about the body's long axis."""
    cos, sin = np.cos(np.deg2rad(turn_deg)), np.sin(np.deg2rad(turn_deg))
    return Ellipsoid(
        centre=np.array(centre, np.float32),
        semi_axes=np.array(semi_axes, np.float32),
        rotation=np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], np.float32),
    )
