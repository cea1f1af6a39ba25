"""Places lymph nodes at the stations of the mediastinum: in the fat, often touching a vessel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lnq.data.phantom.shapes import Ellipsoid, FloatArray, Tube, random_rotation

NODE_HU = (34.0, 58.0)
SHORT_AXIS_MM = (4.0, 30.0)
NUM_NODES = (6, 14)


@dataclass(frozen=True)
class _Station:
    """Where nodes of one name lie.

    Centre and spread (x y z mm), how often, and how far outside the central fat (mm).
    """

    centre: tuple[float, float, float]
    spread: tuple[float, float, float]
    weight: float
    reach_mm: float = 1.0


# The map of the IASLC, roughly.
_STATIONS = {
    "1 supraclavicular": _Station((0, -14, 98), (20, 8, 8), 0.5),
    "2R upper paratracheal": _Station((-18, 6, 66), (6, 8, 12), 1.0),
    "2L upper paratracheal": _Station((14, 8, 66), (5, 8, 12), 0.6),
    "3a prevascular": _Station((6, -48, 30), (14, 8, 24), 1.2),
    "4R lower paratracheal": _Station((-16, 2, 22), (6, 8, 14), 2.0),
    "4L lower paratracheal": _Station((16, 18, 12), (4, 6, 8), 1.0),
    "5 aortopulmonary": _Station((34, -2, 14), (6, 8, 6), 1.2, 7.0),
    "6 para-aortic": _Station((28, -26, 24), (6, 8, 14), 0.8, 4.0),
    "7 subcarinal": _Station((0, 24, -22), (8, 6, 8), 2.0),
    "8 para-oesophageal": _Station((-2, 34, -80), (8, 6, 22), 1.0),
    "10R hilar": _Station((-40, 12, -18), (6, 9, 12), 1.3, 15.0),
    "10L hilar": _Station((44, 14, -20), (6, 9, 12), 1.2, 17.0),
    "cardiophrenic": _Station((-28, -60, -102), (10, 4, 8), 0.5, 15.0),
}
_TRIES = 80
_PROBES = 40
_GAP_MM = 2.5


@dataclass(frozen=True, eq=False)
class PlacedNode:
    """One lymph node.

    Attributes:
        station: Where it lies, by the usual name.
        shape: A lumpy ellipsoid.
        hu: Its density.
        short_axis_mm: Twice the smallest semi-axis, before organs cut into the node.
    """

    station: str
    shape: Ellipsoid
    hu: float
    short_axis_mm: float


def place_nodes(
    rng: np.random.Generator, obstacles: Sequence[Tube | Ellipsoid], fat: Ellipsoid
) -> tuple[PlacedNode, ...]:
    """Draws 6 to 14 nodes that lie beside the obstacles and apart from each other.

    Sizes are log-normal: most short axes are 5 to 10 mm, few above 15. Large nodes go first; one
    that finds no room shrinks until it does.

    Args:
        rng: this case's anatomy generator.
        obstacles: what a node may touch but not enter.
        fat: the fat between the lungs; outside it, a node has to touch an obstacle.
    """
    count = int(rng.integers(NUM_NODES[0], NUM_NODES[1] + 1))
    sizes = np.clip(np.exp(rng.normal(np.log(10.5), 0.45, count)), 4.2, 29.0)
    names = list(_STATIONS)
    weights = np.array([_STATIONS[name].weight for name in names])
    nodes: list[PlacedNode] = []
    for size in np.sort(sizes)[::-1]:
        for _ in range(6):
            station = names[int(rng.choice(len(names), p=weights / weights.sum()))]
            others = [node.shape for node in nodes]
            shape = _settle(rng, station, float(size), obstacles, others, fat)
            if shape is not None:
                short = 2 * float(shape.semi_axes.min())
                nodes.append(PlacedNode(station, shape, float(rng.uniform(*NODE_HU)), short))
                break
            size = max(0.85 * size, 4.2)
    return tuple(nodes)


def _settle(
    rng: np.random.Generator,
    station: str,
    short_axis_mm: float,
    obstacles: Sequence[Tube | Ellipsoid],
    others: Sequence[Ellipsoid],
    fat: Ellipsoid,
) -> Ellipsoid | None:
    """Finds room for one node near its station; prefers places where it touches something."""
    place = _STATIONS[station]
    wide = np.array(place.spread) * (1 + short_axis_mm / 25)
    directions = rng.normal(size=(_PROBES, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    centres = (place.centre + wide * rng.normal(size=(_TRIES, 3))).astype(np.float32)
    # The centres alone rule most places out, cheaply.
    hopeful = _gap(centres[:, None], obstacles) > 0.4 * short_axis_mm
    hopeful &= fat.distance(centres) < place.reach_mm
    if not hopeful.any():
        return None
    shapes = [_draw_shape(rng, centre, short_axis_mm) for centre in centres[hopeful]]
    probes = np.stack([np.concatenate([s.surface(directions), s.centre[None]]) for s in shapes])
    gap = _gap(probes, obstacles)
    depth = fat.distance(probes[:, -1])
    free = (gap > -0.6) & (gap < np.where(depth < -0.25 * short_axis_mm, 7.0, 1.5))
    if others:
        free &= _gap(probes, others) > _GAP_MM
    places = np.flatnonzero(free)
    if not len(places):
        return None
    touching = places[gap[places] < 1.0]
    if len(touching) and rng.random() < 0.75:
        places = touching
    return shapes[int(rng.choice(places))]


def _gap(probes: FloatArray, solids: Sequence[Tube | Ellipsoid]) -> FloatArray:
    """Smallest distance of each candidate's probes (n, p, 3) to any of the solids, shape (n,)."""
    gap = np.full(len(probes), np.inf, np.float32)
    low, high = probes.min(axis=(0, 1)), probes.max(axis=(0, 1))
    for solid in solids:
        lower, upper = solid.bounds(8.0)
        if np.all(low <= upper) and np.all(high >= lower):
            gap = np.minimum(gap, solid.distance(probes).min(axis=1))
    return gap


def _draw_shape(rng: np.random.Generator, centre: FloatArray, short_axis_mm: float) -> Ellipsoid:
    short = short_axis_mm / 2
    middle = short * rng.uniform(1.0, 1.25)
    waves = 3
    return Ellipsoid(
        centre=centre,
        semi_axes=np.array([short, middle, middle * rng.uniform(1.05, 1.5)], np.float32),
        rotation=random_rotation(rng),
        bumps=rng.uniform(0.01, 0.05, waves).astype(np.float32),
        waves=rng.normal(0, 2.5, (waves, 3)).astype(np.float32),
        phases=rng.uniform(0, 2 * np.pi, waves).astype(np.float32),
    )
