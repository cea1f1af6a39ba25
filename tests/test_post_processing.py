"""What post-processing removes from a mask, step by step."""

from __future__ import annotations

import numpy as np
import pytest

from lnq.box import Box
from lnq.inference.post_processing import PostProcessing
from lnq.volume import Grid, Volume


def applied(settings: PostProcessing, voxels: list[tuple[int, int, int]], **scan: object) -> set:
    """Coordinates that survive in a 12 x 12 x 12 scan of 10 mm³ voxels, crop [2, 10)."""
    grid = Grid((12, 12, 12), (2.5, 2.0, 2.0))
    mask = np.zeros(grid.size, np.uint8)
    mask[tuple(np.transpose(voxels))] = 1
    hu = np.full(grid.size, 50, np.int16)
    for place, value in scan.items():
        hu[tuple(int(c) for c in place.split("_")[1:])] = value
    result = settings.apply(Volume(mask, grid), Volume(hu, grid), Box((2,) * 3, (10,) * 3))
    assert result.array.dtype == np.uint8
    return {tuple(int(v) for v in index) for index in np.argwhere(result.array)}


NOTHING = {"border": "none", "hu_window": None, "min_volume_mm3": 0.0}


def test_none_of_the_steps() -> None:
    voxels = [(0, 0, 0), (5, 5, 5), (11, 3, 2)]
    assert applied(PostProcessing(**NOTHING), voxels) == set(voxels)


def test_border_of_the_scan_and_of_the_crop() -> None:
    """A share of 0 is the paper's rule: what touches the border goes."""
    deep, in_crop_border, in_scan_border = (5, 6, 6), (4, 5, 6), (9, 5, 5)
    voxels = [deep, in_scan_border, (2, 8, 8)]
    scan = PostProcessing(**{**NOTHING, "border": "scan", "border_share": 0.0})
    assert applied(scan, voxels) == {deep}
    # Layers 0, 1, 2 and 9, 10, 11 are the border of a scan of 12.
    assert applied(scan, [(3, 3, 3), (8, 8, 8)]) == {(3, 3, 3), (8, 8, 8)}
    crop = PostProcessing(**{**NOTHING, "border": "crop", "border_share": 0.0})
    assert applied(crop, [deep, in_scan_border]) == {deep}
    assert applied(crop, [in_crop_border]) == set()
    # The crop [2, 10) less 3 is [5, 7).
    assert applied(crop, [(5, 5, 5), (7, 5, 5)]) == {(5, 5, 5)}


def test_border_drops_whole_pieces() -> None:
    scan = PostProcessing(**{**NOTHING, "border": "scan", "border_share": 0.0})
    touching = [(2, 5, 5), (3, 5, 5), (4, 6, 6)]  # the last one by a corner
    apart = [(4, 8, 8)]
    assert applied(scan, touching + apart) == set(apart)
    narrow = PostProcessing(**{**NOTHING, "border": "scan", "border_voxels": 2, "border_share": 0})
    assert applied(narrow, touching) == set(touching)


def test_a_node_that_reaches_into_the_border_stays() -> None:
    within = [(1, 5, 5), (2, 5, 5), (3, 5, 5)]  # two of three voxels in layers 0 to 2
    half = [
        (2, 9, 2),
        (1, 9, 2),
        (3, 8, 3),
        (4, 8, 3),
    ]  # joined by a corner; y 9 and x 2 are border
    reaching = [(2, 6, 8), (3, 6, 8), (4, 6, 8)]
    voxels = within + half + reaching
    scan = PostProcessing(**{**NOTHING, "border": "scan"})
    assert applied(scan, voxels) == {*half, *reaching}
    a_third = PostProcessing(**{**NOTHING, "border": "scan", "border_share": 1 / 3})
    assert applied(a_third, voxels) == set(reaching)


def test_window_is_closed() -> None:
    settings = PostProcessing(**{**NOTHING, "hu_window": (-54.0, 235.5)})
    voxels = [(5, 5, 4), (5, 5, 5), (5, 5, 6), (5, 5, 7)]
    kept = applied(settings, voxels, v_5_5_4=-54, v_5_5_5=-55, v_5_5_6=235, v_5_5_7=236)
    assert kept == {(5, 5, 4), (5, 5, 6)}


def test_pieces_of_at_most_the_volume_go() -> None:
    settings = PostProcessing(**{**NOTHING, "min_volume_mm3": 20.0})
    two, three = [(5, 5, 5), (6, 6, 6)], [(3, 8, 8), (3, 8, 9), (3, 9, 9)]  # 20 and 30 mm³
    assert applied(settings, two + three) == set(three)
    assert applied(PostProcessing(**{**NOTHING, "min_volume_mm3": 19.9}), two) == set(two)


def test_window_comes_before_volume() -> None:
    settings = PostProcessing(border="none", hu_window=(0.0, 100.0), min_volume_mm3=10.0)
    split = [(5, 5, 4), (5, 5, 5), (5, 5, 6)]
    assert applied(settings, split, v_5_5_5=500) == set()
    assert applied(settings, split) == set(split)


def test_empty_mask_stays_empty() -> None:
    grid = Grid((4, 4, 4), (1.0, 1.0, 1.0))
    empty = Volume(np.zeros(grid.size, np.uint8), grid)
    assert not PostProcessing().apply(empty, empty, Box((0,) * 3, grid.size)).array.any()


def test_window_of_no_width_is_refused() -> None:
    with pytest.raises(ValueError, match="hu_window"):
        PostProcessing(hu_window=(10.0, -10.0))
