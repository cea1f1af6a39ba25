"""Whether a scan can be a chest as its header says: what is claimed, and what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.synthetic_chest import GRID, SMALL, chest, chest_with_spine, coordinates

from lnq.data.chest.anatomy import Anatomy, examine_anatomy
from lnq.data.chest.lungs import NO_LUNGS
from lnq.data.phantom import LargestNodes, make_case
from lnq.data.readers import read_image
from lnq.volume import Array, Grid, Volume, reorient


def changed(volume: Volume, change: str) -> Volume:
    """The same anatomy under a header that is wrong in one way."""
    array, (z, y, x) = volume.array, volume.grid.spacing_mm
    kinds: dict[str, tuple[Array, tuple[float, float, float]]] = {
        "as it is": (array, (z, y, x)),
        "head to foot": (array[::-1], (z, y, x)),
        "front to back": (array[:, ::-1], (z, y, x)),
        "mirrored": (array[:, :, ::-1], (z, y, x)),
        "z and y swapped": (array.transpose(1, 0, 2), (y, z, x)),
        "z and x swapped": (array.transpose(2, 1, 0), (x, y, z)),
        "x and y swapped": (array.transpose(0, 2, 1), (z, x, y)),
        "slices thrice as thick": (array, (3 * z, y, x)),
        "half as large": (array, (z / 2, y / 2, x / 2)),
        "a tenth as large": (array, (z / 10, y / 10, x / 10)),
        "columns four times as wide": (array, (z, y, 4 * x)),
        "intercept lost": (array + 1024, (z, y, x)),
        "intercept applied twice": (array.astype(np.int32) - 1024, (z, y, x)),
        "slope doubled": (2 * (array.astype(np.int32) + 1024) - 1024, (z, y, x)),
        "windowed": (np.clip(array, -160, 240), (z, y, x)),
        "scaled to 0..1": ((array + 1000.0) / 2000, (z, y, x)),
    }
    values, spacing = kinds[change]
    return Volume(np.ascontiguousarray(values), Grid(values.shape, spacing))


def said(found: Anatomy) -> tuple[str, str]:
    """All faults and all notes, each as one text."""
    assert all(remedy for _, remedy in found.faults)
    return "; ".join(why for why, _ in found.faults), "; ".join(found.notes)


# What is said of the synthetic chest, as a fault or as a note; of a real one in the third column.
CLAIMS = [
    ("as it is", "", "", ""),
    ("mirrored", "", "", "left and right are mirrored"),
    ("head to foot", "the feet's", "", "the feet's"),
    ("front to back", "calls the front", "", "calls the front"),
    ("z and y swapped", "front-back axis", "", "front-back axis"),
    ("z and x swapped", "left-right axis", "", "left-right axis"),
    ("slices thrice as thick", "cm high", "", "cm high"),
    ("half as large", "", "unusual for an adult", "unusual for an adult"),
    ("a tenth as large", "cross-section", "", "cross-section"),
    ("columns four times as wide", "cm wide", "", "cm wide"),
    ("intercept lost", "air (below -500) is missing", "", "air (below -500) is missing"),
    ("intercept applied twice", "soft tissue", "", "soft tissue"),
    ("slope doubled", "above 700", "", "above 700"),
    ("windowed", "air (below -500)", "", "air (below -500)"),
    ("scaled to 0..1", "air (below -500)", "", "air (below -500)"),
]


@pytest.mark.parametrize(("change", "fault", "note"), [claim[:3] for claim in CLAIMS])
def test_what_is_said_of_a_wrong_header(change: str, fault: str, note: str) -> None:
    faults, notes = said(examine_anatomy(changed(chest_with_spine(), change)))
    assert fault in faults if fault else not faults
    assert note in notes if note else not notes


@pytest.mark.parametrize(("change", "expected"), [(claim[0], claim[3]) for claim in CLAIMS])
@pytest.mark.slow
def test_the_same_of_a_real_scan(change: str, expected: str, real_data: Path) -> None:
    scan = reorient(read_image(real_data / "slicerio" / "CTChest4.nrrd"))
    faults, notes = said(examine_anatomy(changed(scan, change)))
    assert expected in faults + notes if expected else not faults + notes


@pytest.mark.slow
def test_a_spine_at_the_side(real_data: Path) -> None:
    scan = reorient(read_image(real_data / "4d-lung-P113" / "ct_bin3x3x1.nii.gz"))
    assert said(examine_anatomy(scan)) == ("", "")
    assert "calls the left" in said(examine_anatomy(changed(scan, "x and y swapped")))[0]


def test_litres() -> None:
    found = examine_anatomy(chest())
    outline = 0.8 * 0.330 * 0.192 * 0.300 * 1000  # of the box around it, an ellipse is 0.785
    assert found.body_litres == pytest.approx(outline, rel=0.1)
    assert found.lungs_litres == pytest.approx(2 * 4 / 3 * np.pi * 0.9 * 0.6 * 0.5, rel=0.1)
    assert chest().grid == GRID


def test_oblique_and_turned_axes_change_nothing() -> None:
    scan = chest_with_spine()
    c, s = np.cos(0.3), np.sin(0.3)
    turned = Grid(SMALL.size, SMALL.spacing_mm, (5.0, 6.0, 7.0), (c, -s, 0, s, c, 0, 0, 0, 1))
    for one in (Volume(scan.array, turned), reorient(scan, "SAR"), reorient(scan, "RPI")):
        assert said(examine_anatomy(one)) == ("", "")


def test_water_and_a_crop_without_lungs_are_not_called_wrong() -> None:
    _, y, x = np.mgrid[:30, :36, :48] * 8.0
    water = np.where((y - 140) ** 2 + (x - 188) ** 2 < 110**2, 0, -1000).astype(np.int16)
    assert said(examine_anatomy(Volume(water, SMALL))) == (
        "",
        f"{NO_LUNGS}. Check that the scan shows a chest",
    )
    crop = chest_with_spine().array[12:20, 10:26, 18:30]
    assert said(examine_anatomy(Volume(crop, Grid(crop.shape, SMALL.spacing_mm))))[0] == ""


def test_without_a_windpipe_lungs_that_widen_upwards_are_a_note() -> None:
    scan = chest_with_spine()
    _, y, x = coordinates(SMALL)
    scan.array[(np.abs(y) < 12) & (np.abs(x) < 46) & (scan.array == -1000)] = 40
    assert said(examine_anatomy(scan)) == ("", "")
    faults, note = said(examine_anatomy(changed(scan, "head to foot")))
    assert not faults
    assert note.startswith("perhaps the lungs taper towards")
    assert "(1 of the 1 signs seen)" in note


REAL_CHESTS = [
    "slicerio/CTChest4.nrrd", "4d-lung-P113/ct_bin3x3x1.nii.gz", "chestimagingplatform/ct-64.nrrd",
]  # fmt: skip
REAL_CUTS = [
    "4d-lung-P113/ct_mediastinumcrop_native.nrrd",
    "totalsegmentator/pulmonary_report/ct_cropped.nii.gz",
]


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_CHESTS)
def test_real_chests_upside_down_are_refused_and_mirrored_ones_noted(
    name: str, real_data: Path
) -> None:
    scan = reorient(read_image(real_data / name))
    assert said(examine_anatomy(scan)) == ("", "")
    assert "the z axis is upside down" in said(examine_anatomy(changed(scan, "head to foot")))[0]
    faults, note = said(examine_anatomy(changed(scan, "mirrored")))
    assert not faults
    assert "left and right are mirrored" in note


@pytest.mark.parametrize("name", REAL_CUTS)
def test_of_cut_real_chests_nothing_wrong_is_said(name: str, real_data: Path) -> None:
    assert said(examine_anatomy(reorient(read_image(real_data / name)))) == ("", "")


@pytest.mark.slow
def test_phantoms_upside_down_are_refused_and_sound_ones_are_not() -> None:
    for number in range(1, 7):
        image = reorient(make_case(3, "test", number, LargestNodes()).image)
        assert not said(examine_anatomy(image))[0]
        assert "upside down" in said(examine_anatomy(changed(image, "head to foot")))[0]


def test_gas_of_a_stomach_below_the_bases_of_the_lungs_is_no_windpipe() -> None:
    # The lower half of a chest, as the upper part of an abdomen's scan shows it.
    bases = chest().array[:32].copy()
    z, y, x = coordinates(Grid(bases.shape, GRID.spacing_mm))
    bases[(z < 0) & (y**2 + x**2 < 20**2)] = -1000
    assert said(examine_anatomy(Volume(bases, Grid(bases.shape, GRID.spacing_mm)))) == ("", "")
    # Nor is a hernia's beside the windpipe itself.
    whole = chest().array.copy()
    z, y, x = coordinates(GRID)
    whole[(z < 0) & (y**2 + x**2 < 20**2)] = -1000
    assert said(examine_anatomy(Volume(whole, GRID))) == ("", "")
