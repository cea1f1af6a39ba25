"""The lung crop: what it holds, and what it does where a chest is not as usual."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scipy import ndimage
from support.synthetic_chest import (
    GRID,
    LUNG_CENTRES,
    LUNG_RADII,
    chest,
    coordinates,
    ellipsoid,
    lungs,
)

from lnq.box import Box
from lnq.data.chest.lung_box import LungBox, lung_box
from lnq.data.chest.lungs import find_chest
from lnq.volume import Array, Grid, Volume, from_sitk, reorient, resample

LungCase = Callable[[Path], tuple[Volume, Array]]

MARGIN = (10.0, 10.0, 10.0)


def bounds(mask: Array) -> tuple[Array, Array]:
    where = np.argwhere(mask)
    return where.min(axis=0), where.max(axis=0) + 1


def margins(box: Box, mask: Array, grid: Grid) -> tuple[Array, Array]:
    """Room in mm before and after the mask's bounding box."""
    start, stop = bounds(mask)
    spacing = np.asarray(grid.spacing_mm)
    return (start - box.start) * spacing, (np.asarray(box.stop) - stop) * spacing


def box_of(scan: Volume) -> LungBox:
    """Of a scan whose axes are in LPS order."""
    return lung_box(scan.grid, find_chest(scan), MARGIN)


def test_box_is_that_of_both_lungs() -> None:
    found = box_of(chest())
    assert found.lungs_found
    assert found.notes == ()
    for room in margins(found.box, lungs(), GRID):
        assert (room >= 5).all()
        assert (room <= 15).all()


def test_windpipe_bowel_table_and_free_air_are_no_lungs() -> None:
    scan = chest()
    seen = find_chest(scan)
    mask = resample(Volume(seen.lungs, seen.coarse.grid), GRID, "nearest").array
    assert mask[lungs()].mean() > 0.95
    z, y, _ = coordinates(GRID)
    assert not mask[ellipsoid(GRID, (-125, -40, 30), (22, 25, 40))].any()
    assert not mask[y > 96].any()
    assert not mask[(z > 100) & ~lungs()].any()


@pytest.mark.parametrize("padding", [-3024, -2048, -1024])
def test_padding_around_a_round_field_of_view(padding: int) -> None:
    scan = chest()
    _, y, x = coordinates(GRID)
    scan.array[y**2 + x**2 > 140**2] = padding
    for room in margins(box_of(scan).box, lungs(), GRID):
        assert (np.abs(room - 10) <= 5).all()


def narrowed(scan: Volume, lungs_: Array, radius_mm: float, padding: int) -> tuple[Volume, Array]:
    """Scan and lungs as a round field of view around the lungs' middle leaves them."""
    middle = scan.grid.to_world((np.stack(bounds(lungs_)).sum(axis=0) - 1) / 2)
    first = np.stack(np.meshgrid([0], *map(np.arange, scan.grid.size[1:]), indexing="ij"), axis=-1)
    offset = scan.grid.to_world(first) - middle
    cut = np.hypot(offset[..., 0], offset[..., 1]) > radius_mm
    assert (lungs_ & ~cut).sum() > 0.55 * lungs_.sum()
    return Volume(np.where(cut, np.int16(padding), scan.array), scan.grid), lungs_ & ~cut


@pytest.mark.parametrize("padding", [-3024, -2048, -1024])
@pytest.mark.parametrize("radius_mm", [135, 125, 110, 95])
@pytest.mark.slow
def test_a_field_of_view_that_cuts_both_lungs(radius_mm: float, padding: int) -> None:
    scan, left = narrowed(chest(), lungs(), radius_mm, padding)
    found = box_of(scan)
    assert found.lungs_found
    assert found.notes == ()
    for room in margins(found.box, left, scan.grid):
        assert (room >= 5).all()
        assert (room <= 15).all()


def test_padding_that_is_not_even_is_padding() -> None:
    scan, left = narrowed(chest(), lungs(), 110, -3024)
    ripples = np.random.default_rng(0).integers(-9, 10, GRID.size, dtype=np.int16)
    scan.array[scan.array == -3024] += ripples[scan.array == -3024]
    for room in margins(box_of(scan).box, left, scan.grid):
        assert (room <= 15).all()


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        ((0, 0, 32), GRID.size),
        ((0, 0, 0), (60, 72, 64)),
        ((20, 0, 0), GRID.size),
        ((0, 0, 0), (40, 72, 96)),
        ((0, 24, 0), GRID.size),
    ],
)
@pytest.mark.slow
def test_a_third_cut_off(start: tuple[int, int, int], stop: tuple[int, int, int]) -> None:
    whole = chest()
    window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
    part = Volume(whole.array[window], whole.grid.crop(start, stop))
    found = box_of(part)
    assert found.lungs_found
    for room in margins(found.box, lungs()[window], part.grid):
        assert (room >= 0).all()
        assert (room <= 15).all()


@pytest.mark.parametrize("remains_mm", [0, 20])
def test_box_of_a_collapsed_lung_mirrors_the_other(remains_mm: int) -> None:
    scan = chest()
    scan.array[ellipsoid(GRID, LUNG_CENTRES[1], LUNG_RADII)] = 30
    if remains_mm:
        scan.array[ellipsoid(GRID, (0, 0, 40), (remains_mm,) * 3)] = -800
    found = box_of(scan)
    assert found.lungs_found
    assert "widened" in found.notes[0]
    for room in margins(found.box, lungs(), GRID):
        assert (room[1:] >= 0).all()
        assert (room <= 20).all()


ARMS = {
    "both at the sides": ((-205, 205), -1e4),
    "one, which touches the chest": ((205,), -1e4),
    "both, with air between": ((-220, 225), -1e4),
    "cut by the field of view": ((-240,), -1e4),
    "raised": ((-205, 205), 60.0),
}


@pytest.mark.parametrize("kind", ARMS)
@pytest.mark.slow
def test_arms_in_view_move_nothing(kind: str) -> None:
    grid = Grid((60, 72, 136), (5.0, 4.0, 4.0))
    scan = chest(grid)
    z, y, x = coordinates(grid)
    middles, above = ARMS[kind]
    for middle in middles:
        scan.array[((y - 5) ** 2 + (x - middle) ** 2 < 45**2) & (z > above)] = 40
    found = box_of(scan)
    assert found.notes == ()
    for room in margins(found.box, lungs(grid), grid):
        assert (room >= 5).all()
        assert (room <= 15).all()


@pytest.mark.parametrize("padding", [-3024, -1024])
@pytest.mark.parametrize("tilt_deg", [20, -25])
def test_axes_oblique_to_the_patient_with_wedges_of_padding(tilt_deg: int, padding: int) -> None:
    # What correcting a gantry tilt leaves: the patient leans, and no slice fills its field.
    tilt = np.deg2rad(tilt_deg)
    z, y, x = coordinates(GRID)
    leaning = np.stack(
        [np.cos(tilt) * z - np.sin(tilt) * y, np.sin(tilt) * z + np.cos(tilt) * y, x]
    )

    def inside(centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
        offset = (leaning - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(radii, (3, 1, 1, 1))
        return np.asarray((offset**2).sum(axis=0) <= 1)

    both = inside(LUNG_CENTRES[0], LUNG_RADII) | inside(LUNG_CENTRES[1], LUNG_RADII)
    hu = np.where(inside((0, 0, 0), (1e4, 96, 165)), 40, -1000)
    hu[both] = -850
    hu[np.abs(y - np.tan(tilt) * z) > 125] = padding
    assert (hu[both] == -850).all()
    found = box_of(Volume(hu.astype(np.int16), GRID))
    assert found.notes == ()
    for room in margins(found.box, both, GRID):
        assert (room >= 5).all()
        assert (room <= 15).all()


@pytest.mark.slow
def test_half_a_voxel_of_margin_is_rounded_outwards_whatever_the_header_rounds() -> None:
    boxes = set()
    for error in (-1e-6, 0.0, 1e-6):  # as of 32-bit floats
        spacing = (5.0, 4.0 * (1 + error), 4.0)
        grid = Grid(GRID.size, spacing, (1.0, 2.0 + error, 3.0))
        boxes.add(box_of(Volume(chest().array, grid)).box)
    assert len(boxes) == 1


def test_blocks_are_the_same_in_all_48_orders_of_the_axes() -> None:
    # 2, 2 and 4 voxels in a block, of which 1, 1 and 2 are left over at one end.
    grid = Grid((11, 13, 14), (2.0, 1.5, 1.0), (5.0, -6.0, 7.0))
    noise = np.random.default_rng(0).integers(-1000, 1000, grid.size, dtype=np.int16)
    expected = find_chest(Volume(noise, grid)).coarse
    assert expected.grid.size == (5, 6, 3)
    for axes in itertools.permutations(("RL", "AP", "IS")):
        for sides in itertools.product(*axes):
            stored = reorient(Volume(noise, grid), "".join(sides))
            found = find_chest(stored).coarse
            assert np.array_equal(found.array, expected.array)
            assert found.grid.difference(expected.grid, 1e-9) is None


def test_without_lungs_the_body() -> None:
    body = ellipsoid(GRID, (0, 0, 0), (110, 96, 120))
    scan = Volume(np.where(body, 0, -1000).astype(np.int16), GRID)
    found = box_of(scan)
    assert not found.lungs_found
    assert "body" in found.notes[0]
    assert found.box.stop[2] - found.box.start[2] < GRID.size[2]
    assert body[found.box.slices].sum() == body.sum()


def test_without_body_the_whole_scan() -> None:
    found = box_of(Volume(np.full(GRID.size, -1000, np.int16), GRID))
    assert not found.lungs_found
    assert found.box == Box((0, 0, 0), GRID.size)
    assert "nothing cropped" in found.notes[0]


def test_noise_moves_the_box_by_a_few_millimetres_at_most() -> None:
    quiet = chest()
    noise = np.random.default_rng(0).normal(0, 20, GRID.size)
    loud = Volume((quiet.array + noise).astype(np.int16), GRID)
    a, b = box_of(quiet).box, box_of(loud).box
    assert np.abs(np.subtract(a.start, b.start)).max() <= 1
    assert np.abs(np.subtract(a.stop, b.stop)).max() <= 1


def test_covering_box_sees_through_orientation_and_spacing() -> None:
    outer = Grid((20, 30, 40), (2.0, 1.0, 1.0), (5.0, -3.0, 7.0))
    inner = outer.crop((3, 4, 5), (10, 20, 30))
    expected = Box((3, 4, 5), (10, 20, 30))
    assert Box.covering(inner, outer) == expected
    assert Box.covering(inner.with_spacing((1.0, 0.5, 0.5)), outer) == expected
    flipped = reorient(Volume(np.zeros(inner.size, np.uint8), inner), "RAI").grid
    assert flipped.direction != inner.direction
    assert Box.covering(flipped, outer) == expected
    assert Box.covering(outer, inner) == Box((0, 0, 0), inner.size)


def whole_lungs(real_data: Path) -> tuple[Volume, Array]:
    folder = real_data / "chestimagingplatform"
    scan = reorient(from_sitk(sitk.ReadImage(folder / "ct-64.nrrd")))
    mask = reorient(from_sitk(sitk.ReadImage(folder / "wholeLung-64.nrrd")))
    return scan, mask.array > 0


def lung_segments(real_data: Path) -> tuple[Volume, Array]:
    image = sitk.ReadImage(real_data / "slicerio" / "Segmentation.seg.nrrd")
    numbers = [
        int(image.GetMetaData(key.replace("_Name", "_LabelValue")))
        for key in image.GetMetaDataKeys()
        if key.endswith("_Name") and "lung" in image.GetMetaData(key).lower()
    ]
    assert len(numbers) == 2
    scan = reorient(from_sitk(sitk.ReadImage(real_data / "slicerio" / "CTChest4.nrrd")))
    mask = reorient(from_sitk(image))
    on_scan = Volume(np.isin(mask.array, numbers).astype(np.uint8), mask.grid)
    return scan, resample(on_scan, scan.grid, "nearest").array > 0


def lungs_by_intensity(real_data: Path) -> tuple[Volume, Array]:
    scan = reorient(
        from_sitk(sitk.ReadImage(real_data / "4d-lung-P113" / "ct_bin3x3x1.nii.gz", sitk.sitkInt16))
    )
    seen = find_chest(scan)
    near = ndimage.binary_dilation(
        resample(Volume(seen.lungs, seen.coarse.grid), scan.grid, "nearest").array
    )
    return scan, near & (scan.array < -500)


@pytest.mark.slow
@pytest.mark.parametrize("case", [whole_lungs, lung_segments, lungs_by_intensity])
def test_a_field_of_view_that_cuts_real_lungs(case: LungCase, real_data: Path) -> None:
    scan, mask = case(real_data)
    for radius_mm, padding in ((125, -3024), (110, -1024), (95, -2048)):
        part, left = narrowed(scan, mask, radius_mm, padding)
        found = box_of(part)
        assert found.lungs_found
        for room in margins(found.box, left, scan.grid):
            assert (room >= 0).all()
            assert (room <= 15).all()


@pytest.mark.parametrize("case", [whole_lungs, lung_segments])
def test_real_lungs_lie_in_a_close_box(case: LungCase, real_data: Path) -> None:
    scan, mask = case(real_data)
    found = box_of(scan)
    assert found.lungs_found
    assert found.notes == ()
    for room in margins(found.box, mask, scan.grid):
        assert (room >= 0).all()
        assert (room <= 15).all()


@pytest.mark.slow
def test_real_nodes_lie_in_the_box_and_the_couch_does_not(real_data: Path) -> None:
    folder = real_data / "4d-lung-P113"
    scan = reorient(from_sitk(sitk.ReadImage(folder / "ct_bin3x3x1.nii.gz")))
    labels = reorient(from_sitk(sitk.ReadImage(folder / "labels_tumor1_ln2_bin3x3x1.nii.gz")))
    found = box_of(scan)
    assert found.lungs_found
    for room in margins(found.box, labels.array > 0, scan.grid):
        assert (room > 0).all()
    # Read off the picture: lungs span y 18..87 and x 30..114; the couch begins at y = 95.
    assert found.box.stop[1] < 95
    assert found.box.start[2] > 20
    assert found.box.stop[2] < 125


@pytest.mark.parametrize(
    "name",
    [
        "4d-lung-P113/ct_mediastinumcrop_native.nrrd",
        "totalsegmentator/pulmonary_report/ct_cropped.nii.gz",
    ],
)
def test_real_crop_of_a_mediastinum_is_kept(name: str, real_data: Path) -> None:
    scan = reorient(from_sitk(sitk.ReadImage(real_data / name)))
    found = box_of(scan)
    kept = np.prod(np.subtract(found.box.stop, found.box.start)) / np.prod(scan.grid.size)
    assert kept > 0.9
    assert found.lungs_found or found.notes
