"""Crop, resampling, normalisation, labels, and the way back to the scan."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from support.synthetic_chest import GRID, chest, ellipsoid, lungs

from lnq.data.preparation.preprocessing import ALGORITHM, CT_MEAN, CT_SD, Preprocessing
from lnq.data.preparation.resampling import working_grid
from lnq.errors import CaseError
from lnq.inference.restore import to_scan_grid
from lnq.volume import Array, Grid, Volume, from_sitk, reorient, to_sitk


def dice(a: Array, b: Array) -> float:
    return 2 * float((a * b).sum()) / float(a.sum() + b.sum())


def there_and_back(settings: Preprocessing, scan: Volume, label: Volume) -> Array:
    prepared = settings.apply(scan)
    field = settings.apply_label(label, prepared.volume.grid)
    probability = Volume(field.array.astype(np.float32), field.grid)
    return to_scan_grid(probability, scan.grid).array > 0.5


def nodes(grid: Grid, radius: float) -> Volume:
    mask = ellipsoid(grid, (10, 20, 15), (radius,) * 3)
    mask |= ellipsoid(grid, (-40, -25, -10), (radius,) * 3)
    return Volume(mask.astype(np.uint8), grid)


def test_round_trip_at_native_spacing_changes_nothing() -> None:
    scan, label = chest(), nodes(GRID, 12)
    restored = there_and_back(Preprocessing(spacing_mm=GRID.spacing_mm), scan, label)
    assert np.array_equal(restored, label.array > 0)


@pytest.mark.parametrize(
    # A mask of 3 mm slices cannot hold the detail of 1 mm ones: 0.83 is what is left of it.
    ("slice_mm", "radius_mm", "least"),
    [(3.0, 4.0, 0.95), (5.0, 6.0, 0.95), (2.5, 6.0, 0.95), (1.0, 4.0, 0.83)],
)
def test_round_trip_at_working_spacing(slice_mm: float, radius_mm: float, least: float) -> None:
    grid = Grid((int(140 / slice_mm), 90, 90), (slice_mm, 0.75, 0.75))
    scan = Volume(np.where(ellipsoid(grid, (0, 0, 0), (80, 32, 32)), 40, -1000), grid)
    label = Volume(ellipsoid(grid, (0.3, 1.4, -0.8), (radius_mm,) * 3).astype(np.uint8), grid)
    restored = there_and_back(Preprocessing(), scan, label)
    assert dice(restored, label.array > 0) >= least


def tilted(volume: Volume) -> Volume:
    """The same voxels on an oblique grid."""
    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.1, -0.15, 0.2).GetMatrix()
    return Volume(volume.array, Grid(volume.grid.size, volume.grid.spacing_mm, (7, 8, 9), turn))


@pytest.mark.slow
@pytest.mark.parametrize("orientation", ["RAI", "LPS", "SLA"])
def test_orientation_of_the_file_changes_nothing_in_the_world(orientation: str) -> None:
    scan, label = tilted(chest()), tilted(nodes(GRID, 12))
    expected = there_and_back(Preprocessing(), scan, label)
    turned = reorient(scan, orientation)
    assert orientation == "LPS" or turned.grid.direction != scan.grid.direction
    restored = there_and_back(Preprocessing(), turned, reorient(label, orientation))
    back = reorient(Volume(restored.astype(np.uint8), turned.grid), "LPS")
    assert back.grid.difference(scan.grid) is None
    assert np.array_equal(back.array > 0, expected)
    assert dice(expected, label.array > 0) > 0.9


def test_crop_knows_where_it_lies() -> None:
    scan = chest()
    prepared = Preprocessing(spacing_mm=GRID.spacing_mm).apply(scan)
    assert prepared.volume.grid.size != GRID.size
    # A marked voxel is found again at its world position, through crop and crop of the crop.
    start = np.round(GRID.to_index(prepared.crop.origin_mm)).astype(int)
    assert (start > 0).any()
    expected = scan.array[
        tuple(slice(s, s + n) for s, n in zip(start, prepared.crop.size, strict=True))
    ]
    restored = prepared.volume.array * prepared.sd + prepared.mean
    assert np.abs(restored - np.clip(expected, -1024, 3071)).max() < 0.5


def test_zscore() -> None:
    prepared = Preprocessing().apply(chest())
    assert prepared.lungs_found
    assert prepared.volume.array.dtype == np.float32
    assert prepared.volume.grid.spacing_mm == (3.0, 0.8, 0.8)
    assert abs(float(prepared.volume.array.mean(dtype=float))) < 1e-4
    assert abs(float(prepared.volume.array.std(dtype=float)) - 1) < 1e-4


def test_ct_normalisation_clips_and_scales_by_the_original_constants() -> None:
    prepared = Preprocessing(normalisation="ct").apply(chest())
    low, high = prepared.volume.array.min(), prepared.volume.array.max()
    assert low == pytest.approx((-36 - CT_MEAN) / CT_SD, rel=1e-5)
    assert high == pytest.approx((40 - CT_MEAN) / CT_SD, rel=1e-5)


@pytest.mark.slow
def test_padding_does_not_decide_the_normalisation() -> None:
    scan = chest()
    plain = Preprocessing().apply(scan)
    scan.array[:, :, :20] = -3024
    padded = Preprocessing().apply(scan)
    assert padded.volume.array.min() * padded.sd + padded.mean >= -1025
    assert abs(plain.sd - padded.sd) < 60


def test_small_node_keeps_a_voxel_and_only_one() -> None:
    grid = Grid((40, 60, 60), (0.6, 0.4, 0.4))
    label = Volume(np.zeros(grid.size, np.uint8), grid)
    label.array[20, 30, 30] = 1
    label.array[5:15, 10:20, 10:20] = 1
    coarse = working_grid(grid, (3.0, 0.8, 0.8))
    result = Preprocessing().apply_label(label, coarse)
    place = tuple(np.round(coarse.to_index(grid.to_world(np.array([20, 30, 30])))).astype(int))
    assert result.array[place] == 1
    result.array[place] = 0
    z, y, _ = np.nonzero(result.array)
    assert len(z) > 1
    assert y.max() < place[1] - 1


@pytest.mark.slow
def test_resampling_to_thick_slices_averages_thin_ones() -> None:
    # Each 1 mm slice off by some HU, 20 on average: interpolating between two neighbours would
    # leave 14 or more of it, the profile of a 3 mm slice leaves 10.
    thin = Grid((300, 72, 96), (1.0, 4.0, 4.0), GRID.origin_mm)
    plain = np.repeat(chest().array, 5, axis=0).astype(np.float32)
    off = np.random.default_rng(0).normal(0, 20, (300, 1, 1))
    settings = Preprocessing(spacing_mm=(3.0, 4.0, 4.0))
    one, two = (settings.apply(Volume(hu, thin)) for hu in (plain, plain + off))
    assert one.crop == two.crop
    difference = (two.volume.array * two.sd + two.mean) - (one.volume.array * one.sd + one.mean)
    assert difference.std() == pytest.approx(10, abs=2)


@pytest.mark.slow
def test_not_finite_and_constant_scans_are_refused() -> None:
    scan = chest()
    broken = scan.array.astype(np.float32)
    broken[30, 30, 30] = np.nan
    with pytest.raises(CaseError, match="NaN"):
        Preprocessing().apply(Volume(broken, GRID))
    with pytest.raises(CaseError, match="one value"):
        Preprocessing().apply(Volume(np.zeros(GRID.size, np.int16), GRID))


def test_settings_survive_a_checkpoint() -> None:
    settings = Preprocessing((2.5, 1.0, 1.0), "ct", (5.0, 6.0, 7.0))
    plain = settings.as_dict()
    assert plain["spacing_mm"] == [2.5, 1.0, 1.0]
    assert Preprocessing.from_dict(plain) == settings


def test_the_algorithms_version_counts_every_change_of_what_comes_out() -> None:
    """Where this fails on purpose, raise ALGORITHM and write the new figures here."""
    prepared = Preprocessing().apply(chest())
    grid, image = prepared.volume.grid, prepared.volume.array
    node = ellipsoid(GRID, (0, 20, 0), (6, 5, 4)).astype(np.uint8)
    label = Preprocessing().apply_label(Volume(node, GRID), grid).array
    figures = [*grid.size, *grid.origin_mm, label.sum(), *np.argwhere(label).mean(axis=0),
               prepared.mean, prepared.sd, *np.quantile(image, (0.1, 0.5, 0.9))]  # fmt: skip
    known = [67, 180, 340, -135.6, -71.6, -99.0, 272, 33.0, 114.5, 169.5,
             -244.571, 405.274, -1.494, 0.702, 0.702]  # fmt: skip
    assert ALGORITHM == 8
    assert figures == pytest.approx(known, abs=2e-3)


def test_working_grid_shares_what_does_not_fit() -> None:
    crop = Grid((10, 10, 10), (1.0, 1.0, 1.0))
    grid = working_grid(crop, (3.0, 1.0, 1.0))
    assert grid.size == (3, 10, 10)
    assert grid.to_world(np.array([1.0, 0, 0]))[2] == pytest.approx(4.5)


def test_label_outside_the_crop_is_left_out() -> None:
    label = Volume(lungs().astype(np.uint8), GRID)
    grid = GRID.crop((25, 30, 40), (35, 40, 50))
    result = Preprocessing(spacing_mm=GRID.spacing_mm).apply_label(label, grid)
    assert np.array_equal(result.array, label.array[25:35, 30:40, 40:50])
    assert from_sitk(to_sitk(result)).grid.difference(grid) is None


def test_a_grid_is_bounded_before_memory_is_taken() -> None:
    scan = Volume(np.zeros((60, 300, 300), np.int16), Grid((60, 300, 300), (5.0, 1.0, 1.0)))
    scan.array[20:40, 100:200, 100:200] = 40
    with pytest.raises(CaseError, match=r"would have .* voxels.*spacing_mm"):
        Preprocessing(spacing_mm=(0.05, 0.05, 0.05)).apply(scan)
