"""A chest of a few ellipsoids, small and quick, whose every part is known."""

from __future__ import annotations

import numpy as np

from lnq.volume import Array, Grid, Volume

LUNG_CENTRES = ((0.0, 0.0, -75.0), (0.0, 0.0, 75.0))
LUNG_RADII = (90.0, 60.0, 50.0)
GRID = Grid((60, 72, 96), (5.0, 4.0, 4.0), (-190.0, -142.0, -147.5))


def coordinates(grid: Grid) -> Array:
    """Millimetres (3, z, y, x) from the middle of the grid."""
    axes = [
        (np.arange(n) - (n - 1) / 2) * s for n, s in zip(grid.size, grid.spacing_mm, strict=True)
    ]
    return np.stack(np.meshgrid(*axes, indexing="ij"))


def ellipsoid(grid: Grid, centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
    """Voxels of an ellipsoid, everything (z, y, x) mm from the middle of the grid."""
    offset = coordinates(grid) - np.reshape(centre, (3, 1, 1, 1))
    inside: Array = ((offset / np.reshape(radii, (3, 1, 1, 1))) ** 2).sum(axis=0) <= 1
    return inside


def lungs(grid: Grid = GRID) -> Array:
    """Voxels of both lungs."""
    right, left = (ellipsoid(grid, centre, LUNG_RADII) for centre in LUNG_CENTRES)
    return right | left


def chest(grid: Grid = GRID) -> Volume:
    """HU of a body with lungs, windpipe, main bronchi and bowel gas, on a table of covered foam."""
    z, y, x = coordinates(grid)
    hu = np.full(grid.size, -1000, np.int16)
    table = (y > 100) & (y < 132) & (np.abs(x) < 190)
    hu[table] = -900
    hu[table & ((y < 104) | (y > 128))] = -300
    hu[ellipsoid(grid, (0, 0, 0), (1e4, 96, 165))] = 40
    hu[lungs(grid)] = -850
    hu[(z > 20) & ((y / 9) ** 2 + (x / 9) ** 2 < 1)] = -1000
    hu[(np.abs(z - 24) < 9) & (np.abs(y) < 9) & (np.abs(x) < 45)] = -1000
    hu[ellipsoid(grid, (-125, -40, 30), (22, 25, 40))] = -1000
    return Volume(hu, grid)


SMALL = Grid((30, 36, 48), (10.0, 8.0, 8.0), (-188.0, -140.0, -145.0))
"""A grid for tests in which only the outline matters: eight times fewer voxels than GRID's."""


def chest_with_spine(grid: Grid = SMALL) -> Volume:
    """`chest` with a spine at its back, and lungs that are narrower at the head's end."""
    scan = chest(grid)
    z, y, x = coordinates(grid)
    scan.array[((y - 70) / 16) ** 2 + (x / 16) ** 2 < 1] = 400
    scan.array[lungs(grid) & (z > 20) & ((np.abs(y) > 45) | (np.abs(x) > 95))] = 40
    return scan
