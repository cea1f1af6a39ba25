"""Gas in the bowel: neither lung nor windpipe, whatever the voxels; what is said of an abdomen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.synthetic_chest import coordinates

from lnq.box import Box
from lnq.data.chest.anatomy import Anatomy, examine_anatomy
from lnq.data.chest.lung_box import lung_box
from lnq.data.chest.lungs import find_chest
from lnq.data.readers import read_image
from lnq.volume import Array, Grid, Volume, reorient

# Half widths (y, x), place (y, x) in front of and beside the body's middle: colon and small bowel.
BOWEL = (
    ((22, 22), (-20, 100)),
    ((25, 25), (-10, -100)),
    ((14, 14), (-35, 0)),
    ((28, 32), (-40, 55)),
)
REAL = [
    "slicerio/CTChest4.nrrd",
    "4d-lung-P113/ct_bin3x3x1.nii.gz",
    "chestimagingplatform/ct-64.nrrd",
]
TORSO = (5.0, 7.0, 7.0)


def torso(grid: Grid, gas_hu: int, lungs: tuple[str, ...] = ("right", "left")) -> Volume:
    """A trunk on a couch, of which the upper 300 mm are a chest, and bowel gas."""
    z, y, x = coordinates(grid)
    z = z - z.max() + 150  # the chest's middle is at 0
    hu = np.full(grid.size, -1000.0, np.float32)
    hu[(y > 105) & (y < 125)] = -300
    hu[(y / 96) ** 2 + (x / 160) ** 2 < 1] = 40
    shrink = np.clip(1.1 - (z + 90) / 260, 0, 1)  # narrower towards the head
    vessels = 60 * np.sin(x / 4) * np.sin(y / 4) * np.sin(z / 5)
    for side, name in ((-1, "right"), (1, "left")):
        if name in lungs:
            inside = (y / 66) ** 2 + ((x - 72 * side) / 58) ** 2 < shrink**2
            hu[inside & (np.abs(z) < 120)] = -850
            hu += np.where(inside & (np.abs(z) < 120), vessels, 0)
    hu[(np.abs(x) < 42) & (np.abs(y) < 75) & (z < -10)] = 40  # heart
    hu[(y**2 + x**2 < 10**2) & (z > 10)] = -985  # windpipe
    hu[(y - 70) ** 2 + x**2 < 16**2] = 400
    for (tall, wide), (at_y, at_x) in BOWEL:
        tube = ((y - at_y) / tall) ** 2 + ((x - at_x) / wide) ** 2 < 1
        hu[tube & (z < -150) & (z > z.min() + 30)] = gas_hu
    return Volume(hu.astype(np.int16), grid)


def grid(height_mm: float, spacing: tuple[float, float, float] = TORSO) -> Grid:
    size = tuple(int(n / s) for n, s in zip((height_mm, 300, 384), spacing, strict=True))
    return Grid((size[0], size[1], size[2]), spacing)


def said(found: Anatomy) -> tuple[list[str], list[str]]:
    return [why for why, _ in found.faults], list(found.notes)


@pytest.mark.parametrize("gas_hu", [-900, -980])
@pytest.mark.parametrize("spacing", [TORSO, (7.0, 5.0, 5.0), (4.0, 4.0, 4.0)])
@pytest.mark.slow
def test_a_sound_scan_with_the_abdomen_in_view(
    gas_hu: int, spacing: tuple[float, float, float]
) -> None:
    scan = torso(grid(500, spacing), gas_hu)
    assert said(examine_anatomy(scan)) == ([], [])
    chest = find_chest(scan)
    height = Box.around(chest.lungs).size[0] * chest.coarse.grid.spacing_mm[0]
    assert 200 <= height <= 260


@pytest.mark.slow
def test_the_same_scan_upside_down_is_still_refused() -> None:
    scan = torso(grid(500, (4.0, 4.0, 4.0)), -900)
    (fault,), _ = said(examine_anatomy(Volume(scan.array[::-1].copy(), scan.grid)))
    assert "the z axis is upside down" in fault
    assert fault.count(" the ") >= 3


def test_a_long_torso_is_mostly_abdomen_and_its_lungs_are_no_higher_than_lungs() -> None:
    found = examine_anatomy(torso(grid(800), -900))
    assert not found.faults
    assert found.notes[0].startswith("mostly abdomen")
    assert found.lungs_litres == pytest.approx(
        examine_anatomy(torso(grid(320), -900)).lungs_litres, rel=0.03
    )


def test_an_abdomen_holds_no_lungs() -> None:
    whole = torso(grid(800), -900)
    cut = whole.array[: whole.grid.size[0] // 2]
    found = examine_anatomy(Volume(cut, Grid(cut.shape, TORSO)))
    assert found.lungs_litres == 0
    assert found.notes[0].startswith("no lungs found: mostly abdomen")


def overinflated(scan: Volume) -> Volume:
    """As of emphysema: half of the lungs is as dark as free air."""
    return Volume(np.where(scan.array < -700, scan.array - 35, scan.array), scan.grid)


def air(scan: Volume) -> float:
    inside: Array = (scan.array < -500) & (scan.array > -1030)
    return float(inside.sum() * scan.grid.voxel_volume_mm3 / 1e6)


def test_one_dark_lung_that_the_scan_cuts_is_whole_in_the_crop(real_data: Path) -> None:
    scan = reorient(read_image(real_data / REAL[2]))
    where = Box.around(find_chest(scan).lungs)
    start = (where.start[0], where.start[1], (where.start[2] + where.stop[2]) // 2)
    # To the left lung's edge, and through it.
    for right_end, least in ((where.stop[2], 0.93), (where.stop[2] - 5, 0.9)):
        stop = (where.stop[0], where.stop[1], right_end)
        window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        part = overinflated(Volume(scan.array[window], scan.grid.crop(start, stop)))
        found = examine_anatomy(part)
        assert not found.faults
        assert found.chest is not None
        assert found.lungs_litres >= least * air(part)
        assert "left" in found.cut or right_end == where.stop[2]
        box = lung_box(part.grid, found.chest, (10.0, 10.0, 10.0))
        assert box.box == Box((0, 0, 0), part.grid.size)


@pytest.mark.parametrize("name", REAL)
@pytest.mark.parametrize("gas_hu", [-900, -980])
@pytest.mark.slow
def test_real_chests_above_an_abdomen_full_of_gas(name: str, gas_hu: int, real_data: Path) -> None:
    scan = reorient(read_image(real_data / name))
    dz, dy, dx = scan.grid.spacing_mm
    lowest = np.where(scan.array[1] < -300, scan.array[1], 30)
    slices = np.repeat(lowest[None], round(150 / dz), axis=0)
    body = Box.around(lowest > -300)
    y, x = np.ogrid[: lowest.shape[0], : lowest.shape[1]]
    for (tall, wide), (at_y, at_x) in BOWEL:
        middle_y, middle_x = ((a + b) / 2 for a, b in zip(body.start, body.stop, strict=True))
        tube = (((y - middle_y) * dy - at_y) / tall) ** 2 + (
            ((x - middle_x) * dx - at_x) / wide
        ) ** 2
        slices[3:-3][:, tube < 1] = gas_hu
    array = np.concatenate([slices, scan.array]).astype(np.int16)
    found = examine_anatomy(Volume(array, Grid(array.shape, scan.grid.spacing_mm)))
    assert not found.faults
    assert not [note for note in found.notes if "perhaps" in note]
    assert found.lungs_litres == pytest.approx(examine_anatomy(scan).lungs_litres, rel=0.05)
