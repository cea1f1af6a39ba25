"""The Bezier map of intensities: its curves, percentiles and every bit of its values."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from support.corruptions import (
    DRAWS,
    PAPER,
    SHAPES,
    normal_patch,
    rng,
    within_chance,
)

from lnq.data.patches.corruption import (
    BezierIntensity,
    RandomBezierIntensity,
)
from lnq.volume import Array

LINE = ((1 / 3, 1 / 3), (2 / 3, 2 / 3))


def plain_bezier(corruption: BezierIntensity, patch: Array) -> Array:
    """The corruption as one reads it."""
    work = patch.astype(np.result_type(patch, np.float32))
    low, high = np.percentile(work, (0.1, 99.9)).astype(work.dtype)
    if low == high:
        return np.full_like(patch, low)
    share = (np.clip(work, low, high) - low) / (high - low)
    table = low + (high - low) * corruption.values(np.linspace(0, 1, 2**16))
    return table.astype(patch.dtype)[np.rint(share * (2**16 - 1)).astype(int)]


def half_air(shape: tuple[int, ...]) -> Array:
    """The smallest value often, and voxels that no sample of each n-th is sure to meet."""
    patch = np.maximum(normal_patch(shape), 0)
    patch[-1, -1, -1] = 1e3
    return patch


@pytest.mark.parametrize("shape", [*SHAPES, (32, 64, 64)], ids=str)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("patch_of", [normal_patch, half_air, np.ones])
def test_the_bezier_map_is_the_plain_one_to_the_bit(
    patch_of: Callable[[tuple[int, ...]], Array], dtype: type, shape: tuple[int, int, int]
) -> None:
    patch = patch_of(shape).astype(dtype)
    (bezier,) = RandomBezierIntensity().draw(shape, rng(1))
    fast, plain = bezier.corrupt(patch), plain_bezier(bezier, patch)
    assert fast.dtype == plain.dtype == dtype
    np.testing.assert_array_equal(fast, plain)


def test_percentiles_hold_where_a_sample_misleads() -> None:
    patch = np.zeros((32, 64, 64), np.float32)
    values = patch.reshape(-1)
    values[1::13] = normal_patch((10083, 1, 1)).ravel()  # the sample takes each 13th from 0 on
    (bezier,) = RandomBezierIntensity().draw(patch.shape, rng(2))
    np.testing.assert_array_equal(bezier.corrupt(patch), plain_bezier(bezier, patch))
    values[:] = rng(3).permutation(values.size)
    values[::13] = -values.size - values[::13] ** 2
    np.testing.assert_array_equal(bezier.corrupt(patch), plain_bezier(bezier, patch))


def test_bezier_points_by_hand() -> None:
    # inner points (0, 1) and (0, 1): x = t³, y = 3 t (1-t)² + 3 t² (1-t) + t³ = 3t - 3t² + t³
    #   t = 0.5: x = 0.125, y = 0.875;  t = 0.8: x = 0.512, y = 0.992
    # (0, 0) and (1, 1): x = y = 3t² - 2t³ at t: the identity
    # (0.5, 0) and (1, 0.5): x = 1.5 t (1-t)² + 3 t² (1-t) + t³, y = 1.5 t² (1-t) + t³
    #   t = 0.5: x = 0.1875 + 0.375 + 0.125 = 0.6875, y = 0.1875 + 0.125 = 0.3125
    #   t = 0.2: x = 0.192 + 0.096 + 0.008 = 0.296, y = 0.048 + 0.008 = 0.056
    given = np.array([0.125, 0.512])
    up = BezierIntensity(((0.0, 1.0), (0.0, 1.0)), monotone=True)
    assert up.values(given) == pytest.approx([0.875, 0.992], abs=1e-6)
    same = BezierIntensity(((0.0, 0.0), (1.0, 1.0)), monotone=True)
    assert same.values(given) == pytest.approx(given, abs=1e-6)
    low = BezierIntensity(((0.5, 0.0), (1.0, 0.5)), monotone=True)
    assert low.values(np.array([0.6875, 0.296])) == pytest.approx([0.3125, 0.056], abs=1e-6)
    # turned round, the value at t stands where x(1 - t) is, here at x = 1 - x(t) of the line
    line = BezierIntensity(LINE, monotone=False)
    assert line.values(np.array([0.0, 0.25, 1.0])) == pytest.approx([1.0, 0.75, 0.0])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_bezier_spans_the_percentiles_by_hand(dtype: type) -> None:
    # 0 ... 1000 once each: the 0.1 and 99.9 percentiles are 1 and 999
    patch = rng().permutation(1001).reshape(7, 11, 13).astype(dtype)
    before = patch.copy()
    same = BezierIntensity(LINE, monotone=True).corrupt(patch)
    assert same.dtype == dtype
    assert same == pytest.approx(np.clip(patch, 1, 999), abs=0.02)
    turned = BezierIntensity(LINE, monotone=False).corrupt(patch)
    assert turned == pytest.approx(1000 - np.clip(patch, 1, 999), abs=0.5)
    # x = t³, y = 1 - (1-t)³: the argument 1 + 998 / 8 has the value 1 + 998 * 7 / 8
    curve = BezierIntensity(((0.0, 1.0), (0.0, 1.0)), monotone=True).corrupt(patch)
    assert curve[patch == 126] == pytest.approx(1 + 998 * 7 / 8, abs=1.5)
    assert np.array_equal(patch, before)


@pytest.mark.parametrize("seed", range(20))
def test_monotone_maps_keep_order_and_the_others_turn_it(seed: int) -> None:
    (drawn,) = RandomBezierIntensity().draw(PAPER, rng(seed))
    patch = normal_patch()
    low, high = np.percentile(patch, (0.1, 99.9))
    order = np.argsort(patch, axis=None)
    rising = BezierIntensity(drawn.inner, monotone=True).corrupt(patch).ravel()[order]
    assert (np.diff(rising) >= 0).all()
    assert (rising[0], rising[-1]) == pytest.approx((low, high), abs=1e-6)
    falling = BezierIntensity(drawn.inner, monotone=False).corrupt(patch).ravel()[order]
    assert (falling[0], falling[-1]) == pytest.approx((high, low), abs=1e-6)
    assert (np.diff(falling) < 0).any()


def test_half_of_the_curves_are_monotone_and_control_points_fill_the_square() -> None:
    curves = [RandomBezierIntensity().draw(PAPER, rng(seed))[0] for seed in range(DRAWS)]
    assert within_chance(sum(curve.monotone for curve in curves), DRAWS, 0.5)
    points = np.array([curve.inner for curve in curves]).reshape(-1, 4)
    assert points.min() >= 0
    assert points.max() <= 1
    for column in points.T:
        for quarter in range(4):
            count = int(((column >= quarter / 4) & (column < (quarter + 1) / 4)).sum())
            assert within_chance(count, DRAWS, 0.25)
    assert np.abs(np.corrcoef(points.T) - np.eye(4)).max() < 0.12
