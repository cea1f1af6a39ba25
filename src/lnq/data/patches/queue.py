"""Patches as a pure function of (seed, number of the draw): what the queue is filled with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from typing import Any, cast

import numpy as np
import torch
import torchio as tio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lnq.data.patches import workers
from lnq.data.patches.batch import Batch
from lnq.data.store.case_store import CaseStore
from lnq.data.store.label_field import annotated
from lnq.errors import CaseError, RunError
from lnq.seeding import derive_seed, generator
from lnq.volume import Array

Size = tuple[int, int, int]
Subjects = Generator[tio.Subject, None, None]
ROUNDING_HU = 0.5
"""What float16 in the store may move an intensity by, and more."""
DEATH_S = 30.0
"""Longest wait for the end of a worker whose connection has ended."""


@dataclass(frozen=True)
class PatchRule:
    """Which case and which place the n-th patch of a training run comes from.

    Attributes:
        case_ids: The training cases.
        patch_size: z, y, x in voxels.
        foreground_share: Share of the draws whose patch is centred on an annotated voxel, spread
            evenly: 0.5 makes it one patch of each batch of two
            (docs/explanation/method.md#data-and-preprocessing).
        seed: Seed of order and places.
    """

    case_ids: Sequence[str]
    patch_size: Size
    foreground_share: float
    seed: int

    def case_of(self, draw: int) -> str:
        """Every case once before any case again, in an order of its own each round."""
        number_of_cases = len(self.case_ids)
        order = generator(self.seed, "order", draw // number_of_cases).permutation(number_of_cases)
        return self.case_ids[int(order[draw % number_of_cases])]

    def wants_foreground(self, draw: int) -> bool:
        """Whether this draw is one of the `foreground_share`."""
        share = self.foreground_share
        return math.floor((draw + 1) * share) > math.floor(draw * share)

    def start_of(self, draw: int, size: Size, foreground: Array) -> tuple[int, ...]:
        """First voxel of the patch; negative where the volume is smaller than the patch.

        Args:
            draw: Number of the draw.
            size: Size of the case's volume, z y x.
            foreground: (n, 3) coordinates z y x of annotated voxels; where there are none the patch
                is drawn anywhere.
        """
        rng = generator(self.seed, "place", draw)
        patch, extent = np.asarray(self.patch_size), np.asarray(size)
        last = np.maximum(extent - patch, 0)
        if self.wants_foreground(draw) and len(foreground):
            centre = foreground[rng.integers(len(foreground))]
            start = np.clip(centre - patch // 2, 0, last)
        else:
            start = rng.integers(0, last, endpoint=True)
        start = np.where(extent < patch, -((patch - extent) // 2), start)
        return tuple(int(v) for v in start)


def cut(array: Array, start: Sequence[int], size: Size, outside: float) -> Array:
    """A copy of `array[start : start + size]`; voxels beyond its edges are `outside`."""
    window = tuple(
        slice(max(s, 0), min(s + n, extent))
        for s, n, extent in zip(start, size, array.shape, strict=True)
    )
    inner = np.asarray(array[window])
    padding = [
        (max(-s, 0), max(s + n - extent, 0))
        for s, n, extent in zip(start, size, array.shape, strict=True)
    ]
    return np.pad(inner, padding, constant_values=outside)


def beyond(hu: Array, window: tuple[float, float]) -> Array:
    """Where intensities lie at the ends of a window or outside, but for the store's rounding."""
    low, high = window
    return (hu <= low + ROUNDING_HU) | (hu >= high - ROUNDING_HU)


class PatchDataset(tio.SubjectsDataset):
    """Item n is the patch of draw n, augmented; every item can be made again on its own.

    The axes of the TorchIO subjects are z, y, x, like everywhere in this package.

    Args:
        store: Preprocessed cases.
        rule: Which patch a draw is.
        transform: Augmentation or corruption of the patch, seeded for each draw.
        known_background_hu: Where given, a subject has a label `known_background` besides: 1 where
            the scan, before any augmentation, has at most the first or at least the second of these
            HU, or ends, and nothing is annotated.
    """

    def __init__(
        self,
        store: CaseStore,
        rule: PatchRule,
        transform: Callable[[tio.Subject], tio.Subject] | None,
        known_background_hu: tuple[float, float] | None = None,
    ) -> None:
        # The base class wants the subjects themselves; ours are made on demand.
        torch.utils.data.Dataset.__init__(self)
        self.store = store
        self.rule = rule
        self.patch_transform = transform
        self.known_background_hu = known_background_hu

    def __getitem__(self, draw: int) -> tio.Subject:
        """The subject of draw `draw` with `image`, `label` (0 where unannotated), `case_id`."""
        case_id = self.rule.case_of(draw)
        image, field = self.store.image(case_id), self.store.label_field(case_id)
        start = self.rule.start_of(draw, image.shape, self.store.foreground(case_id))
        size = self.rule.patch_size
        outside = float(image.min()) if min(start) < 0 else 0.0
        patch = cut(image, start, size, outside).astype(np.float32)
        marked = np.zeros(size, np.uint8)
        if field is not None:
            marked = annotated(cut(field, start, size, 0))
        # With its true spacing, what rotates or scales a patch does so in millimetres.
        record = self.store.record(case_id)
        affine = np.diag([*record.grid.spacing_mm, 1.0])
        labels = {"label": marked}
        if self.known_background_hu is not None:
            hu = patch * record.sd + record.mean
            labels["known_background"] = beyond(hu, self.known_background_hu) & (marked == 0)
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(patch)[None], affine=affine),
            case_id=case_id,
            **{
                name: tio.LabelMap(
                    tensor=torch.from_numpy(array.astype(np.uint8))[None], affine=affine
                )
                for name, array in labels.items()
            },
        )
        if self.patch_transform is None:
            return subject
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.rule.seed, "transform", draw))
            subject = self.patch_transform(subject)
        for name in labels:
            moved = cast(tio.LabelMap, subject[name])
            moved.set_data(moved.data.to(torch.uint8))  # TorchIO resamples labels to float32
        return subject


class DrawSampler(Sampler[int]):
    """The draws of one epoch that one rank makes, from a step on.

    Its length is the whole epoch's also where it starts in the middle: Lightning counts the batches
    before a resumed step as fetched.

    Args:
        first_step: Step at which the epoch begins, counted over the whole training.
        resume_step: Step to begin with; `first_step` unless resuming.
        num_steps: Steps of an epoch.
        batch_size: Patches of a batch on one rank.
        rank: This process.
        world_size: Number of processes.
        overfit: Every step makes the draws of the first one.
    """

    def __init__(
        self,
        first_step: int,
        resume_step: int,
        num_steps: int,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        overfit: bool = False,
    ) -> None:
        self.steps = range(resume_step, first_step + num_steps)
        self.num_steps = num_steps
        self.batch_size = batch_size
        self.rank = rank
        self.world_size = world_size
        self.overfit = overfit

    def __iter__(self) -> Iterator[int]:
        """Numbers of draws; those of the ranks interleave and never meet."""
        for step in self.steps:
            drawn = 0 if self.overfit else step
            first = (drawn * self.world_size + self.rank) * self.batch_size
            yield from range(first, first + self.batch_size)

    def __len__(self) -> int:
        """Draws of a whole epoch on one rank."""
        return self.num_steps * self.batch_size


class ErrorsAsItems(Dataset[tio.Subject | CaseError]):
    """A dataset whose case errors are items: of what a worker raises, torch leaves only a text.

    Args:
        patches: What the items are made by.
    """

    def __init__(self, patches: PatchDataset) -> None:
        self.patches = patches

    def __getitem__(self, draw: int) -> tio.Subject | CaseError:
        """The subject of a draw, or why there is none."""
        try:
            return self.patches[draw]
        except CaseError as error:
            return error


class WholeSubject(tio.data.PatchSampler):
    """The queue's patch sampler: subjects come already cut to the patch."""

    def __call__(
        self, subject: tio.Subject | CaseError, num_patches: int | None = None
    ) -> Subjects:
        """The subject itself, once.

        Raises:
            CaseError: It is one.
        """
        if isinstance(subject, CaseError):
            raise subject
        yield subject


def _wait_for_a_death(workers: Sequence[BaseProcess]) -> None:
    """Waits until one of the processes has ended.

    A killed worker's connection ends before its process does. Where torch handles the signal of the
    death, it raises in the line that it meets: here, or in any later one if nobody waits.
    """
    end = time.monotonic() + DEATH_S
    while all(worker.is_alive() for worker in workers) and time.monotonic() < end:
        time.sleep(0.05)


def _only(items: Sequence[Any]) -> Any:
    return items[0]


class PatchQueue(tio.Queue):
    """TorchIO's queue over draws: order is the sampler's, nothing is shuffled or counted twice."""

    def __init__(
        self, dataset: PatchDataset, sampler: DrawSampler, max_length: int, num_workers: int
    ) -> None:
        self.draws = sampler
        super().__init__(
            ErrorsAsItems(dataset),  # type: ignore[arg-type]  # the queue only hands items on
            max_length=max_length,
            samples_per_volume=1,
            sampler=WholeSubject(dataset.rule.patch_size),
            subject_sampler=sampler,
            num_workers=num_workers,
            shuffle_subjects=False,
            shuffle_patches=False,
            start_background=False,
        )

    def __getitem__(self, index: int) -> tio.Subject:
        """The next draw. The loaders inside seed their workers from torch's global generator.

        Raises:
            RunError: A preprocessed case cannot be read.
            RuntimeError: A "DataLoader worker" was killed.
        """
        try:
            with torch.random.fork_rng(devices=[]):
                # TorchIO's method has no annotations.
                subject: tio.Subject = super().__getitem__(index)  # type: ignore[no-untyped-call]
                return subject
        except (ConnectionError, EOFError) as error:
            # Nothing public of a torch loader names its workers.
            _wait_for_a_death(getattr(self.subjects_iterable, "_workers", ()))
            raise RuntimeError("the connection to a DataLoader worker ended") from error
        except CaseError as error:
            raise RunError("a case stops the training", why=str(error)) from error

    def _get_subjects_iterable(self) -> Iterator[tio.Subject]:
        """As the base class's, with workers that are ours."""
        loader = DataLoader(
            self.subjects_dataset, num_workers=self.num_workers, batch_size=1,
            collate_fn=_only, sampler=self.subject_sampler, worker_init_fn=workers.begin,
        )  # fmt: skip
        self._num_sampled_subjects = 0
        return iter(loader)

    @property
    def num_subjects(self) -> int:
        """Draws that are left of the epoch; the base class takes the sampler's length for them."""
        return len(self.draws.steps) * self.draws.batch_size

    @property
    def iterations_per_epoch(self) -> int:
        """Draws of an epoch; the base class would make every subject to count them."""
        return len(self.draws)


def collate(subjects: Sequence[Any]) -> Batch:
    """A batch of subjects, all with the same images."""

    def stacked(name: str) -> Tensor:
        return torch.stack([subject[name].data for subject in subjects])

    batch = Batch(
        image=stacked("image"),
        label=stacked("label"),
        case_id=[subject["case_id"] for subject in subjects],
    )
    if "target" in subjects[0]:
        batch["target"] = stacked("target")
    if "known_background" in subjects[0]:
        batch["known_background"] = stacked("known_background")
    return batch
