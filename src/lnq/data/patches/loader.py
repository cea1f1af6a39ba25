"""Batches that are ready when they are asked for, and how long they were not."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from torch.utils.data import DataLoader

from lnq.data.patches.batch import Batch
from lnq.data.patches.queue import PatchQueue, collate


class PatchLoader(DataLoader[Batch]):
    """A loader that tells Lightning the truth: it goes on in mid-epoch where it stopped.

    Its state is the trainer's step alone, so there is nothing to save.

    Args:
        queue: Of the epoch's patches.
        batch_size: Patches of a batch.
        ahead: Prepare the next batch in a thread while this one is used, in memory that a GPU
            copies from by itself. Only where processes cut the patches: the random numbers of a
            thread would be those of the training.

    Attributes:
        waited_s: Seconds that batches were waited for so far.
    """

    def __init__(self, queue: PatchQueue, batch_size: int, *, ahead: bool) -> None:
        # A generator of its own, or else the loader would draw from the global one.
        own = torch.Generator()
        super().__init__(queue, batch_size, collate_fn=collate, generator=own, pin_memory=ahead)
        self._ahead = ahead
        self.waited_s = 0.0

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        """The batches of the epoch."""
        take: Callable[[], Batch | None] = functools.partial(next, super().__iter__(), None)
        with ThreadPoolExecutor(1) as thread:
            # The first one here: processes start where their deaths are heard of.
            following = take
            while (batch := self._timed(following)) is not None:
                following = thread.submit(take).result if self._ahead else take
                yield batch

    def _timed(self, take: Callable[[], Batch | None]) -> Batch | None:
        begun = time.monotonic()
        try:
            return take()
        finally:
            self.waited_s += time.monotonic() - begun

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the sampler was made for the step."""
