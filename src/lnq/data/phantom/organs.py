"""The soft organs of the chest other than vessels: airways, oesophagus, heart, what lies below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lnq.data.phantom.shapes import Ellipsoid, Tube, ellipsoid, smooth_tube

AIR_HU = -985.0


@dataclass(frozen=True, eq=False)
class Organ:
    """One solid of one density.

    Attributes:
        name: What it is, for people.
        shape: Where it is.
        hu: Its density.
        fat_mm: Thickness of the mediastinal fat that keeps the lung away from it.
    """

    name: str
    shape: Tube | Ellipsoid
    hu: float
    fat_mm: float = 3.0


def draw_airways(rng: np.random.Generator) -> list[Organ]:
    """Draws trachea and main bronchi: first all walls, then all lumina."""
    size = rng.uniform(0.9, 1.1)
    sway = rng.normal(0, 2, 2)
    tubes = [
        tube([[0, 2, 150], [0, 8, 70], [sway[0] - 2, 15, 35], [-1, 20, 2]], [9, 9, 9, 9]),
        tube([[-1, 20, 4], [-17, 22, -12], [-33, 24, -22]], [7.5, 7, 6]),
        tube([[-33, 24, -22], [-40, 28, -45], [-46, 34, -72]], [5.5, 4.5, 3]),
        tube([[-26, 23, -15], [-42, 20, -5], [-56, 20, 8]], [4.5, 4, 2.5]),
        tube([[0, 20, 4], [20, 24, -15], [41, 27, -28]], [7, 6.5, 5.5]),
        tube([[41, 27, -28], [47, 34, -48], [52, 42, -75]], [5, 4, 3]),
        tube([[38, 26, -26], [52, 14, -22], [62, 8, -8]], [4.5, 3.5, 2.5]),
    ]
    scaled = [Tube(pipe.points, pipe.radii * np.float32(size)) for pipe in tubes]
    walls = [
        Organ("airway wall", Tube(pipe.points, pipe.radii + np.float32(1.4)), 20.0)
        for pipe in scaled
    ]
    return walls + [Organ("airway", pipe, AIR_HU) for pipe in scaled]


def draw_oesophagus(rng: np.random.Generator) -> list[Organ]:
    """Draws the oesophagus, in half of the cases with some air: a node's double in a slice."""
    line = np.array(
        [[4, 24, 150], [8, 30, 60], [9, 35, 10], [7, 38, -40], [12, 32, -90], [20, 18, -150]], float
    )
    line[:, 0] += rng.normal(0, 2, len(line))
    radius = rng.uniform(5.5, 8.0)
    organs = [Organ("oesophagus", smooth_tube(line, np.full(6, radius)), rng.uniform(30, 45))]
    if rng.random() < 0.5:
        start = int(rng.integers(0, 3))
        lumen = smooth_tube(line[start : start + 3], np.array([0.8, 3.0, 0.8]))
        organs.append(Organ("oesophageal air", lumen, -700.0))
    return organs


def draw_heart(rng: np.random.Generator, enhanced: bool) -> list[Organ]:
    """Draws the heart's muscle and chambers, with contrast medium in them where `enhanced`."""
    muscle = rng.uniform(90, 125) if enhanced else rng.uniform(40, 50)
    left = rng.uniform(160, 260) if enhanced else muscle - 4
    right = rng.uniform(130, 250) if enhanced else muscle - 4
    size = rng.uniform(0.92, 1.08)
    parts = [
        ("myocardium", (26, -22, -88), (56, 36, 40), -32, muscle, 5.0),
        ("right atrium wall", (-24, -20, -72), (20, 22, 30), 0, muscle, 4.0),
        ("left atrium", (6, 8, -52), (30, 16, 20), 0, left, 3.0),
        ("right atrium", (-24, -20, -72), (18, 20, 28), 0, right, 0.0),
        ("right ventricle", (8, -42, -84), (34, 11, 27), -20, right, 0.0),
        ("left ventricle", (40, -12, -90), (25, 15, 24), -38, left, 0.0),
    ]
    return [
        Organ(name, ellipsoid(centre, (a * size, b * size, c * size), turn), hu, fat)
        for name, centre, (a, b, c), turn, hu, fat in parts
    ]


def draw_belly(rng: np.random.Generator, top: float, back: float) -> list[Organ]:
    """Draws spleen and stomach below the left diaphragm; `top` z, `back` y, mm."""
    organs = [
        ("spleen", (84, back, top - 44), (30, 38, 38), rng.uniform(90, 130)),
        ("stomach", (62, -14, top - 40), (32, 42, 34), rng.uniform(15, 45)),
    ]
    if rng.random() < 0.5:
        organs.append(("stomach air", (62, -30, top - 32), (20, 22, 16), AIR_HU))
    return [Organ(name, ellipsoid(at, half), hu, 0.0) for name, at, half, hu in organs]


def tube(points: list[list[float]], radii: list[float], step_mm: float = 8.0) -> Tube:
    """Builds a smooth tube from plain lists, mm."""
    return smooth_tube(np.array(points, float), np.array(radii, float), step_mm)
