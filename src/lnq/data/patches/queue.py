"""From draws to batches: their order, the processes that cut, the queue over what they cut."""

from __future__ import annotations

import atexit
import sys
import time
import weakref
from collections.abc import Generator, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, cast

import torch
import torchio as tio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from lnq.data.patches import workers
from lnq.data.patches.batch import Batch
from lnq.data.patches.cutting import PatchDataset
from lnq.errors import CaseError, RunError

Subjects = Generator[tio.Subject, None, None]
DEATH_S = 30.0
"""Longest wait for the end of a worker whose connection has ended."""


class DrawSampler(Sampler[int]):
    """The draws that one rank makes from a step on.

    Args:
        first_step: Step to begin with, counted over the whole training.
        last_step: Step to end with; None = never.
        batch_size: Patches of a batch on one rank.
        rank: This process.
        world_size: Number of processes.
        overfit: Every step makes the draws of the first one.
    """

    def __init__(
        self,
        first_step: int,
        last_step: int | None,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        overfit: bool = False,
    ) -> None:
        self.steps = range(first_step, sys.maxsize if last_step is None else last_step + 1)
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


def _close(queue: weakref.ref[PatchQueue]) -> None:
    if (found := queue()) is not None:
        found.close()


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
        # A program may end without closing. Its exit ends workers by a signal that ours let pass;
        # this comes before that, and before torch thinks that it is too late.
        atexit.register(_close, weakref.ref(self))

    def __getitem__(self, index: int) -> tio.Subject:
        """The next draw, whatever the index.

        Raises:
            RunError: A preprocessed case cannot be read.
            RuntimeError: A "DataLoader worker" was killed.
        """
        try:
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
            generator=torch.Generator(),  # or it would draw from the global one
        )  # fmt: skip
        self._num_sampled_subjects = 0
        return iter(loader)

    @property
    def num_subjects(self) -> int:
        """Draws of all steps; the base class takes the sampler's length for them."""
        return min(len(self.draws.steps) * self.draws.batch_size, sys.maxsize)

    @property
    def iterations_per_epoch(self) -> int:
        """The same; the base class would make every subject to count them."""
        return self.num_subjects

    def close(self) -> None:
        """Ends the processes that cut."""
        self._subjects_iterable = None


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
        batch["supervised"] = torch.tensor(
            [subject["supervision"] != "none" for subject in subjects], dtype=torch.uint8
        ).reshape(-1, 1, 1, 1, 1)
    return batch


def pinned(batch: Batch) -> Batch:
    """The batch in memory that a GPU copies from by itself."""
    tensors = {k: v.pin_memory() for k, v in batch.items() if isinstance(v, Tensor)}
    return cast(Batch, {**batch, **tensors})
