"""Draws the parameters of one thorax: sizes, organs with their HU, lymph nodes.

Nothing is rendered here; `render` turns a `Thorax` into voxels. All lengths are patient mm (LPS,
x to the left, y to the back, z to the head), the carina lies at about (0, 20, 0).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lnq.data.phantom.organs import (
    Organ,
    draw_airways,
    draw_belly,
    draw_heart,
    draw_oesophagus,
    tube,
)
from lnq.data.phantom.placed_nodes import PlacedNode, place_nodes
from lnq.data.phantom.shapes import Ellipsoid, Tube, ellipsoid, smooth_tube
from lnq.data.phantom.vessels import great_vessels, small_vessels


@dataclass(frozen=True)
class Torso:
    """The body's wall, lungs and diaphragm: half widths in mm, densities in HU.

    Attributes:
        body: half width of the trunk along x and y.
        skin_fat_mm: thickness of the subcutaneous fat.
        lung: half width of one lung along x and y.
        lung_centre: |x| and y of a lung's axis.
        apex_z: where the lungs end above.
        dome_z: top of the diaphragm, right and left.
        slab_x: half width of the fat between the lungs.
        rib_pitch_mm: distance between ribs.
        rib_phase_mm: height of one rib.
        lung_hu, fat_hu, muscle_hu, liver_hu, bone_hu: densities.
        table_y: front of the patient table.
    """

    body: tuple[float, float]
    skin_fat_mm: float
    lung: tuple[float, float]
    lung_centre: tuple[float, float]
    apex_z: float
    dome_z: tuple[float, float]
    slab_x: float
    rib_pitch_mm: float
    rib_phase_mm: float
    lung_hu: float
    fat_hu: float
    muscle_hu: float
    liver_hu: float
    bone_hu: float
    table_y: float


@dataclass(frozen=True, eq=False)
class Thorax:
    """Everything that is to be rendered of one patient.

    Attributes:
        torso: wall, lungs, diaphragm.
        bones: spine, sternum, clavicles, scapulae, in drawing order.
        organs: vessels, airways, heart, oesophagus in drawing order (later hides earlier).
        lung_vessels: the trees inside the lungs.
        nodes: lymph nodes; they give way to every organ.
        fat_pads: fat beside the heart.
        wall_fat: fat between the muscles of the chest wall.
    """

    torso: Torso
    bones: tuple[Organ, ...]
    organs: tuple[Organ, ...]
    lung_vessels: tuple[Tube, ...]
    nodes: tuple[PlacedNode, ...]
    fat_pads: tuple[Ellipsoid, ...]
    wall_fat: tuple[Ellipsoid, ...]


def draw_thorax(rng: np.random.Generator) -> Thorax:
    """Draws one thorax with 6 to 14 lymph nodes."""
    torso = _draw_torso(rng)
    bones = _draw_bones(rng, torso)
    enhanced = bool(rng.random() < 0.9)
    vessels = [
        Organ(vessel.name, vessel.tube, vessel.hu)
        for vessel in (*small_vessels(rng), *great_vessels(rng, enhanced))
    ]
    airways = draw_airways(rng)
    gullet = draw_oesophagus(rng)
    belly = draw_belly(rng, torso.dome_z[1], torso.lung_centre[1] + 30)
    organs = (*belly, *draw_heart(rng, enhanced), *gullet, *vessels, *airways)
    spine = smooth_tube(np.array([[0, 62, -200], [0, 62, 200]]), np.array([17.0, 17.0]), 40.0)
    breastbone = smooth_tube(
        np.array([[0, -torso.lung[1], -110], [0, -torso.lung[1], 90]]), np.array([14, 14]), 40.0
    )
    obstacles = [organ.shape for organ in organs]
    fat = ellipsoid((0, -4, 0), (torso.slab_x + 2, torso.lung[1] - 6, 400))
    nodes = place_nodes(rng, [*obstacles, spine, breastbone], fat)
    lung_vessels = _draw_lung_vessels(rng, torso)
    return Thorax(torso, bones, organs, lung_vessels, nodes, *_draw_fat(rng, torso))


def _draw_torso(rng: np.random.Generator) -> Torso:
    lung = (rng.uniform(58, 67), rng.uniform(76, 86))
    centre_x = lung[0] - rng.uniform(0, 4)
    wall = rng.uniform(26, 34)
    fat = rng.uniform(6, 20)
    half_x = centre_x + lung[0] + wall + fat
    half_y = lung[1] + 0.75 * wall + fat
    return Torso(
        body=(half_x, half_y),
        skin_fat_mm=fat,
        lung=lung,
        lung_centre=(centre_x, rng.uniform(2, 8)),
        apex_z=rng.uniform(98, 115),
        dome_z=(rng.uniform(-112, -96), rng.uniform(-124, -106)),
        slab_x=rng.uniform(24, 34),
        rib_pitch_mm=rng.uniform(23, 28),
        rib_phase_mm=rng.uniform(0, 25),
        lung_hu=rng.uniform(-880, -810),
        fat_hu=rng.uniform(-112, -92),
        muscle_hu=rng.uniform(42, 60),
        liver_hu=rng.uniform(60, 115),
        bone_hu=rng.uniform(170, 280),
        table_y=half_y + rng.uniform(6, 14),
    )


def _draw_bones(rng: np.random.Generator, torso: Torso) -> tuple[Organ, ...]:
    front = -torso.lung[1] + torso.lung_centre[1] - 7
    top = torso.apex_z
    bones = [
        Organ("spine cortex", _column(0, 62, 17.5), torso.bone_hu + 250),
        Organ("spine", _column(0, 62, 15.5), torso.bone_hu),
    ]
    first = float(rng.uniform(-226, -200))
    for level in range(17):
        z = first + 25 * level
        bones.append(Organ("disc", ellipsoid((0, 62, z), (19, 19, 4)), 85.0))
        spine_process = tube([[0, 92, z + 12], [0, 104, z], [0, 108, z - 8]], [4, 3, 3])
        bones.append(Organ("spinous process", spine_process, torso.bone_hu + 60))
        for side in (-1, 1):
            arch = [[13 * side, 74, z + 14], [15 * side, 84, z + 12], [2 * side, 95, z + 8]]
            bones.append(Organ("arch", tube(arch, [5, 5, 4]), torso.bone_hu + 150))
            wing = [[14 * side, 84, z + 12], [34 * side, 90, z + 14]]
            bones.append(Organ("transverse process", tube(wing, [5, 4]), torso.bone_hu + 80))
    bones.append(Organ("canal", _column(0, 84, 8.0), 25.0))
    for shift in (-9, -3, 3, 9):
        strip = tube([[shift, front, -95], [1.4 * shift, front + 6, top - 35]], [5.5, 6.5])
        bones.append(Organ("sternum", strip, torso.bone_hu - 40))
    for side in (-1, 1):
        clavicle = [
            [16 * side, front + 14, top - 28],
            [60 * side, front + 22, top - 14],
            [110 * side, front + 55, top + 4],
        ]
        bones.append(Organ("clavicle", tube(clavicle, [8, 6, 7]), torso.bone_hu + 120))
        tilt = rng.uniform(-10, 10)
        blade = ellipsoid(
            (118 * side, 62 + rng.uniform(-4, 4), top - 70), (36, 4.5, 70), side * (-50 + tilt)
        )
        bones.append(Organ("scapula", blade, torso.bone_hu + 100))
    return tuple(bones)


def _draw_fat(
    rng: np.random.Generator, torso: Torso
) -> tuple[tuple[Ellipsoid, ...], tuple[Ellipsoid, ...]]:
    pads, wall = [], []
    side_x = torso.lung_centre[0] + torso.lung[0]
    for side in (-1, 1):
        size = rng.uniform(0.8, 1.1)
        at = (34.0 * side + 8, -56.0, -104.0)
        pads.append(ellipsoid(at, (34 * size, 16 * size, 24 * size), -25.0 * side))
        armpit = (side * (side_x - 2), rng.uniform(-12, 4), torso.apex_z - 42)
        wall.append(ellipsoid(armpit, (13, 32, 44), side * rng.uniform(8, 20)))
        pectoral = (side * 62.0, -torso.lung[1] - 8, torso.apex_z - 50)
        wall.append(ellipsoid(pectoral, (42, 3.0, 50), side * 20.0))
        shoulder = (side * (side_x - 28), torso.lung[1] - 6, torso.apex_z - 20)
        wall.append(ellipsoid(shoulder, (46, 3.5, 50), side * -28.0))
        back = (side * 34.0, torso.lung[1] + 20, -40.0)
        wall.append(ellipsoid(back, (26, 2.5, 200), side * -6.0))
    return tuple(pads), tuple(wall)


def _draw_lung_vessels(rng: np.random.Generator, torso: Torso) -> tuple[Tube, ...]:
    tubes: list[Tube] = []
    for side in (-1, 1):
        hilum = np.array([44.0 * side, 16.0, -24.0])
        for _ in range(11):
            aim = np.array(
                [
                    side * rng.uniform(40, 1.9 * torso.lung[0]),
                    rng.uniform(-0.8, 0.95) * torso.lung[1],
                    rng.uniform(-120, 0.85 * torso.apex_z),
                ]
            )
            _grow(rng, tubes, hilum + rng.normal(0, 5, 3), aim, rng.uniform(2.2, 3.6), 3)
    return tuple(tubes)


def _grow(
    rng: np.random.Generator,
    tubes: list[Tube],
    start: NDArray[np.float64],
    aim: NDArray[np.float64],
    radius: float,
    generations: int,
) -> None:
    """Adds a vessel from `start` towards `aim` and, at its end and middle, its branches."""
    length = float(np.linalg.norm(aim - start))
    end = start + 0.55 * (aim - start)
    bend: NDArray[np.float64] = (start + end) / 2 + rng.normal(0, 0.06 * length, 3)
    tubes.append(smooth_tube(np.stack([start, bend, end]), np.array([1, 0.9, 0.75]) * radius, 14.0))
    if generations == 0:
        return
    for origin in (end, end, bend):
        spread = rng.normal(0, 0.30 * length, 3)
        _grow(rng, tubes, origin, aim + spread, 0.62 * radius, generations - 1)


def _column(x: float, y: float, radius: float) -> Tube:
    return tube([[x, y, -220], [x, y, 220]], [radius, radius], 40.0)
