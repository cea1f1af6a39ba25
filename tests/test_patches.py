"""The patch queue: what is asked for is delivered, once, in order, without global generators."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torchio as tio
from support.stores import write_store

from lnq.box import cut
from lnq.data.patches.corruption import (
    GenesisCorruption,
    RandomInPainting,
    RandomLocalShuffling,
    RandomOutPainting,
)
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.patches.known import KnownBackground
from lnq.data.patches.queue import DrawSampler
from lnq.data.store.case_store import CaseStore
from lnq.errors import RunError, UsageError

PATCH = (4, 8, 8)
HU = KnownBackground(hu=(-36.0, 157.0))
AUGMENTATION = tio.Compose(
    [tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5), tio.RandomNoise(std=(0.1, 0.2))]
)


@pytest.fixture(scope="module")
def corners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large volumes with one annotated voxel each, in a corner or at an edge."""
    size = (20, 60, 60)
    cases: dict[str, Any] = {}
    for case_id, voxel in {"first": (0, 0, 0), "last": (19, 59, 59), "edge": (10, 0, 59)}.items():
        label = np.zeros(size, np.uint8)
        label[voxel] = 1
        cases[case_id] = (np.zeros(size), label, "train", "partial")
    root = tmp_path_factory.mktemp("corners") / "store"
    return write_store(root, cases)


def rule(store: Path, share: float = 0.5, seed: int = 0) -> PatchRule:
    return PatchRule(CaseStore(store).case_ids(split="train"), PATCH, share, seed)


def epoch_of(store: Path, *, step: int = 0, epoch: int = 0, workers: int = 0,
             rank: int = 0, world: int = 1, seed: int = 0, transform: Any = None,
             steps: int = 5) -> list[dict[str, Any]]:  # fmt: skip
    """The batches that Lightning would take of one epoch, from a step on."""
    module = PatchDataModule(store, PATCH, 2, steps, 0.5, transform, workers, seed)
    module.trainer = SimpleNamespace(
        global_step=step,
        current_epoch=epoch,
        global_rank=rank,
        world_size=world,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
        num_devices=1,
        max_epochs=epoch + 1,
        max_steps=-1,
    )
    batches = iter(module.train_dataloader())
    return [next(batches) for _ in range((epoch + 1) * steps - step)]


def images(batches: list[dict[str, Any]]) -> torch.Tensor:
    return torch.cat([batch["image"] for batch in batches])


def test_known_background_is_what_no_node_is_like_and_moves_with_the_image(tmp_path: Path) -> None:
    # HU = 400 image - 500. At the window's ends, stored in float16, counts as outside.
    hu = np.array([[-900, -36, -20, 40], [150, 157, 900, -900]], np.float32)
    image = np.broadcast_to((hu + 500) / 400, (3, 2, 4)).copy()
    label = np.zeros(image.shape, np.uint8)
    label[:, 1, 3] = 1  # annotated, whatever its HU
    store = CaseStore(write_store(tmp_path / "store", {"a": (image, label, "train", "partial")}))
    place = PatchRule(["a"], (3, 3, 4), 0.0, 0)
    expected = torch.tensor([[1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 1, 1]], dtype=torch.uint8)
    given = PatchDataset(store, place, None, HU, True)[0]
    assert torch.equal(given["known_background"].data, expected.expand(1, 3, 3, 4))
    assert "known_background" not in PatchDataset(store, place, None)[0]
    # Noise and brightness do not change what is known; mirroring takes it along.
    noisy = tio.Compose([tio.RandomNoise(mean=(5, 5)), tio.RandomFlip(axes=2, flip_probability=1)])
    moved = PatchDataset(store, place, noisy, HU, True)[0]
    assert torch.equal(moved["known_background"].data, given["known_background"].data.flip(-1))
    assert torch.equal(moved["label"].data, given["label"].data.flip(-1))


@pytest.mark.parametrize("share", [0.0, 0.33, 0.5, 1.0])
def test_the_share_of_foreground_is_delivered(corners: Path, share: float) -> None:
    numbers = range(60)
    wanted = [n for n in numbers if rule(corners, share).wants_foreground(n)]
    assert len(wanted) == int(60 * share)
    dataset = PatchDataset(CaseStore(corners), rule(corners, share), None)
    holding = [n for n in numbers if dataset[n]["label"].data.any()]
    # A patch drawn anywhere meets one voxel of 72,000 by chance only, in these draws never.
    assert holding == wanted


def test_foreground_is_spread_evenly(corners: Path) -> None:
    half, third = rule(corners, 0.5), rule(corners, 0.33)
    assert all(half.wants_foreground(n) != half.wants_foreground(n + 1) for n in range(0, 40, 2))
    for n in range(1, 100):
        assert abs(sum(map(third.wants_foreground, range(n))) - 0.33 * n) < 1


def test_every_case_once_before_any_twice(corners: Path) -> None:
    some = rule(corners)
    rounds = [[some.case_of(3 * r + i) for i in range(3)] for r in range(12)]
    assert all(sorted(r) == ["edge", "first", "last"] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 3  # not always the same order
    wanting = [some.case_of(n) for n in range(60) if some.wants_foreground(n)]
    assert set(wanting) == {"edge", "first", "last"}


def test_places_reach_the_whole_volume(corners: Path) -> None:
    starts = np.array(
        [rule(corners, 0).start_of(n, (6, 10, 10), np.zeros((0, 3))) for n in range(300)]
    )
    assert (starts.min(axis=0) == 0).all()
    assert (starts.max(axis=0) == (2, 2, 2)).all()


def test_a_small_volume_is_padded_with_its_minimum(tmp_path: Path) -> None:
    image = np.arange(2 * 20 * 5, dtype=np.float32).reshape(2, 20, 5) - 50
    label = np.ones((2, 20, 5), np.uint8)
    store = write_store(tmp_path / "s", {"a": (image, label, "train", "partial")})
    for draw in range(6):
        patch = PatchDataset(CaseStore(store), rule(store), None)[draw]
        inside = patch["label"].data[0].bool()
        assert patch["image"].shape == (1, *PATCH)
        assert inside.sum() == 2 * 8 * 5
        assert inside[1:3, :, 1:6].all()  # in the middle
        assert (patch["image"].data[0][~inside] == -50).all()
        values = patch["image"].data[0][inside].reshape(2, 8, 5)
        assert (values[0, :, 1] - values[0, :, 0] == 1).all()


def test_cut_is_a_copy(corners: Path) -> None:
    array = np.zeros((6, 6, 6))
    part = cut(array, (2, 2, 2), (2, 2, 2), 0)
    part[:] = 1
    assert not array.any()


@pytest.mark.parametrize("label", [None, np.zeros((9, 9, 9), np.uint8)])
def test_cases_without_foreground_are_drawn_too(tmp_path: Path, label: Any) -> None:
    supervision = "none" if label is None else "partial"
    image = np.random.default_rng(0).normal(size=(9, 9, 9))
    store = write_store(tmp_path / "s", {"a": (image, label, "train", supervision)})
    batches = epoch_of(store)
    assert not any(batch["label"].any() for batch in batches)
    assert batches[0]["label"].shape == batches[0]["image"].shape == (2, 1, *PATCH)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.process)])
def test_a_patch_is_a_function_of_seed_and_draw(tiny_store: Path, workers: int) -> None:
    dataset = PatchDataset(CaseStore(tiny_store), rule(tiny_store, seed=3), AUGMENTATION)
    batches = epoch_of(
        tiny_store, epoch=2, step=10, workers=workers, seed=3, transform=AUGMENTATION
    )
    drawn = [dataset[n] for n in reversed(range(20, 30))][::-1]  # made in another order
    assert torch.equal(images(batches), torch.stack([s["image"].data for s in drawn]))
    assert [c for batch in batches for c in batch["case_id"]] == [s["case_id"] for s in drawn]
    other = epoch_of(tiny_store, epoch=2, step=10, seed=4, transform=AUGMENTATION)
    assert not torch.equal(images(batches), images(other))


@pytest.mark.parametrize("step", [5, 6, 9])
def test_an_epoch_goes_on_from_any_step(tiny_store: Path, step: int) -> None:
    whole = epoch_of(tiny_store, epoch=1, step=5, transform=AUGMENTATION)
    rest = epoch_of(tiny_store, epoch=1, step=step, transform=AUGMENTATION)
    assert torch.equal(images(rest), images(whole)[2 * (step - 5) :])


def test_no_more_patches_are_made_than_are_left(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    original = PatchDataset.__getitem__
    monkeypatch.setattr(
        PatchDataset, "__getitem__", lambda self, n: [made.append(n), original(self, n)][1]
    )
    epoch_of(tiny_store, epoch=1, step=7)
    assert made == list(range(14, 20))


def test_epochs_follow_each_other_without_gap_or_repetition(tiny_store: Path) -> None:
    dataset = PatchDataset(CaseStore(tiny_store), rule(tiny_store), AUGMENTATION)
    epochs = [
        images(epoch_of(tiny_store, epoch=e, step=3 * e, steps=3, transform=AUGMENTATION))
        for e in range(3)
    ]
    expected = torch.stack([dataset[n]["image"].data for n in range(18)])
    assert torch.equal(torch.cat(epochs), expected)
    assert len({patch.numpy().tobytes() for patch in expected}) == 18


def test_ranks_share_no_draw_and_together_make_all() -> None:
    drawn = [list(DrawSampler(12, 14, 3, rank, 2)) for rank in range(2)]
    assert not set(drawn[0]) & set(drawn[1])
    assert sorted(drawn[0] + drawn[1]) == list(range(12 * 6, 15 * 6))


def test_ranks_see_different_patches(tiny_store: Path) -> None:
    first, second = (
        images(epoch_of(tiny_store, rank=rank, world=2, transform=AUGMENTATION)) for rank in (0, 1)
    )
    known = {patch.numpy().tobytes() for patch in first}
    assert len(known) == 10
    assert not known & {patch.numpy().tobytes() for patch in second}


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.process)])
def test_no_global_generator_is_touched(tiny_store: Path, workers: int) -> None:
    corruption = GenesisCorruption(
        RandomLocalShuffling(num_windows=10, max_side=0.5),
        RandomInPainting(max_boxes=2, min_side=0.25, max_side=0.5),
        RandomOutPainting(max_boxes=2, min_side=0.25, max_side=0.5),
    )
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    before = (torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate())
    batches = epoch_of(
        tiny_store, workers=workers, transform=tio.Compose([*AUGMENTATION.transforms, corruption])
    )
    assert batches[0]["target"].shape == batches[0]["image"].shape
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1] == before[1]).all()
    assert random.getstate() == before[2]


def test_global_generators_do_not_change_the_patches(tiny_store: Path) -> None:
    torch.manual_seed(1)
    first = images(epoch_of(tiny_store, transform=AUGMENTATION))
    torch.manual_seed(2)
    assert torch.equal(first, images(epoch_of(tiny_store, transform=AUGMENTATION)))


def test_genesis_gives_image_and_target_the_same_mirroring(tiny_store: Path) -> None:
    nothing = GenesisCorruption(
        RandomLocalShuffling(num_windows=1, max_side=0.5),
        RandomInPainting(1, 0.2, 0.3), RandomOutPainting(1, 0.2, 0.3),
        shuffling_probability=0, bezier_probability=0, painting_probability=0,
    )  # fmt: skip
    flip = tio.RandomFlip(axes=(0, 1, 2), flip_probability=0.5)
    for batch in epoch_of(tiny_store, transform=tio.Compose([flip, nothing])):
        assert torch.equal(batch["image"], batch["target"])


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.process)])
def test_a_damaged_case_stops_with_its_path(tmp_path: Path, workers: int) -> None:
    image, label = np.zeros((9, 9, 9)), np.ones((9, 9, 9), np.uint8)
    store = write_store(tmp_path / "s", {"a": (image, label, "train", "partial")})
    file = store / "cases" / "a" / "image.npy"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(RunError) as caught:
        epoch_of(store, workers=workers)
    assert str(file) in str(caught.value)
    assert "lnq.preprocess" in str(caught.value)
    assert "Traceback" not in str(caught.value)


@pytest.mark.process
@pytest.mark.parametrize("end", [ConnectionResetError, EOFError])
def test_a_killed_worker_is_met_in_the_queue_though_its_connection_ends_first(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch, end: type[Exception]
) -> None:
    workers: list[Any] = []
    handlers: list[Any] = []

    def dying(self: PatchDataset, draw: int) -> None:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)

    def cut_off(self: tio.Queue, index: int) -> None:
        workers.extend(self.subjects_iterable._workers)  # they run from here on
        # As after a training: Lightning takes torch's handler away.
        handlers.append(signal.signal(signal.SIGCHLD, signal.SIG_DFL))
        raise end

    monkeypatch.setattr(PatchDataset, "__getitem__", dying)
    monkeypatch.setattr(tio.Queue, "__getitem__", cut_off)
    try:
        with pytest.raises(RuntimeError, match="connection to a DataLoader worker") as caught:
            epoch_of(tiny_store, workers=1)
        # The error's frames hold the loader, whose own end would wait for the worker.
        assert caught.tb
        assert [worker.is_alive() for worker in workers] == [False]
    finally:
        for worker in workers:
            worker.join()
        for handler in handlers:
            signal.signal(signal.SIGCHLD, handler)


def test_a_store_without_training_cases_is_refused(tmp_path: Path) -> None:
    image, label = np.zeros((9, 9, 9)), np.ones((9, 9, 9), np.uint8)
    store = write_store(tmp_path / "s", {"v": (image, label, "val", "full")})
    with pytest.raises(UsageError, match="no training cases"):
        PatchDataModule(store, PATCH)


def test_validation_takes_completely_annotated_cases_whole(tiny_store: Path) -> None:
    module = PatchDataModule(tiny_store, PATCH)
    (loader,) = module.val_dataloader()
    (batch,) = list(loader)
    assert batch["case_id"] == ["v"]
    assert batch["image"].shape == batch["label"].shape == (1, 1, 5, 9, 12)
    assert batch["label"].sum() == 4
