"""The sampled space a phantom is drawn in: coordinates, distance fields, soft edges."""

from __future__ import annotations

import numpy as np

from lnq.data.phantom.shapes import Ellipsoid, FloatArray, Tube
from lnq.volume import Grid

_SUBSLICE_MM = 2.5
Slices = tuple[slice, slice, slice]


class Canvas:
    """A grid thinned along z into sub-slices, with patient coordinates of every point.

    Attributes:
        factor: sub-slices per slice.
        shape: `(z * factor, y, x)`.
        xyz: coordinates, shape (3, *shape), patient mm.
        soft_mm: width of a soft edge, about a pixel: the partial volume effect.
    """

    def __init__(self, grid: Grid, offset_mm: tuple[float, float, float]) -> None:
        self.factor = max(1, round(grid.spacing_mm[0] / _SUBSLICE_MM))
        self.shape = (grid.size[0] * self.factor, grid.size[1], grid.size[2])
        step = np.array([grid.spacing_mm[0] / self.factor, *grid.spacing_mm[1:]])
        axes = np.reshape(grid.direction, (3, 3))[:, ::-1]
        self._matrix = axes * step
        self._inverse = np.linalg.inv(self._matrix)
        first = np.array(grid.origin_mm) - np.array(offset_mm)
        self._start = first + axes[:, 0] * (step[0] - grid.spacing_mm[0]) / 2
        k, j, i = (np.arange(n, dtype=np.float32) for n in self.shape)
        m = self._matrix.astype(np.float32)
        self.xyz = np.stack(
            [
                (self._start[a].astype(np.float32) + m[a, 0] * k)[:, None, None]
                + (m[a, 1] * j)[:, None]
                + m[a, 2] * i
                for a in range(3)
            ]
        )
        self.soft_mm = float(max(step[1:].mean(), 0.8 * step[0]))

    def box(self, lower: FloatArray, upper: FloatArray) -> Slices | None:
        """Returns the slices that hold a patient box (x y z mm), whole slices; None if outside."""
        middle = self._inverse @ ((lower + upper) / 2 - self._start)
        half = np.abs(self._inverse) @ ((upper - lower) / 2)
        first = np.floor(middle - half).astype(int)
        last = np.ceil(middle + half).astype(int) + 1
        first[0] -= first[0] % self.factor
        last[0] += -last[0] % self.factor
        first, last = np.maximum(first, 0), np.minimum(last, self.shape)
        if (first >= last).any():
            return None
        return slice(first[0], last[0]), slice(first[1], last[1]), slice(first[2], last[2])

    def distance(
        self, shape: Tube | Ellipsoid, margin_mm: float
    ) -> tuple[Slices, FloatArray] | None:
        """Returns the signed distance to a solid in a box with that margin, or None if outside."""
        box = self.box(*shape.bounds(margin_mm))
        if box is None:
            return None
        if isinstance(shape, Ellipsoid):
            return box, shape.distance(np.moveaxis(self.xyz[(slice(None), *box)], 0, -1))
        field = np.full(tuple(s.stop - s.start for s in box), 2 * margin_mm + 9, np.float32)
        for n in range(len(shape.points) - 1):
            piece = Tube(shape.points[n : n + 2], shape.radii[n : n + 2])
            part = self.box(*piece.bounds(margin_mm))
            # By rounding, a piece's box may begin a point before that of its whole.
            if part is None or (part := _common(part, box)) is None:
                continue
            inner = tuple(
                slice(p.start - b.start, p.stop - b.start) for p, b in zip(part, box, strict=True)
            )
            near = _capsule(self.xyz[(slice(None), *part)], piece)
            np.minimum(field[inner], near, out=field[inner])
        return box, field

    def edge(self, distance: FloatArray) -> FloatArray:
        """Returns the share of each point's cell that lies inside, 0..1."""
        share: FloatArray = np.clip(0.5 - distance / np.float32(self.soft_mm), 0, 1)
        return share


def _common(one: Slices, other: Slices) -> Slices | None:
    """What lies in two boxes; None where nothing does."""
    z, y, x = (
        slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True)
    )
    return None if any(side.start >= side.stop for side in (z, y, x)) else (z, y, x)


def _capsule(xyz: FloatArray, piece: Tube) -> FloatArray:
    """Signed distance of points (3, z, y, x) to a one-piece tube, without temporaries (..., 3)."""
    start, step = piece.points[0], piece.points[1] - piece.points[0]
    dx, dy, dz = xyz[0] - start[0], xyz[1] - start[1], xyz[2] - start[2]
    along = np.clip((dx * step[0] + dy * step[1] + dz * step[2]) / np.dot(step, step), 0, 1)
    square = (dx - along * step[0]) ** 2 + (dy - along * step[1]) ** 2 + (dz - along * step[2]) ** 2
    gap: FloatArray = np.sqrt(square) - (piece.radii[0] + along * (piece.radii[1] - piece.radii[0]))
    return gap
