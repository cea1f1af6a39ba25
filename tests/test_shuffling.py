"""Voxels shuffled inside small windows: none is lost, every permutation is as likely."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
import pytest
from support.corruptions import (
    DRAWS,
    inside,
    rng,
    within_chance,
)

from lnq.data.patches.corruption import (
    LocalShuffling,
    RandomLocalShuffling,
)
from lnq.data.patches.corruption.boxes import slices
from lnq.volume import Array


def unique_patch(shape: tuple[int, ...] = (12, 20, 30)) -> Array:
    """Every voxel another value, so that each can be traced."""
    return rng(99).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)


@pytest.mark.parametrize("seed", range(5))
def test_shuffling_keeps_each_window_s_voxels_and_touches_nothing_else(seed: int) -> None:
    patch = unique_patch()
    before = patch.copy()
    # windows that do not meet
    windows = np.array(
        [[[0, 0, 0], [2, 3, 4]], [[3, 5, 7], [7, 9, 11]], [[8, 12, 20], [12, 20, 30]]]
    )
    shuffled = LocalShuffling(windows, seed).corrupt(patch)
    for window in slices(windows):
        assert sorted(shuffled[window].ravel()) == sorted(patch[window].ravel())
        assert not np.array_equal(shuffled[window], patch[window])
    outside = ~inside(windows, patch.shape)
    assert np.array_equal(shuffled[outside], patch[outside])
    assert np.array_equal(patch, before)


def test_every_permutation_of_a_window_is_as_likely() -> None:
    patch = np.array([[[0.0, 1.0, 2.0, 9.0]]])
    windows = np.array([[[0, 0, 0], [1, 1, 3]]])
    seen = Counter(
        tuple(LocalShuffling(windows, seed).corrupt(patch).ravel().tolist()) for seed in range(1200)
    )
    assert len(seen) == 6
    assert {last for *_, last in seen} == {9.0}
    assert all(within_chance(count, 1200, 1 / 6) for count in seen.values())


def test_where_windows_overlap_the_last_wins_with_voxels_of_the_patch_as_it_was() -> None:
    patch = unique_patch((1, 1, 6))
    windows = np.array([[[0, 0, 0], [1, 1, 4]], [[0, 0, 2], [1, 1, 6]]])
    for seed in range(20):
        shuffled = LocalShuffling(windows, seed).corrupt(patch)
        assert sorted(shuffled[0, 0, 2:]) == sorted(patch[0, 0, 2:])
        assert set(shuffled[0, 0, :2]) <= set(patch[0, 0, :4])


def plain_shuffling(windows: Array, patch: Array, permuted: Iterable[Sequence[int]]) -> Array:
    """The corruption as one reads it, by the permutations of its windows."""
    shuffled = patch.copy()
    for window, order in zip(slices(windows), permuted, strict=True):
        shuffled[window] = patch[window].ravel()[list(order)].reshape(shuffled[window].shape)
    return shuffled


def test_overlapping_windows_come_out_as_often_as_of_all_their_permutations() -> None:
    patch = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    windows = np.array([[[0, 0, 0], [1, 1, 3]], [[0, 0, 1], [1, 2, 2]], [[0, 1, 1], [1, 2, 3]]])
    orders = itertools.product(*(itertools.permutations(range(n)) for n in (3, 2, 2)))
    expected = Counter(plain_shuffling(windows, patch, o).tobytes() for o in orders)
    seen = Counter(LocalShuffling(windows, s).corrupt(patch).tobytes() for s in range(DRAWS))
    assert set(seen) == set(expected)
    for outcome, ways in expected.items():
        assert within_chance(seen[outcome], DRAWS, ways / expected.total())


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int16])
def test_patches_of_every_type_are_shuffled_alike(dtype: type) -> None:
    patch = unique_patch((4, 12, 30))  # values that float16 holds
    (shuffling,) = RandomLocalShuffling(200, 0.3).draw(patch.shape, rng(4))
    shuffled = shuffling.corrupt(patch.astype(dtype))
    assert shuffled.dtype == dtype
    np.testing.assert_array_equal(shuffled, shuffling.corrupt(patch))
