"""Boxes of voxels: around a mask of any kind, and inside an array."""

from __future__ import annotations

import numpy as np
import pytest

from lnq.box import Box


@pytest.mark.parametrize("kind", [bool, np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("size", [(7,), (7, 5), (7, 5, 6)])
def test_the_box_around_a_mask_holds_all_of_it_and_no_empty_side(
    kind: type, size: tuple[int, ...]
) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = (rng.random(size) < 0.04) * rng.choice([1, 3] if kind is bool else [-2, 0.5, 300])
        mask = mask.astype(np.float32 if kind is np.float32 else np.int64).astype(kind)
        box = Box.around(mask)
        places = np.argwhere(mask)
        if len(places) == 0:
            assert box.is_empty
            assert mask[box.slices].size == 0
            continue
        assert box.start == tuple(places.min(axis=0))
        assert box.stop == tuple(places.max(axis=0) + 1)
        assert mask[box.slices].shape == box.size


def test_the_mask_may_be_a_view_and_stays_as_it_is() -> None:
    whole = np.zeros((8, 8, 8), bool)
    whole[1:7:2, 3, 2:5] = True
    before = whole.copy()
    assert Box.around(whole[::-1, :, ::2]) == Box((2, 3, 1), (7, 4, 3))
    assert np.array_equal(whole, before)


def test_within_an_array_a_box_is_cut_to_it() -> None:
    assert Box.within((4, 5, 6), (-1, 2, 3), (2, 9, 6)) == Box((0, 2, 3), (2, 5, 6))
    assert Box.within((4,), (6,), (9,)).is_empty
