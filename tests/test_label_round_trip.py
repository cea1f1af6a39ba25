"""What a label loses by crop, resampling and the way back; what small nodes keep of themselves."""

from __future__ import annotations

import numpy as np
import pytest
from support.synthetic_chest import GRID, chest, ellipsoid

from lnq.data.preparation.label_field import SURFACE, annotated, decoded, encoded, label_field
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.preparation.resampling import working_grid
from lnq.inference.restore import to_scan_grid
from lnq.volume import Array, Grid, Volume, components

WORKING = (3.0, 0.8, 0.8)
# Thickness and pixels as of LNQ2023 (2.0 to 5.5 mm), thinner ones, and two cubes.
NATIVE = [
    (3.0, 0.7, 0.7), (2.0, 0.7, 0.7), (2.5, 0.75, 0.75), (4.0, 0.65, 0.65), (5.0, 0.7, 0.7),
    (5.5, 0.98, 0.98), (1.0, 0.7, 0.7), (1.5, 1.0, 1.0), (1.0, 1.0, 1.0),
]  # fmt: skip


def dice(a: Array, b: Array) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def balls(spacing: tuple[float, float, float], diameter_mm: float, seed: int) -> Volume:
    """Eight balls, each placed anywhere between the voxels."""
    rng = np.random.default_rng(seed)
    pitch = diameter_mm + 10
    grid = Grid(tuple(int(np.ceil(2 * pitch / s)) for s in spacing), spacing, (7.0, -5.0, 30.0))
    mask = np.zeros(grid.size, bool)
    for corner in np.ndindex(2, 2, 2):
        centre = (np.asarray(corner) - 0.5) * pitch + rng.uniform(-1.5, 1.5, 3)
        mask |= ellipsoid(grid, tuple(centre), (diameter_mm / 2,) * 3)
    return Volume(mask.astype(np.uint8), grid)


def cropped_working_grid(grid: Grid) -> Grid:
    """Of the scan without its outermost 2 mm, so that restoring also goes over a crop."""
    cut = [int(np.ceil(2 / s)) for s in grid.spacing_mm]
    crop = grid.crop(cut, [n - c for n, c in zip(grid.size, cut, strict=True)])
    return working_grid(crop, WORKING)


def stored_and_restored(label: Volume) -> Array:
    """What the store's bytes of a label, cropped and at `WORKING`, give back on the scan's grid."""
    field = Preprocessing().label_field(label, cropped_working_grid(label.grid))
    read = decoded(encoded(field.array))
    assert np.array_equal(annotated(encoded(field.array)), field.array >= SURFACE)
    return to_scan_grid(Volume(read, field.grid), label.grid).array > SURFACE


@pytest.mark.parametrize("diameter_mm", [8.0, 14.0])
@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.slow
def test_nodes_of_8_mm_and_more_come_back(
    native: tuple[float, float, float], diameter_mm: float
) -> None:
    for seed in range(2):
        label = balls(native, diameter_mm, seed)
        assert dice(stored_and_restored(label), label.array > 0) >= 0.97


def best_of_masks(label: Array, slices: int) -> float:
    """Highest Dice that masks of thick slices can have with a label of thin ones.

    Interpolated linearly between thick slices and cut at 0.5, a mask of 0 and 1 is the nearest
    thick slice, so the same in `slices` thin ones. A column of a thick slice, of which the share s
    is annotated, raises the best Dice d where s > d / 2 (Dinkelbach's condition).
    """
    thick = label[: len(label) // slices * slices].reshape(-1, slices, *label.shape[1:])
    share, best = thick.mean(axis=1), 0.0
    for _ in range(20):
        chosen = share > best / 2
        best = 2 * float(share[chosen].sum() / (share.sum() + chosen.sum()))
    return best


def test_no_mask_of_3_mm_slices_can_hold_8_mm_nodes_of_1_mm_slices() -> None:
    # In-plane as finely as the scan, wherever the thick slices begin: still not 0.97.
    label = balls((1.0, 0.7, 0.7), 8.0, seed=0).array > 0
    bounds = [best_of_masks(label[first:], 3) for first in range(3)]
    assert 0.86 < max(bounds) < 0.90
    every = [np.array(bits, bool) for bits in np.ndindex(2, 2, 2)]
    tiny = np.array([1, 1, 0, 1, 0, 0, 0, 0, 1], bool)[:, None, None]
    tried = max(dice(np.repeat(bits, 3)[:, None, None], tiny) for bits in every if bits.any())
    assert best_of_masks(tiny, 3) == pytest.approx(tried)


# Measured over four seeds, for 8 and 14 mm, rounded down: what training learns from.
KEPT_BY_MASK = {
    (3.0, 0.7, 0.7): (0.98, 0.98), (2.0, 0.7, 0.7): (0.89, 0.95), (2.5, 0.75, 0.75): (0.78, 0.96),
    (4.0, 0.65, 0.65): (0.98, 0.98), (5.0, 0.7, 0.7): (0.98, 0.99), (5.5, 0.98, 0.98): (1.0, 1.0),
    (1.0, 0.7, 0.7): (0.88, 0.93), (1.5, 1.0, 1.0): (0.88, 0.94), (1.0, 1.0, 1.0): (0.88, 0.93),
}  # fmt: skip


@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.slow
def test_what_the_mask_that_training_reads_holds_of_nodes(
    native: tuple[float, float, float],
) -> None:
    for diameter_mm, least in zip((8.0, 14.0), KEPT_BY_MASK[native], strict=True):
        for seed in range(2):
            label = balls(native, diameter_mm, seed)
            mask = Preprocessing().apply_label(label, cropped_working_grid(label.grid))
            stored = Volume(mask.array.astype(np.float32), mask.grid)
            restored = to_scan_grid(stored, label.grid).array > 0.5
            assert least <= dice(restored, label.array > 0) <= least + 0.1


@pytest.mark.slow
def test_through_the_lung_crop_of_an_oblique_chest() -> None:
    turn = (0.96, -0.28, 0.0, 0.28, 0.96, 0.0, 0.0, 0.0, 1.0)
    grid = Grid(GRID.size, GRID.spacing_mm, (7.0, 8.0, 9.0), turn)
    nodes = ellipsoid(GRID, (10, 20, 15), (9,) * 3) | ellipsoid(GRID, (-40, -25, -10), (14,) * 3)
    label = Volume(nodes.astype(np.uint8), grid)
    working = Preprocessing().apply(Volume(chest().array, grid)).volume.grid
    assert np.prod(np.multiply(working.size, working.spacing_mm)) < 0.7 * np.prod(
        np.multiply(grid.size, grid.spacing_mm)
    )
    field = decoded(encoded(label_field(label, working).array))
    restored = to_scan_grid(Volume(field, working), grid).array > SURFACE
    assert dice(restored, nodes) >= 0.97


@pytest.mark.parametrize("native", [(3.0, 0.7, 0.7), (1.0, 0.7, 0.7), (0.7, 0.7, 0.7)])
def test_nodes_of_3_mm_are_all_kept_and_apart(native: tuple[float, float, float]) -> None:
    for seed in range(3):
        label = balls(native, 3.0, seed)
        mask = Preprocessing().apply_label(label, cropped_working_grid(label.grid))
        given, kept = (smallest_and_count(volume) for volume in (label, mask))
        assert kept[1] == given[1] >= 7  # one may fall between two slices of 3 mm
        assert kept[0] >= given[0] / 3  # more than a mark


def smallest_and_count(mask: Volume) -> tuple[float, int]:
    """Volume of the smallest piece, mm³, and the number of pieces."""
    pieces, count = components(mask.array)
    return float(np.bincount(pieces.ravel())[1:].min()) * mask.grid.voxel_volume_mm3, count


def test_native_spacing_changes_nothing_at_all() -> None:
    label = balls((3.0, 0.7, 0.7), 8.0, seed=1)
    cut = (1, 3, 4)
    grid = working_grid(
        label.grid.crop(cut, [n - c for n, c in zip(label.grid.size, cut, strict=True)]),
        label.grid.spacing_mm,
    )
    settings = Preprocessing(spacing_mm=label.grid.spacing_mm)
    mask = settings.apply_label(label, grid).array.astype(np.float32)
    stored = decoded(encoded(settings.label_field(label, grid).array))
    for array in (mask, stored):
        restored = to_scan_grid(Volume(array, grid), label.grid)
        assert np.array_equal(restored.array > SURFACE, label.array > 0)
