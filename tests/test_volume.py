"""Geometry: agreed with SimpleITK, in world space, for oblique grids too."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from lnq.volume import Grid, Volume, components, from_sitk, grid_of, reorient, resample, to_sitk

OBLIQUE = tuple(Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix().ravel())
GRIDS = {
    "plain": Grid((4, 5, 6), (3.0, 0.8, 0.7), (-10.0, 20.0, 5.0)),
    "flipped": Grid((4, 5, 6), (3.0, 0.8, 0.7), (1.0, 2.0, 3.0), (-1, 0, 0, 0, -1, 0, 0, 0, 1)),
    "sagittal": Grid((4, 5, 6), (3.0, 0.8, 0.7), (1.0, 2.0, 3.0), (0, 0, -1, 1, 0, 0, 0, -1, 0)),
    "oblique": Grid((4, 5, 6), (3.0, 0.8, 0.7), (-10.0, 20.0, 5.0), OBLIQUE),
}


@pytest.fixture(params=GRIDS)
def grid(request: pytest.FixtureRequest) -> Grid:
    return GRIDS[request.param]


def ramp(grid: Grid) -> Volume:
    """A volume whose value is a linear function of the world position."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), axis=-1)
    return Volume(grid.to_world(index) @ np.array([1.0, 10.0, 100.0]), grid)


def test_world_positions_are_simpleitk_s(grid: Grid) -> None:
    image = to_sitk(Volume(np.zeros(grid.size, np.float32), grid))
    for z, y, x in [(0, 0, 0), (3, 4, 5), (1, 0, 2), (0.5, 2.25, -1.0)]:
        expected = image.TransformContinuousIndexToPhysicalPoint((float(x), float(y), float(z)))
        assert np.allclose(grid.to_world((z, y, x)), expected, atol=1e-9)


def test_index_is_the_inverse_of_world(grid: Grid) -> None:
    index = np.random.default_rng(0).uniform(-5, 9, (20, 3))
    assert np.allclose(grid.to_index(grid.to_world(index)), index)


def test_grid_survives_simpleitk_and_plain_types(grid: Grid) -> None:
    assert grid.difference(grid_of(to_sitk(Volume(np.zeros(grid.size), grid)))) is None
    assert Grid.from_dict(grid.to_dict()) == grid


def test_crop_stays_where_it_was(grid: Grid) -> None:
    whole = ramp(grid)
    start, stop = (1, 0, 2), (4, 3, 6)
    part = Volume(whole.array[1:4, 0:3, 2:6], grid.crop(start, stop))
    assert np.allclose(ramp(part.grid).array, part.array)


def test_a_crop_may_reach_outside(grid: Grid) -> None:
    larger = grid.crop((-2, -1, 0), (5, 5, 6))
    assert larger.size == (7, 6, 6)
    assert np.allclose(larger.to_world((2, 1, 0)), grid.to_world((0, 0, 0)))


@pytest.mark.parametrize("spacing", [(1.5, 0.4, 0.35), (3.0, 1.6, 0.7)])
def test_other_spacing_covers_the_same_extent(
    grid: Grid, spacing: tuple[float, float, float]
) -> None:
    other = grid.with_spacing(spacing)
    first = other.to_world((-0.5, -0.5, -0.5))
    assert np.allclose(first, grid.to_world((-0.5, -0.5, -0.5)))
    lengths = np.multiply(other.size, spacing)
    assert (
        np.abs(lengths - np.multiply(grid.size, grid.spacing_mm)) <= np.array(spacing) / 2 + 1e-9
    ).all()


def test_a_grid_never_vanishes() -> None:
    assert Grid((1, 5, 5), (1.0, 1.0, 1.0)).with_spacing((50.0, 1.0, 1.0)).size == (1, 5, 5)


def test_resampling_happens_in_world_space(grid: Grid) -> None:
    inner = grid.crop((1, 1, 1), (3, 4, 5)).with_spacing((1.0, 0.5, 0.5))
    turned = Grid((2, 2, 2), (0.3, 0.3, 0.3), tuple(grid.to_world((1.5, 2, 2.5))), OBLIQUE)
    for target in (inner, turned):
        found = resample(ramp(grid), target, "linear", outside=np.nan)
        inside = np.isfinite(found.array)
        assert inside.any()
        assert np.allclose(found.array[inside], ramp(target).array[inside], atol=1e-6)


def test_resampling_keeps_labels_whole_and_fills_outside(grid: Grid) -> None:
    label = Volume((np.indices(grid.size).sum(axis=0) % 3).astype(np.uint8), grid)
    found = resample(label, grid.crop((-1, 0, 0), (4, 5, 6)), "nearest", outside=7)
    assert found.array.dtype == np.uint8
    assert (found.array[0] == 7).all()
    assert (found.array[1:] == label.array).all()


def test_bool_and_half_arrays_cross_simpleitk(grid: Grid) -> None:
    mask = np.indices(grid.size).sum(axis=0) % 2 == 0
    assert (from_sitk(to_sitk(Volume(mask, grid))).array == mask).all()
    half = ramp(grid).array.astype(np.float16)
    assert (from_sitk(to_sitk(Volume(half, grid))).array == half).all()


@pytest.mark.parametrize("dtype", [bool, np.int16, np.float16])
def test_an_upright_volume_comes_back_as_from_the_filter(dtype: type) -> None:
    tilted = tuple(
        float(v) for v in Rotation.from_euler("xyz", [9, -14, 20], True).as_matrix().flat
    )
    for direction in (tuple(float(v) for v in np.eye(3).flat), tilted):
        grid = Grid((2, 3, 4), (3.0, 1.0, 0.7), (1.5, -2.25, 7.1), direction)
        volume = Volume(np.arange(24).reshape(grid.size).astype(dtype), grid)
        upright, filtered = reorient(volume), from_sitk(sitk.DICOMOrient(to_sitk(volume), "LPS"))
        assert upright.grid == filtered.grid
        assert upright.array.dtype == filtered.array.dtype
        assert np.array_equal(upright.array, filtered.array)
        assert not np.shares_memory(upright.array, volume.array)
        assert not np.array_equal(reorient(volume, "RPI").array, upright.array) or dtype is bool


def test_reorienting_moves_no_voxel(grid: Grid) -> None:
    turned = reorient(ramp(grid))
    assert np.allclose(turned.array, ramp(turned.grid).array)
    columns = np.reshape(turned.grid.direction, (3, 3))
    assert (np.argmax(np.abs(columns), axis=0) == [0, 1, 2]).all()
    assert (np.diag(columns) > 0).all()
    assert sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(columns.ravel()) == "LPS"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"size": (4, 5, 7)}, "size"),
        ({"origin_mm": (-10.0, 20.0, 5.1)}, "origin_mm"),
        ({"spacing_mm": (3.0, 0.8, 0.71)}, "spacing_mm"),
        ({"direction": (-1.0, 0, 0, 0, 1, 0, 0, 0, 1)}, "direction"),
        ({"origin_mm": (-10.0, 20.0, 5.001)}, None),
    ],
)
def test_difference_says_what_differs(change: dict[str, tuple], words: str | None) -> None:
    plain = GRIDS["plain"]
    found = plain.difference(Grid(**(plain.to_dict() | change)))
    assert found is None if words is None else words in str(found)


def test_a_single_voxel_grid_still_has_a_direction() -> None:
    one = Grid((1, 1, 1), (1.0, 1.0, 1.0))
    assert one.difference(Grid((1, 1, 1), (1.0, 1.0, 2.0))) is not None


def test_volume_refuses_an_array_of_another_size(grid: Grid) -> None:
    with pytest.raises(ValueError, match="array of shape"):
        Volume(np.zeros((4, 5, 7)), grid)


def test_components_touch_at_corners_and_are_numbered_by_their_first_voxel() -> None:
    mask = np.zeros((4, 4, 4), np.uint8)
    mask[0, 3, 3] = mask[1, 0, 0] = mask[2, 1, 1] = mask[3, 3, 3] = 2
    pieces, count = components(mask)
    assert count == 3
    assert [pieces[p] for p in ((0, 3, 3), (1, 0, 0), (2, 1, 1), (3, 3, 3))] == [1, 2, 2, 3]
    assert components(np.ones((1, 1, 6)))[1] == 1
