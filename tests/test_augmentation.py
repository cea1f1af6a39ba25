"""Augmentation: what each transform does and how often, to the image and never to the label."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchio as tio
from support.augmentations import (
    FOLDER,
    PROBABILITY,
    SIZE,
    SPACING,
    Transform,
    called,
    changed,
    full,
    node,
    noise,
    subject_of,
)
from support.stores import write_store
from support.train_command import composed_jobs

from lnq.config import instantiate
from lnq.data.patches.augmentation import MonaiIntensity
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.store.case_store import CaseStore

NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


SPATIAL = ["rotation", "scaling", "RandomFlip"]
INTENSITY = [name for name in PROBABILITY if name not in SPATIAL]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two cases whose nodes, and nothing else, are brighter than 5."""
    cases: dict[str, Any] = {}
    for seed, case_id in enumerate("ab"):
        label = np.zeros((12, 40, 48), np.uint8)
        label[4:8, 12:24, 16:28] = 1
        cases[case_id] = (noise(seed, label.shape) * 0.5 + 10 * label, label, "train", "partial")
    return write_store(tmp_path_factory.mktemp("augmentation") / "store", cases)


def dataset(store: Path, transform: Transform, seed: int = 0) -> PatchDataset:
    return PatchDataset(CaseStore(store), PatchRule(["a", "b"], SIZE, 1.0, seed), transform)


def test_full_is_nn_u_net_s_set_in_its_order() -> None:
    assert [called(entry) for entry in node("full")["transforms"]] == list(PROBABILITY)


def composed(*arguments: str) -> dict[str, Any]:
    """The transform's node as `lnq.train` gets it."""
    (job,) = composed_jobs(*arguments)
    transform: dict[str, Any] = job.datamodule["transform"]
    return transform


def chosen(name: str) -> dict[str, Any]:
    """An augmentation by its name, with the experiment that it fits."""
    experiment = "genesis" if name.startswith("genesis") else "dbdmp"
    return composed(f"+experiment={experiment}", f"augmentation@datamodule.transform={name}")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "name"),
    [("dbdmp", "light"), ("genesis", "genesis"), ("table1/baseline", "light")],
)
def test_each_experiment_has_its_augmentation_with_the_overlay_too(
    experiment: str, name: str
) -> None:
    expected = chosen(name)
    for given in (experiment, f"[{experiment},phantom]"):
        assert composed(f"+experiment={given}") == expected


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_augmentation_composes_and_keeps_shapes_and_types(name: str, store: Path) -> None:
    patches = dataset(store, instantiate(chosen(name)))
    for draw in range(40):
        subject = patches[draw]
        for key, dtype in (("image", torch.float32), ("label", torch.uint8)):
            data = subject[key].data
            assert type(data) is torch.Tensor  # MONAI's own would carry metadata into batches
            assert data.dtype == dtype
            assert data.shape == (1, *SIZE)
            assert data.isfinite().all()
        assert set(subject["label"].data.unique().tolist()) <= {0, 1}


@pytest.mark.parametrize("name", INTENSITY)
def test_intensity_transforms_change_the_image_and_not_the_label(name: str) -> None:
    label = (noise(5) > 1).astype(np.uint8)
    given = subject_of(noise(), label)
    torch.manual_seed(0)
    result = full(name, always=True)(given)
    assert np.array_equal(result["label"].data[0].numpy(), label)
    assert not torch.equal(result["image"].data, given["image"].data)
    assert np.array_equal(given["image"].data[0].numpy(), noise())  # and not in place


@pytest.mark.parametrize("name", SPATIAL)
def test_image_and_label_move_together(name: str, store: Path) -> None:
    before, after = dataset(store, lambda s: s), dataset(store, full(name, always=True))
    moved, marked, shown = 0, 0, 0
    for draw in range(8):
        subject = after[draw]
        label = subject["label"].data
        bright = subject["image"].data > 5
        moved += not torch.equal(label, before[draw]["label"].data)
        assert set(label.unique().tolist()) == {0, 1}
        overlap = 2 * (bright & label.bool()).sum() / (bright.sum() + label.sum())
        assert overlap > 0.9
        marked, shown = marked + int(label.sum()), shown + int(bright.sum())
    assert moved > 4
    assert marked == pytest.approx(shown, rel=0.03)  # nearest neighbour: nodes do not shrink


@pytest.mark.slow
def test_the_whole_set_keeps_image_and_label_together(store: Path) -> None:
    patches = dataset(store, instantiate(node("full")))
    for draw in range(60):
        subject = patches[draw]
        image, label = subject["image"].data, subject["label"].data.bool()
        if label.sum() > 200:
            # Gamma moves values but not their order: nodes stay the brightest voxels.
            brightest = image > image.flatten().sort().values[-int(label.sum())]
            assert 2 * (brightest & label).sum() / (brightest.sum() + label.sum()) > 0.8


def batches(store: Path, workers: int, seed: int = 0, step: int = 0) -> torch.Tensor:
    module = PatchDataModule(store, SIZE, 2, 5, 0.5, instantiate(node("full")), workers, seed)
    module.trainer = SimpleNamespace(
        global_step=step, current_epoch=0, global_rank=0, world_size=1, num_devices=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")), max_epochs=1, max_steps=-1,
    )  # fmt: skip
    taken = [next(loader) for loader in [iter(module.train_dataloader())] for _ in range(5 - step)]
    return torch.cat([torch.cat([b["image"], b["label"]]) for b in taken])


@pytest.mark.process
def test_a_patch_is_a_function_of_seed_and_draw(store: Path) -> None:
    np.random.seed(3)
    state = np.random.get_state()[1].copy()
    first = batches(store, workers=0)
    assert np.array_equal(np.random.get_state()[1], state)  # no global generator has a say
    np.random.seed(4)
    torch.manual_seed(99)
    assert torch.equal(first, batches(store, workers=2))
    assert torch.equal(first[8:], batches(store, workers=0, step=2))  # resumed in mid-epoch
    assert not torch.equal(first, batches(store, workers=0, seed=1))


def test_different_draws_are_changed_differently(store: Path) -> None:
    for name in INTENSITY:
        transform = full(name, always=True)
        results = [changed(transform, noise(), seed).tobytes() for seed in range(4)]
        assert len(set(results)) == 4, name


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBABILITY)
def test_every_transform_happens_as_often_as_it_says(name: str) -> None:
    transform, image, number = full(name, always=False), noise(0, (4, 6, 6)), 400
    happened = sum(not np.array_equal(changed(transform, image, s), image) for s in range(number))
    p = PROBABILITY[name]
    assert abs(happened - number * p) < 4 * math.sqrt(number * p * (1 - p))


@pytest.mark.slow
def test_rotation_turns_about_z_up_to_30_degrees_and_fills_with_the_minimum() -> None:
    transform = full("rotation", always=True)
    levels = np.broadcast_to(np.arange(8.0)[:, None, None], SIZE)
    inner = (slice(None), slice(9, 15), slice(13, 19))
    # A mark 10 voxels from the centre, towards x.
    mark = np.zeros(SIZE, np.float32)
    mark[:, 11:13, 25:27] = 1
    angles = []
    for seed in range(40):
        turned = changed(transform, levels, seed)
        np.testing.assert_allclose(turned[inner], levels[inner], atol=1e-4)
        assert turned[3, 0, 0] in (0.0, 3.0)
        y, x = np.argwhere(changed(transform, mark, seed)[4] > 0.5).mean(axis=0) - (11.5, 15.5)
        angles.append(math.degrees(math.atan2(y, x)))
    assert -31 < min(angles) < -15
    assert 15 < max(angles) < 31
    corner = changed(transform, noise() - 5, seed=1)[:, 0, 0]
    assert set(corner.tolist()) == {float((noise() - 5).min())}


@pytest.mark.slow
def test_scaling_is_one_factor_between_0_7_and_1_4_for_all_axes() -> None:
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (15, 41, 41)), indexing="ij")
    ball = ((3 * z) ** 2 + y**2 + x**2 < 12**2).astype(np.float32)
    factors = []
    for seed in range(40):
        where = np.argwhere(changed(full("scaling", always=True), ball, seed) > 0.5)
        extent = (np.ptp(where, axis=0) + 1) * SPACING
        assert np.abs(extent - extent[2]).max() <= 4  # a voxel along z is 3 mm
        factors.append(extent[2] / 23)
    assert 0.65 < min(factors) < 0.85
    assert 1.2 < max(factors) < 1.45


@pytest.mark.parametrize("axis", ["z", "y", "x"])
def test_a_sphere_in_millimetres_stays_one_whatever_the_axis(tmp_path: Path, axis: str) -> None:
    z, y, x = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in (15, 41, 41)), indexing="ij")
    label = ((3 * z) ** 2 + y**2 + x**2 < 12**2).astype(np.uint8)
    root = write_store(tmp_path / "store", {"a": (label * 1.0, label, "train", "partial")})
    degrees = [angle for name in "zyx" for angle in ([50, 70] if name == axis else [0, 0])]
    patches = PatchDataset(
        CaseStore(root), PatchRule(["a"], (15, 41, 41), 0.0, 0),
        tio.RandomAffine(scales=0, degrees=degrees),
    )  # fmt: skip
    turned = patches[0]["label"].data[0].numpy()
    extent = (np.ptp(np.argwhere(turned), axis=0) + 1) * SPACING
    assert np.abs(extent - 24).max() <= 3  # without the spacing, z would reach over 33 mm or more
    assert abs(int(turned.sum()) - int(label.sum())) < 0.05 * label.sum()


def test_noise_is_gaussian_up_to_0_1() -> None:
    added = [changed(full("RandomNoise", always=True), noise(), s) - noise() for s in range(30)]
    assert all(abs(a.mean()) < 0.01 for a in added)
    sd = [a.std() for a in added]
    assert min(sd) < 0.03
    assert 0.07 < max(sd) < 0.101


def test_blur_is_as_wide_along_z_as_in_plane_in_millimetres() -> None:
    # What a point becomes: as wide as 0.4 to 0.8 mm, in voxels of 3, 1 and 1 mm.
    point, middle = np.zeros((9, 17, 17), np.float32), np.array([4.0, 8.0, 8.0])
    point[4, 8, 8] = 1
    widths = []
    for seed in range(30):
        blurred = changed(full("RandomBlur", always=True), point, seed)
        assert blurred.sum() == pytest.approx(1, abs=1e-3)
        offsets = (np.indices(point.shape) - middle[:, None, None, None]) ** 2
        widths.append([math.sqrt((blurred * axis).sum()) for axis in offsets])
    z, y, x = np.transpose(widths)
    assert 0.25 < min(*y, *x) < 0.45
    assert 0.7 < max(*y, *x) < 0.85
    assert z.max() < 0.2  # voxels of 3 mm


def test_brightness_is_a_factor_of_0_75_to_1_25() -> None:
    factors = []
    for seed in range(30):
        ratio = changed(full("RandScaleIntensity", always=True), noise(), seed) / noise()
        assert np.ptp(ratio) < 1e-4
        factors.append(ratio.mean())
    assert 0.75 <= min(factors) < 0.85
    assert 1.15 < max(factors) <= 1.25


def test_contrast_spreads_about_the_mean_within_the_range() -> None:
    image, spread = noise(), []
    for seed in range(30):
        result = changed(full("RandScaleIntensityFixedMean", always=True), image, seed)
        assert result.min() >= image.min()
        assert result.max() <= image.max()
        assert result.mean() == pytest.approx(image.mean(), abs=0.01)
        spread.append(result.std() / image.std())
    assert 0.74 < min(spread) < 0.85
    assert 1.15 < max(spread) < 1.26


def test_low_resolution_is_in_plane_and_shifts_nothing() -> None:
    transform = full("RandSimulateLowResolution", always=True)
    levels = np.broadcast_to(np.arange(8.0)[:, None, None], SIZE)
    y, x = np.mgrid[:24, :32]
    blob = np.broadcast_to(np.exp(-((y - 11.5) ** 2 + (x - 15.5) ** 2) / 32), SIZE)
    lost = []
    for seed in range(20):
        np.testing.assert_allclose(changed(transform, levels, seed), levels, atol=1e-5)
        coarse = changed(transform, blob, seed)[0]
        lost.append(np.abs(coarse - blob[0]).max())
        assert (coarse * y).sum() / coarse.sum() == pytest.approx(11.5, abs=0.25)
        assert (coarse * x).sum() / coarse.sum() == pytest.approx(15.5, abs=0.25)
    assert max(lost) > 0.02


@pytest.mark.parametrize("name", ["gamma", "inverted gamma"])
def test_gamma_keeps_order_mean_and_deviation(name: str) -> None:
    image = noise() ** 3 - 2
    for seed in range(10):
        result = changed(full(name, always=True), image, seed)
        assert result.mean() == pytest.approx(image.mean(), abs=1e-3)
        assert result.std() == pytest.approx(image.std(), rel=1e-3)
        assert (np.diff(result.ravel()[np.argsort(image.ravel())]) >= -1e-5).all()
        assert not np.allclose(result, image, atol=0.01)


def test_inverted_gamma_is_gamma_of_the_negative() -> None:
    plain, inverted = (full(name, always=True) for name in ("gamma", "inverted gamma"))
    np.testing.assert_allclose(changed(inverted, noise(), 3), -changed(plain, -noise(), 3))
    assert not np.allclose(changed(inverted, noise(), 3), changed(plain, noise(), 3), atol=0.01)


@pytest.mark.parametrize("name", PROBABILITY)
@pytest.mark.parametrize("value", [0.0, -1.7])
def test_constant_patches_stay_finite(name: str, value: float) -> None:
    for seed in range(3):
        result = changed(full(name, always=True), np.full(SIZE, value), seed)
        assert np.isfinite(result).all()
        assert np.abs(result - value).max() < 0.5  # a little noise or a factor, at borders too


def test_monai_s_transforms_follow_torch_s_seed_alone() -> None:
    from monai.transforms import RandScaleIntensity

    transform = MonaiIntensity(RandScaleIntensity(factors=0.5, prob=1.0))
    first = [changed(transform, noise(), seed) for seed in (1, 2)]
    again = [changed(transform, noise(), seed) for seed in (1, 2)]
    assert np.array_equal(first, again)
    assert not np.array_equal(*first)
