"""The corruptions of Model Genesis: hand-computed curves, what each may touch, sizes, shares."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
import torchio as tio

from lnq.data.corruption import BezierCurve, Boxes, GenesisCorruption, LocalShuffling
from lnq.data.corruption.painting import in_paint, out_paint
from lnq.volume import Array

LINE = ((1 / 3, 1 / 3), (2 / 3, 2 / 3))
IN_PAINTING = Boxes(max_boxes=5, min_side=1 / 6, max_side=1 / 3)
OUT_PAINTING = Boxes(max_boxes=5, min_side=3 / 7, max_side=4 / 7)
ANISOTROPIC = [(4, 40, 60), (48, 8, 16), (3, 3, 90)]
TINY = [(1, 1, 1), (2, 2, 2), (3, 3, 3), (4, 4, 4), (1, 4, 2), (1, 1, 50)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def unique_patch(shape: tuple[int, ...] = (12, 20, 30)) -> Array:
    """Every voxel another value, so that each can be traced."""
    return rng(99).permutation(int(np.prod(shape))).reshape(shape).astype(np.float32)


def normal_patch(shape: tuple[int, ...] = (12, 20, 30), seed: int = 7) -> Array:
    return rng(seed).normal(size=shape).astype(np.float32)


def corruption(**chances: float) -> GenesisCorruption:
    """Few windows, so that the tests are fast."""
    return GenesisCorruption(LocalShuffling(50), IN_PAINTING, OUT_PAINTING, **chances)


def nothing(**chances: float) -> GenesisCorruption:
    off = {f"{name}_probability": 0.0 for name in ("shuffling", "bezier", "painting")}
    return corruption(**(off | chances))


def box_mask(boxes: list[tuple[slice, ...]], shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, dtype=bool)
    for box in boxes:
        mask[box] = True
    return mask


def subject(patch: Array) -> tio.Subject:
    return tio.Subject(image=tio.ScalarImage(tensor=torch.from_numpy(patch)[None]))


def test_bezier_points_by_hand() -> None:
    # inner points (0, 1) and (0, 1): x = t³, y = 3 t (1-t)² + 3 t² (1-t) + t³ = 3t - 3t² + t³
    #   t = 0.5: x = 0.125, y = 0.875;  t = 0.8: x = 0.512, y = 0.992
    # (0, 0) and (1, 1): x = y = 3t² - 2t³ at t: the identity
    # (0.5, 0) and (1, 0.5): x = 1.5 t (1-t)² + 3 t² (1-t) + t³, y = 1.5 t² (1-t) + t³
    #   t = 0.5: x = 0.1875 + 0.375 + 0.125 = 0.6875, y = 0.1875 + 0.125 = 0.3125
    #   t = 0.2: x = 0.192 + 0.096 + 0.008 = 0.296, y = 0.048 + 0.008 = 0.056
    given = np.array([0.125, 0.512], np.float64)
    up = BezierCurve(((0.0, 1.0), (0.0, 1.0)), monotone=True).apply(given, 0.0, 1.0)
    assert up == pytest.approx([0.875, 0.992], abs=2e-3)
    same = BezierCurve(((0.0, 0.0), (1.0, 1.0)), monotone=True).apply(given, 0.0, 1.0)
    assert same == pytest.approx(given, abs=2e-3)
    low = BezierCurve(((0.5, 0.0), (1.0, 0.5)), monotone=True)
    assert low.apply(np.array([0.6875, 0.296]), 0.0, 1.0) == pytest.approx(
        [0.3125, 0.056], abs=2e-3
    )


def test_bezier_is_drawn_between_the_end_points_given() -> None:
    # the first curve of above over [-2, 6]: 0.125 -> 0.875 is -1 -> 5
    curve = BezierCurve(((0.0, 1.0), (0.0, 1.0)), monotone=True)
    assert curve.apply(np.array([-2.0, -1.0, 6.0]), -2.0, 6.0) == pytest.approx(
        [-2.0, 5.0, 6.0], abs=2e-2
    )


def test_intensities_beyond_the_end_points_take_the_end_values() -> None:
    curve = BezierCurve(LINE, monotone=True)
    assert curve.apply(np.array([-9.0, 0.25, 9.0]), 0.0, 1.0) == pytest.approx([0.0, 0.25, 1.0])


@pytest.mark.parametrize("seed", range(20))
def test_monotone_map_never_falls(seed: int) -> None:
    drawn = BezierCurve.draw(rng(seed))
    ramp = np.linspace(-1.5, 2.5, 500)
    mapped = BezierCurve(drawn.inner, monotone=True).apply(ramp, -1.0, 2.0)
    assert (np.diff(mapped) >= 0).all()
    assert mapped[0] == pytest.approx(-1.0)
    assert mapped[-1] == pytest.approx(2.0)


@pytest.mark.parametrize("seed", range(20))
def test_the_other_map_turns_the_contrast_round(seed: int) -> None:
    drawn = BezierCurve.draw(rng(seed))
    ramp = np.linspace(0.0, 1.0, 500)
    mapped = BezierCurve(drawn.inner, monotone=False).apply(ramp, 0.0, 1.0)
    assert (np.diff(mapped) < 0).any()
    assert mapped[0] == pytest.approx(1.0)
    assert mapped[-1] == pytest.approx(0.0)


def test_the_straight_curve_turned_round_by_hand() -> None:
    curve = BezierCurve(LINE, monotone=False)
    assert curve.apply(np.array([0.0, 0.25, 1.0]), 0.0, 1.0) == pytest.approx([1.0, 0.75, 0.0])


def test_half_of_the_curves_are_monotone_and_control_points_fill_the_square() -> None:
    curves = [BezierCurve.draw(rng(seed)) for seed in range(1000)]
    assert 450 < sum(curve.monotone for curve in curves) < 550  # sd 15.8
    points = np.array([curve.inner for curve in curves]).reshape(-1, 4)
    assert points.min() >= 0
    assert points.max() <= 1
    assert np.allclose(points.mean(axis=0), 0.5, atol=0.04)
    assert np.abs(np.corrcoef(points.T) - np.eye(4)).max() < 0.13


def test_bezier_keeps_type_shape_and_input() -> None:
    patch = normal_patch()
    before = patch.copy()
    mapped = BezierCurve(((0.0, 1.0), (0.0, 1.0)), monotone=True).apply(patch, -2.0, 2.0)
    assert mapped.dtype == np.float32
    assert mapped.shape == patch.shape
    assert np.array_equal(patch, before)


def test_windows_lie_inside_and_are_at_most_a_tenth_of_each_side() -> None:
    shape = (20, 64, 33)
    corners, sides = LocalShuffling(4000).draw(shape, rng())
    assert corners.shape == sides.shape == (4000, 3)
    assert corners.min(axis=0).tolist() == [0, 0, 0]
    assert (corners + sides).max(axis=0).tolist() == list(shape)
    assert sides.min(axis=0).tolist() == [1, 1, 1]
    assert sides.max(axis=0).tolist() == [2, 6, 3]  # 20/10, 64/10, 33/10


def test_paper_s_number_of_windows_and_size_are_the_defaults() -> None:
    assert LocalShuffling() == LocalShuffling(num_windows=10_000, max_side=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_shuffling_keeps_each_window_s_voxels_and_touches_nothing_else(seed: int) -> None:
    patch = unique_patch()
    before = patch.copy()
    # windows that do not meet
    corners = np.array([[0, 0, 0], [3, 5, 7], [8, 12, 20]])
    sides = np.array([[2, 3, 4], [4, 4, 4], [4, 8, 10]])
    shuffled = LocalShuffling.apply(patch, corners, sides, rng(seed))
    mask = np.zeros(patch.shape, dtype=bool)
    for (z, y, x), (d, h, w) in zip(corners, sides, strict=True):
        window = (slice(z, z + d), slice(y, y + h), slice(x, x + w))
        assert sorted(shuffled[window].ravel()) == sorted(patch[window].ravel())
        assert not np.array_equal(shuffled[window], patch[window])
        mask[window] = True
    assert np.array_equal(shuffled[~mask], patch[~mask])
    assert np.array_equal(patch, before)


def test_shuffling_moves_voxels_along_all_axes() -> None:
    patch = unique_patch((6, 6, 6))
    shuffled = LocalShuffling.apply(patch, np.zeros((1, 3), int), np.full((1, 3), 6), rng())
    came_from = np.array([np.argwhere(patch == value)[0] for value in shuffled.ravel()])
    went_to = np.argwhere(np.ones_like(patch))
    assert ((came_from != went_to).mean(axis=0) > 0.7).all()


def test_where_windows_overlap_a_voxel_still_comes_from_nearby() -> None:
    patch = unique_patch((30, 40, 50))
    rule = LocalShuffling(3000)
    generator = rng(3)
    corners, sides = rule.draw(patch.shape, generator)
    shuffled = rule.apply(patch, corners, sides, generator)
    place = {value: at for at, value in np.ndenumerate(patch)}
    source = np.array([place[value] for value in shuffled.ravel()])
    distance = np.abs(source - np.argwhere(np.ones_like(patch))).max(axis=0)
    assert (distance <= [2, 3, 4]).all()  # one less than the largest window
    assert (shuffled != patch).mean() > 0.4


def test_boxes_keep_to_their_range_of_sides_inside_the_patch() -> None:
    shape = (36, 60, 84)
    for rule, low, high in (
        (IN_PAINTING, (6, 10, 14), (12, 20, 28)),
        (OUT_PAINTING, (15, 25, 36), (20, 34, 48)),  # 3/7 and 4/7 of each side, cut off
    ):
        boxes = [box for seed in range(400) for box in rule.draw(shape, rng(seed))]
        sides = np.array([[s.stop - s.start for s in box] for box in boxes])
        assert sides.min(axis=0).tolist() == list(low)
        assert sides.max(axis=0).tolist() == list(high)
        assert min(s.start for box in boxes for s in box) == rule.border
        for axis, length in enumerate(shape):
            assert max(box[axis].stop for box in boxes) == length - rule.border


def test_number_of_boxes() -> None:
    counts = Counter(len(IN_PAINTING.draw((36, 60, 84), rng(seed))) for seed in range(500))
    assert set(counts) == {1, 2, 3, 4, 5}
    assert counts[5] / 500 == pytest.approx(0.95**4, abs=0.06)
    always = Boxes(max_boxes=7, min_side=0.2, max_side=0.3, go_on=1.0)
    assert len(always.draw((20, 20, 20), rng())) == 7
    once = Boxes(max_boxes=7, min_side=0.2, max_side=0.3, go_on=0.0)
    assert len(once.draw((20, 20, 20), rng())) == 1


@pytest.mark.parametrize("shape", [*TINY, *ANISOTROPIC])
@pytest.mark.parametrize("rule", [IN_PAINTING, OUT_PAINTING], ids=["in", "out"])
def test_boxes_of_any_patch_are_inside_it_and_not_empty(
    rule: Boxes, shape: tuple[int, int, int]
) -> None:
    for seed in range(20):
        for box in rule.draw(shape, rng(seed)):
            for s, length in zip(box, shape, strict=True):
                assert 0 <= s.start < s.stop <= length


def test_in_painting_changes_the_boxes_alone_and_out_painting_keeps_them_alone() -> None:
    patch = unique_patch()
    noise = -1 - unique_patch()  # shares no value with the patch
    boxes = IN_PAINTING.draw(patch.shape, rng())
    mask = box_mask(boxes, patch.shape)
    assert 0 < mask.sum() < mask.size
    before = patch.copy()
    painted = in_paint(patch, boxes, noise)
    assert np.array_equal(painted < 0, mask)
    assert np.array_equal(painted[~mask], patch[~mask])
    kept = out_paint(patch, boxes, noise)
    assert np.array_equal(kept >= 0, mask)
    assert np.array_equal(kept[mask], patch[mask])
    assert np.array_equal(patch, before)


def test_never_both_paintings() -> None:
    # one box each: in-painting leaves at least 1 - (1/3)³ of the voxels as they were,
    # out-painting keeps at most (4/7)³; both together would keep none of the in-painted box
    rule = GenesisCorruption(
        LocalShuffling(0),
        Boxes(max_boxes=1, min_side=0.25, max_side=0.25, border=0),
        Boxes(max_boxes=1, min_side=0.5, max_side=0.5, border=0),
        shuffling_probability=0,
        bezier_probability=0,
        painting_probability=1,
        in_painting_probability=0.5,
    )
    patch = unique_patch((16, 16, 16))
    kept = Counter(int((rule.corrupt(patch, rng(s)) == patch).sum()) for s in range(60))
    inside = sum(n for count, n in kept.items() if abs(count - (4096 - 64)) <= 3)
    outside = sum(n for count, n in kept.items() if abs(count - 512) <= 5)
    assert inside + outside == 60
    assert 15 < inside < 45


@pytest.mark.parametrize("inside", [0.0, 1.0])
def test_fill_is_within_the_patch_s_own_range_and_fills_it(inside: float) -> None:
    rule = nothing(painting_probability=1.0, in_painting_probability=inside)
    patch = (1000 + 10 * normal_patch()).astype(np.float32)
    seen = []
    for seed in range(10):
        result = rule.corrupt(patch, rng(seed))
        assert result.min() >= patch.min()
        assert result.max() <= patch.max()
        seen.append(result[result != patch])
    fill = np.concatenate(seen)
    low, high = float(patch.min()), float(patch.max())
    span = high - low
    assert fill.mean() == pytest.approx((low + high) / 2, abs=0.02 * span)
    assert fill.std() == pytest.approx(span / np.sqrt(12), rel=0.03)  # uniform


def test_each_corruption_happens_as_often_as_the_paper_says() -> None:
    default = GenesisCorruption(LocalShuffling(1), IN_PAINTING, OUT_PAINTING)
    assert default.shuffling_probability == 0.5
    assert default.bezier_probability == 0.9
    assert default.painting_probability == 0.9
    assert default.in_painting_probability == 0.2
    patch = unique_patch((6, 10, 10))
    for name, share in (("shuffling", 0.5), ("bezier", 0.9), ("painting", 0.9)):
        key = f"{name}_probability"
        rule = GenesisCorruption(
            LocalShuffling(1, 1.0), IN_PAINTING, OUT_PAINTING,
            **({f"{n}_probability": 0.0 for n in ("shuffling", "bezier", "painting")}
               | {key: share}),
        )  # fmt: skip
        changed = [not np.array_equal(rule.corrupt(patch, rng(s)), patch) for s in range(300)]
        assert np.mean(changed) == pytest.approx(share, abs=0.09), name


def test_bezier_in_the_composition_ends_at_the_percentiles() -> None:
    patch = normal_patch((20, 30, 40))
    low, high = np.percentile(patch, (0.1, 99.9))
    for seed in range(10):
        result = nothing(bezier_probability=1.0).corrupt(patch, rng(seed))
        assert result.min() == pytest.approx(low, abs=1e-3)
        assert result.max() == pytest.approx(high, abs=1e-3)


@pytest.mark.parametrize("shape", [*TINY, *ANISOTROPIC])
def test_patches_of_any_shape_come_back_finite_with_shape_and_type(
    shape: tuple[int, int, int],
) -> None:
    patch = normal_patch(shape)
    before = patch.copy()
    for seed in range(15):
        result = corruption(shuffling_probability=1.0).corrupt(patch, rng(seed))
        assert result.shape == shape
        assert result.dtype == np.float32
        assert np.isfinite(result).all()
    assert np.array_equal(patch, before)


def test_a_constant_patch_stays_constant() -> None:
    patch = np.full((6, 10, 10), -1.5, np.float32)
    for seed in range(15):
        assert np.array_equal(corruption().corrupt(patch, rng(seed)), patch)


def test_same_generator_same_result_and_another_one_another() -> None:
    patch, rule = normal_patch(), corruption()
    assert np.array_equal(rule.corrupt(patch, rng(5)), rule.corrupt(patch, rng(5)))
    assert not np.array_equal(rule.corrupt(patch, rng(5)), rule.corrupt(patch, rng(6)))


def test_transform_repeats_under_torch_s_seed_and_ignores_numpy_s() -> None:
    patch, rule = normal_patch(), corruption()
    results = []
    for numpy_seed in (1, 2):
        np.random.seed(numpy_seed)
        torch.manual_seed(0)
        results.append(rule(subject(patch))["image"].data)
    assert torch.equal(*results)
    assert not torch.equal(results[0], rule(subject(patch))["image"].data)


def test_target_is_the_patch_as_it_was() -> None:
    patch, rule = normal_patch(), corruption()
    for seed in range(10):
        torch.manual_seed(seed)
        given = subject(patch)
        result = rule(given)
        assert torch.equal(result["target"].data[0], torch.from_numpy(patch))
        assert torch.equal(given["image"].data[0], torch.from_numpy(patch))
        assert result["image"].data.shape == result["target"].data.shape == (1, *patch.shape)
        assert result["image"].data.dtype == torch.float32


def test_target_and_image_share_no_memory_even_where_nothing_is_corrupted() -> None:
    result = nothing()(subject(normal_patch()))
    assert torch.equal(result["image"].data, result["target"].data)
    result["image"].data.add_(1)
    assert not torch.equal(result["image"].data, result["target"].data)
