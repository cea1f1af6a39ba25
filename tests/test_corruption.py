"""The corruptions of Model Genesis: hand-made cases, what each may touch, sizes, shares, replay."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torchio as tio
from support.corruptions import (
    ANISOTROPIC,
    DRAWS,
    PAPER,
    SHAPES,
    THIN,
    inside,
    normal_patch,
    rng,
    within_chance,
)

from lnq.config import instantiate
from lnq.config.composition import compose
from lnq.data.patches.corruption import (
    BezierIntensity,
    Corruption,
    GenesisCorruption,
    InPainting,
    LocalShuffling,
    OutPainting,
    RandomBezierIntensity,
    RandomCorruption,
    RandomInPainting,
    RandomLocalShuffling,
    RandomOutPainting,
)
from lnq.volume import Array


def subject(patch: Array) -> tio.Subject:
    return tio.Subject(image=tio.ScalarImage(tensor=torch.from_numpy(patch)[None]))


def parameter_set(name: str) -> GenesisCorruption:
    """The corruption of conf/corruption/NAME.yaml."""
    cfg = compose("train", ["+experiment=genesis", f"augmentation@datamodule.transform={name}"])
    built = instantiate(cfg.datamodule.transform)["corruption"]
    assert isinstance(built, GenesisCorruption)
    return built


@pytest.fixture(scope="module", params=["genesis", "genesis_original"])
def either_set(request: pytest.FixtureRequest) -> GenesisCorruption:
    return parameter_set(request.param)


def small(**chances: float) -> GenesisCorruption:
    """Few windows, so that the tests are fast."""
    return GenesisCorruption(
        RandomLocalShuffling(50), RandomInPainting(5, 1 / 6, 1 / 3),
        RandomOutPainting(5, 3 / 7, 4 / 7), **chances,
    )  # fmt: skip


def nothing() -> GenesisCorruption:
    return small(shuffling_probability=0, bezier_probability=0, painting_probability=0)


# Bezier intensity


# local shuffling


# painting

BOXES = np.array([[[1, 2, 3], [4, 6, 9]], [[3, 5, 8], [10, 8, 28]]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_in_painting_changes_the_boxes_alone_and_out_painting_keeps_them_alone(dtype: type) -> None:
    patch = (1000 + 10 * normal_patch()).astype(dtype)
    before, mask = patch.copy(), inside(BOXES, patch.shape)
    painted, kept = InPainting(BOXES, 3).corrupt(patch), OutPainting(BOXES, 3).corrupt(patch)
    assert np.array_equal(painted[~mask], patch[~mask])
    assert np.array_equal(kept[mask], patch[mask])
    for filled, at in ((painted, mask), (kept, ~mask)):
        assert filled.dtype == dtype
        # a value of float16 may be met by chance
        assert (filled[at] != patch[at]).mean() > 0.95
        assert filled[at].min() >= patch.min()
        assert filled[at].max() <= patch.max()
    assert np.array_equal(patch, before)


def test_the_fill_is_uniform_over_the_patch_s_own_range() -> None:
    patch = (1000 + 10 * normal_patch((20, 40, 50))).astype(np.float32)
    fill = OutPainting(np.array([[[0, 0, 0], [1, 1, 1]]]), 5).corrupt(patch).ravel()[1:]
    share = (fill - patch.min()) / (patch.max() - patch.min())
    for tenth in range(10):
        count = int(((share >= tenth / 10) & (share < (tenth + 1) / 10)).sum())
        assert within_chance(count, len(share), 0.1)
    assert np.abs(np.corrcoef(fill[:-1], fill[1:])[0, 1]) < 0.03  # each voxel its own


def test_number_of_boxes() -> None:
    rule = RandomInPainting(5, 1 / 6, 1 / 3)
    counts = Counter(len(rule.draw(PAPER, rng(seed))[0].boxes) for seed in range(DRAWS))
    for number, share in ((1, 0.05), (2, 0.95 * 0.05), (3, 0.95**2 * 0.05), (5, 0.95**4)):
        assert within_chance(counts[number], DRAWS, share)
    assert set(counts) == {1, 2, 3, 4, 5}
    assert len(RandomInPainting(7, 0.2, 0.3, go_on=1.0).draw(PAPER, rng())[0].boxes) == 7
    assert len(RandomInPainting(7, 0.2, 0.3, go_on=0.0).draw(PAPER, rng())[0].boxes) == 1


# The parameter sets (docs/explanation/method.md#pre-training-model-genesis): windows; boxes; sides
# from, to; border.

LIMITS = {
    "genesis": {
        "windows": (10_000, 1 / 10),
        "in": ((1, 5), 1 / 6, 1 / 3, 3),
        "out": ((1, 5), 3 / 7, 4 / 7, 3),
    },
    "genesis_original": {
        "windows": (8_000, 1 / 20),
        "in": ((5, 5), 1 / 8, 1 / 6, 10),
        "out": ((201, 201), 1 / 8, 1 / 4, 3),
    },
}


@pytest.mark.parametrize("shape", [PAPER, ANISOTROPIC, THIN], ids=str)
@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.slow
def test_sides_and_borders_of_both_sets(name: str, shape: tuple[int, int, int]) -> None:
    corruption, limits = parameter_set(name), LIMITS[name]
    number, share = limits["windows"]
    windows = corruption.shuffling.draw(shape, rng())[0].windows
    assert len(windows) == number
    assert windows[:, 0].min(axis=0).tolist() == [0, 0, 0]
    assert windows[:, 1].max(axis=0).tolist() == list(shape)
    sides = windows[:, 1] - windows[:, 0]
    assert sides.min(axis=0).tolist() == [1, 1, 1]
    assert sides.max(axis=0).tolist() == [max(1, int(n * share + 1e-6)) for n in shape]
    for rule, key in ((corruption.in_painting, "in"), (corruption.out_painting, "out")):
        counts, least, most, border = limits[key]
        drawn = [rule.draw(shape, rng(seed))[0].boxes for seed in range(400)]
        assert {len(boxes) for boxes in drawn} <= set(range(counts[0], counts[1] + 1))
        boxes = np.concatenate(drawn)
        sides = boxes[:, 1] - boxes[:, 0]
        low = [max(1, int(n * least + 1e-3)) for n in shape]
        assert sides.min(axis=0).tolist() == low
        assert sides.max(axis=0).tolist() == [max(1, int(n * most + 1e-3)) for n in shape]
        # where there is no room for the border, the box stands in the middle
        room = np.minimum(border, (np.array(shape) - sides) // 2)
        assert (boxes[:, 0] >= room).all()
        assert (boxes[:, 1] <= shape - room).all()
        assert (boxes[:, 0].min(axis=0) == np.min(room, axis=0)).all()


@pytest.mark.slow
def test_each_corruption_happens_as_often_as_the_paper_says(either_set: GenesisCorruption) -> None:
    seen: Counter[type[Corruption]] = Counter()
    for seed in range(DRAWS):
        drawn = [type(c) for c in either_set.draw((4, 5, 6), rng(seed))]
        order = [LocalShuffling, BezierIntensity, InPainting, OutPainting]
        assert drawn == sorted(set(drawn), key=order.index)
        assert not {InPainting, OutPainting} <= set(drawn)  # never both
        seen.update(drawn)
    for kind, share in (
        (LocalShuffling, 0.5), (BezierIntensity, 0.9), (InPainting, 0.9 * 0.2),
        (OutPainting, 0.9 * 0.8),
    ):  # fmt: skip
        assert within_chance(seen[kind], DRAWS, share), kind


# the transforms


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.slow
def test_patches_of_any_shape_come_back_finite_with_shape_and_type(
    shape: tuple[int, int, int], dtype: type, either_set: GenesisCorruption
) -> None:
    patch = normal_patch(shape).astype(dtype)
    before = patch.copy()
    torch.manual_seed(0)
    for _ in range(6):
        result = either_set(subject(patch))
        for name in ("image", "target"):
            assert result[name].data.shape == (1, *shape)
            assert result[name].data.numpy().dtype == dtype
            assert torch.isfinite(result[name].data).all()
    assert np.array_equal(patch, before)


@pytest.mark.parametrize("value", [-1.5, 0.0, 3000.0])
def test_a_constant_patch_stays_constant(value: float) -> None:
    patch = np.full((6, 10, 10), value, np.float32)
    for seed in range(15):
        torch.manual_seed(seed)
        assert torch.equal(small()(subject(patch))["image"].data[0], torch.from_numpy(patch))


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.slow
def test_the_history_makes_image_and_target_again(seed: int, either_set: GenesisCorruption) -> None:
    mirrored = tio.Compose([tio.RandomFlip(axes=(0, 1, 2)), either_set])
    patch = normal_patch(ANISOTROPIC)
    torch.manual_seed(seed)
    result = mirrored(subject(patch))
    names = [transform.name for transform in result.history]
    assert len(names) == len(set(names))
    assert not any(name.startswith(("Random", "Genesis")) for name in names)
    torch.manual_seed(99)
    again = result.get_composed_history()(subject(patch))
    assert torch.equal(again["image"].data, result["image"].data)
    uncorrupted = result.get_composed_history(ignore_intensity=True)(subject(patch))
    assert torch.equal(uncorrupted["image"].data, result["target"].data)


@pytest.mark.parametrize(
    "make",
    [
        lambda: RandomLocalShuffling(50),
        RandomBezierIntensity,
        lambda: RandomInPainting(5, 0.2, 0.4),
        lambda: RandomOutPainting(5, 0.2, 0.4),
        small,
    ],
    ids=["shuffling", "bezier", "in", "out", "all"],
)
def test_a_seed_of_torch_s_repeats_each_to_the_byte_and_another_differs(
    make: Callable[[], RandomCorruption],
) -> None:
    def corrupted(seed: int) -> tuple[bytes, list[str]]:
        np.random.seed(seed * 7 + len(results))  # must not matter
        torch.manual_seed(seed)
        result = make()(subject(normal_patch()))
        return result["image"].data.numpy().tobytes(), [t.name for t in result.history]

    results: list[tuple[bytes, list[str]]] = []
    for seed in (0, 0, 1, 2):
        results.append(corrupted(seed))
    assert results[0] == results[1]
    assert len({image for image, _ in results}) == 3
    assert results[0][1]


def test_used_alone_each_image_draws_for_itself_with_probability_p() -> None:
    patch = torch.from_numpy(normal_patch())[None]
    two = tio.Subject(a=tio.ScalarImage(tensor=patch), b=tio.ScalarImage(tensor=patch))
    result = RandomLocalShuffling(50)(two)
    assert [t.include for t in result.history] == [["a"], ["b"]]
    assert not torch.equal(result["a"].data, result["b"].data)
    assert torch.equal(two["a"].data, patch)
    for rule in (
        RandomLocalShuffling(50, p=0), RandomBezierIntensity(p=0),
        RandomInPainting(5, 0.2, 0.4, p=0),
    ):  # fmt: skip
        assert torch.equal(rule(patch), patch)


def test_target_is_the_patch_as_it_was_and_the_label_stays() -> None:
    patch = normal_patch()
    marked = torch.ones(1, *patch.shape, dtype=torch.uint8)
    for seed in range(10):
        torch.manual_seed(seed)
        given = subject(patch)
        given.add_image(tio.LabelMap(tensor=marked), "label")
        given.add_image(tio.ScalarImage(tensor=torch.from_numpy(patch)[None]), "other")
        result = small()(given)
        assert torch.equal(result["target"].data[0], torch.from_numpy(patch))
        assert torch.equal(given["image"].data[0], torch.from_numpy(patch))
        assert torch.equal(result["label"].data, marked)
        assert torch.equal(result["other"].data[0], torch.from_numpy(patch))
        assert "target" not in given


def test_target_and_image_share_no_memory_even_where_nothing_is_corrupted() -> None:
    result = nothing()(subject(normal_patch()))
    assert torch.equal(result["image"].data, result["target"].data)
    result["image"].data.add_(1)
    assert not torch.equal(result["image"].data, result["target"].data)


def test_what_a_history_holds_of_10000_windows_is_small() -> None:
    torch.manual_seed(0)
    (record,) = RandomLocalShuffling()(subject(normal_patch())).applied_transforms
    assert record[1]["windows"].nbytes == 240_000
