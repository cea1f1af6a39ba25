"""The mediastinal vessels: some filled with contrast medium, some as plain as the lymph nodes.

Plain ones are the nodes' doubles: the same HU and, in one slice, the same outline. Only following
them through the slices tells a tube from a node.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnq.data.phantom.shapes import Tube, smooth_tube

PLAIN_HU = (36.0, 56.0)

# fmt: off
# name -> (control points x y z, radii), drawn in this order; see any atlas of the mediastinum.
_ARTERIES: dict[str, tuple[list[list[float]], list[float]]] = {
    "aorta": (
        [
            [4, -14, -62], [-8, -26, -28], [-8, -28, 4], [-2, -22, 26], [10, -12, 37],
            [22, 4, 40], [28, 22, 34], [28, 38, 16], [26, 46, -10], [25, 46, -60],
            [22, 46, -110], [16, 44, -190],
        ],
        [15, 16, 16, 15, 14, 13.5, 13, 12.5, 12, 12, 11.5, 11],
    ),
    "brachiocephalic artery": ([[4, -14, 42], [-8, -8, 64], [-20, 0, 92]], [7, 6, 6]),
    "right carotid": ([[-20, 0, 90], [-24, -2, 120], [-26, 0, 160]], [4, 3.5, 3.5]),
    "right subclavian": ([[-20, 0, 90], [-48, 4, 106], [-85, -2, 108]], [5, 4.5, 4]),
    "left carotid": ([[18, -4, 48], [21, -2, 80], [25, 0, 160]], [4.5, 4, 3.5]),
    "left subclavian": ([[27, 14, 46], [30, 14, 78], [46, 10, 106], [85, 0, 108]], [5.5, 5, 5, 4]),
}
_PULMONARY: dict[str, tuple[list[list[float]], list[float]]] = {
    "pulmonary trunk": ([[16, -44, -58], [21, -34, -32], [23, -16, -14]], [14, 14, 13]),
    "right pulmonary artery": (
        [[20, -12, -14], [-4, 3, -17], [-28, 5, -19], [-46, 12, -30], [-52, 22, -50]],
        [11, 10.5, 10, 8, 6],
    ),
    "left pulmonary artery": (
        [[24, -14, -12], [34, 4, -4], [45, 24, -6], [52, 38, -32], [56, 42, -52]],
        [11, 10.5, 9.5, 8, 6],
    ),
}
_PULMONARY_VEINS: dict[str, tuple[list[list[float]], list[float]]] = {
    "right superior pulmonary vein": ([[-16, 4, -45], [-36, -2, -38], [-56, -6, -22]], [7, 6, 4]),
    "right inferior pulmonary vein": ([[-14, 12, -58], [-36, 24, -64], [-58, 34, -72]], [7, 6, 4]),
    "left superior pulmonary vein": ([[28, 4, -45], [48, -6, -34], [64, -12, -20]], [7, 6, 4]),
    "left inferior pulmonary vein": ([[28, 10, -58], [48, 26, -62], [64, 36, -70]], [7, 6, 4]),
}
_VEINS: dict[str, tuple[list[list[float]], list[float]]] = {
    "superior vena cava": (
        [[-32, -18, 48], [-32, -14, 5], [-29, -14, -35], [-26, -18, -60]],
        [9, 9, 9.5, 11],
    ),
    "right brachiocephalic vein": ([[-32, -18, 46], [-36, -18, 72], [-54, -8, 100]], [7.5, 7, 6]),
    "left brachiocephalic vein": (
        [[-30, -20, 48], [-8, -36, 55], [16, -36, 64], [38, -24, 84], [58, -8, 100]],
        [7.5, 6.5, 6.5, 6.5, 6],
    ),
    "inferior vena cava": ([[-24, -8, -88], [-22, 4, -120], [-18, 12, -190]], [11, 11, 11]),
}
_PLAIN: dict[str, tuple[list[list[float]], list[float]]] = {
    "azygos": (
        [[-6, 44, -190], [-9, 42, -90], [-11, 41, -30], [-14, 40, 4], [-24, 30, 17],
         [-30, 8, 18], [-32, -8, 12]],
        [3.5, 4, 4.5, 4.5, 4.5, 4.5, 5],
    ),
    "hemiazygos": (
        [[12, 50, -190], [12, 50, -60], [10, 46, -28], [-8, 43, -22]],
        [2.5, 2.8, 2.8, 3],
    ),
    "right internal mammary": ([[-30, -76, -110], [-28, -74, 0], [-24, -58, 80]], [1.6, 1.8, 2]),
    "left internal mammary": ([[30, -76, -110], [28, -74, 0], [26, -58, 80]], [1.6, 1.8, 2]),
    "left superior intercostal vein": (
        [[20, 48, 60], [40, 34, 46], [42, 12, 46], [34, -12, 52], [26, -30, 70]],
        [2, 2.8, 2.8, 2.8, 2.5],
    ),
}
# fmt: on


@dataclass(frozen=True, eq=False)
class Vessel:
    """A vessel and the density of its blood in HU."""

    name: str
    tube: Tube
    hu: float


def great_vessels(rng: np.random.Generator, enhanced: bool) -> list[Vessel]:
    """Draws the named vessels.

    Args:
        rng: this case's anatomy generator.
        enhanced: whether contrast medium was given; without it every vessel is plain.
    """
    arterial, pulmonary = rng.uniform(170, 290), rng.uniform(150, 300)
    # Small ones first, so that they end at a great vessel instead of crossing its lumen.
    groups = [
        (_PLAIN, rng.uniform(80, 140), 0.8),
        (_PULMONARY_VEINS, arterial, 0.0),
        (_PULMONARY, pulmonary, 0.0),
        (_VEINS, rng.uniform(130, 300), 0.35),
        (_ARTERIES, arterial, 0.0),
    ]
    vessels = []
    for table, blood_hu, plain_share in groups:
        for name, (points, radii) in table.items():
            plain = not enhanced or rng.random() < plain_share
            hu = rng.uniform(*PLAIN_HU) if plain else blood_hu * rng.uniform(0.93, 1.07)
            vessels.append(Vessel(name, _vary(rng, points, radii), float(hu)))
    return vessels


def small_vessels(rng: np.random.Generator) -> list[Vessel]:
    """Draws nameless plain vessels of 2 to 7 mm that cross the mediastinal fat."""
    vessels = []
    for index in range(int(rng.integers(5, 10))):
        middle = np.array([rng.uniform(-26, 30), rng.uniform(-55, 30), rng.uniform(-40, 85)])
        along = rng.normal(0, 1, 3) * (0.6, 0.6, 1.4)
        along *= rng.uniform(25, 45) / np.linalg.norm(along)
        line = np.stack([middle - along, middle + rng.normal(0, 4, 3), middle + along])
        radius = rng.uniform(1.0, 3.4)
        tube = smooth_tube(line, np.array([0.7, 1.0, 0.7]) * radius)
        vessels.append(Vessel(f"small vessel {index + 1}", tube, float(rng.uniform(*PLAIN_HU))))
    return vessels


def _vary(rng: np.random.Generator, points: list[list[float]], radii: list[float]) -> Tube:
    controls = np.array(points, float)
    controls += rng.normal(0, 1.2, controls.shape)
    return smooth_tube(controls, np.array(radii, float) * rng.uniform(0.9, 1.12))
