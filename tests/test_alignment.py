"""Labels on their scan's grid: mended where nothing moves, else refused by name."""

from __future__ import annotations

import numpy as np
import pytest

from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError
from lnq.volume import Grid, Volume

# Turned and with z flipped, so that a mistaken axis or sign shows.
C, S = np.cos(0.3), np.sin(0.3)
IMAGE = Grid((24, 9, 11), (3.0, 0.8, 0.9), (5.0, -7.0, -300.0),
             (C, -S, 0.0, S, C, 0.0, 0.0, 0.0, -1.0))  # fmt: skip


def label_on(grid: Grid) -> Volume:
    array = np.zeros(grid.size, np.uint8)
    array[4:6, 3, 5] = 1
    return Volume(array, grid)


def changed(**values: object) -> Grid:
    return Grid(**{**IMAGE.__dict__, **values})  # free choice of fields


@pytest.mark.parametrize("shift_mm", [0.0, 1e-4, 5e-3])
def test_same_grid_up_to_rounding(shift_mm: float) -> None:
    x, y, z = IMAGE.origin_mm
    aligned, notes = align_label(label_on(changed(origin_mm=(x + shift_mm, y, z))), IMAGE)
    assert aligned.grid is IMAGE
    assert notes == []
    assert np.array_equal(np.argwhere(aligned.array), [[4, 3, 5], [5, 3, 5]])


@pytest.mark.parametrize(
    ("start", "stop"),
    [((2, 0, 0), (22, 9, 11)), ((0, 1, 2), (20, 9, 11)), ((-3, 0, -2), (24, 12, 11))],
)
def test_other_extent_on_the_same_voxels_is_mended(
    start: tuple[int, int, int], stop: tuple[int, int, int]
) -> None:
    label = label_on(IMAGE.crop(start, stop))
    aligned, notes = align_label(label, IMAGE)
    assert aligned.grid == IMAGE
    assert aligned.array.dtype == np.uint8
    expected = np.argwhere(label.array) + start
    assert np.array_equal(np.argwhere(aligned.array), expected)
    assert len(notes) == 1
    assert str(label.grid.size) in notes[0]


def test_a_little_off_goes_to_the_nearest_voxels_and_is_told() -> None:
    """A label of another size and origin, as some of LNQ2023 are."""
    start = np.array([2.0, -1.1, 0.2])
    grid = Grid((20, 12, 9), IMAGE.spacing_mm, tuple(IMAGE.to_world(start)), IMAGE.direction)
    aligned, notes = align_label(label_on(grid), IMAGE)
    assert aligned.grid == IMAGE
    assert np.array_equal(np.argwhere(aligned.array), [[6, 2, 5], [7, 2, 5]])
    assert "from voxel (2, -1, 0), each voxel on the nearest one, 0.18 mm off" in notes[0]


@pytest.mark.parametrize("off", [0.5, 0.3, -0.5])
def test_half_a_voxel_off(off: float) -> None:
    origin = IMAGE.to_world(np.array([0, 0, off]))
    with pytest.raises(CaseError, match="origin"):
        align_label(label_on(changed(origin_mm=tuple(origin))), IMAGE)


def test_other_spacing_or_direction() -> None:
    with pytest.raises(CaseError, match="spacing"):
        align_label(label_on(changed(spacing_mm=(2.5, 0.8, 0.9))), IMAGE)
    with pytest.raises(CaseError, match="direction"):
        align_label(label_on(changed(direction=(C, -S, 0.0, S, C, 0.0, 0.0, 0.0, 1.0))), IMAGE)


def test_spacings_are_judged_by_where_the_farthest_slice_comes_to_lie() -> None:
    """Headers round: 1.25 and 1.25002 mm are 0.012 mm apart after 600 slices."""
    image = Grid((600, 4, 4), (1.25, 0.7, 0.7))
    label = np.zeros(image.size, np.uint8)
    label[300, 1:3, 1:3] = 1
    aligned, _ = align_label(Volume(label, Grid(image.size, (1.25002, 0.7, 0.7))), image)
    assert np.array_equal(aligned.array, label)
    for other in (1.2506, 1.25 + 1.25 / 599):  # a quarter and a whole voxel at the last slice
        with pytest.raises(CaseError, match=rf"\({other:.7g}, .* differs from .*\(1\.25, "):
            align_label(Volume(label, Grid(image.size, (other, 0.7, 0.7))), image)


@pytest.mark.parametrize("order", [(0, 2, 1), (2, 1, 0), (1, 2, 0)])
def test_exchanged_axes_are_refused(order: tuple[int, int, int]) -> None:
    label = label_on(changed(size=tuple(IMAGE.size[axis] for axis in order)))
    with pytest.raises(CaseError, match=r"is the scan's .* in another order"):
        align_label(label, IMAGE)


def test_a_node_outside_the_scan_is_no_label_of_it() -> None:
    with pytest.raises(CaseError, match="2 annotated voxels lie outside"):
        align_label(label_on(IMAGE.crop((-6, 0, 0), (24, 9, 11))), IMAGE)
    with pytest.raises(CaseError, match="outside"):
        align_label(label_on(IMAGE.crop((100, 0, 0), (120, 9, 11))), IMAGE)
