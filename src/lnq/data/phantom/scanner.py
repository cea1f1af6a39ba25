"""Draws where and how a phantom is scanned: grid, orientation, noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnq.data.phantom.render import ImageQuality
from lnq.volume import IDENTITY, Grid

THICKNESS_MM = (2.0, 5.5)
EXTENT_MM = (180.0, 280.0)
FIELD_OF_VIEW_MM = (340.0, 400.0)
MAX_TILT_DEG = 5.0


@dataclass(frozen=True)
class Acquisition:
    """One scan of one patient.

    Attributes:
        grid: where the voxels lie in the world.
        offset_mm: world position of the patient's own origin, x y z.
        quality: noise and blur.
    """

    grid: Grid
    offset_mm: tuple[float, float, float]
    quality: ImageQuality


def draw_acquisition(rng: np.random.Generator, size_yx: int) -> Acquisition:
    """Draws a scan of `size_yx` x `size_yx` pixels that covers the mediastinum.

    Most scans have identity direction cosines; one in six runs head to feet, one in six has the
    patient prone-flipped (x and y negated), one in five is tilted by up to 5 degrees as well.
    """
    thickness = round(float(rng.uniform(*THICKNESS_MM)), 2)
    extent = float(rng.uniform(*EXTENT_MM))
    field = float(rng.uniform(*FIELD_OF_VIEW_MM))
    slices = max(8, round(extent / thickness))
    pixel = round(field / size_yx, 4)
    direction = _draw_direction(rng)
    middle = np.array([rng.normal(0, 4), rng.normal(4, 4), rng.uniform(-38, -16)])
    offset = np.round(rng.uniform((-30, -200, -900), (30, 0, 300)), 2)
    half = (np.array([size_yx, size_yx, slices]) - 1) / 2 * (pixel, pixel, thickness)
    origin = np.round(offset + middle - direction @ half, 4)
    grid = Grid(
        size=(slices, size_yx, size_yx),
        spacing_mm=(thickness, pixel, pixel),
        origin_mm=(float(origin[0]), float(origin[1]), float(origin[2])),
        direction=tuple(float(value) for value in direction.ravel()),
    )
    quality = ImageQuality(
        noise_hu=float(rng.uniform(10, 20)),
        blur_pixels=float(rng.uniform(0.3, 0.6)),
        grain_pixels=float(rng.uniform(0.4, 0.8)),
    )
    return Acquisition(grid, (float(offset[0]), float(offset[1]), float(offset[2])), quality)


def _draw_direction(rng: np.random.Generator) -> np.ndarray:
    direction = np.reshape(IDENTITY, (3, 3)).copy()
    kind = rng.random()
    if kind < 1 / 6:
        direction = direction * (1, 1, -1)
    elif kind < 2 / 6:
        direction = direction * (-1, -1, 1)
    angles = np.deg2rad(rng.uniform(-MAX_TILT_DEG, MAX_TILT_DEG, 3))
    if rng.random() < 0.2:
        for axis, angle in enumerate(angles):
            cos, sin = np.cos(angle), np.sin(angle)
            turn = np.eye(3)
            one, two = [other for other in range(3) if other != axis]
            turn[one, one] = turn[two, two] = cos
            turn[one, two], turn[two, one] = -sin, sin
            direction = turn @ direction
    return np.asarray(direction)
