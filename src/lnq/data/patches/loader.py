"""Batches that are ready when they are asked for, and how long they were not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from lnq.data.patches.batch import Batch
from lnq.data.patches.queue import PatchQueue, collate, pinned


class PatchStream:
    """The batches of a training from a step on; what cuts them goes on from epoch to epoch.

    Args:
        queue: Of the patches from that step on.
        batch_size: Patches of a batch.
        first_step: Step of the first batch.
        last_step: Nothing is prepared for any later one; None = there is no end.
        ahead: Prepare the next batch in a thread while this one is used, in memory that a GPU
            copies from by itself. Only where processes cut the patches: the random numbers of a
            thread would be those of the training.

    Attributes:
        next_step: Step of the batch that comes next.
    """

    def __init__(
        self, queue: PatchQueue, batch_size: int, first_step: int, last_step: int | None, *,
        ahead: bool,
    ) -> None:  # fmt: skip
        self.queue = queue
        self.batch_size = batch_size
        self.next_step, self.last_step = first_step, last_step
        self._thread = ThreadPoolExecutor(1) if ahead else None
        self._following: Future[Batch] | None = None

    def take(self) -> Batch:
        """The batch of `next_step`."""
        # The first one here: processes start where their deaths are heard of.
        batch = self._cut() if self._following is None else self._following.result()
        self.next_step += 1
        more = self.last_step is None or self.next_step <= self.last_step
        self._following = self._thread.submit(self._cut) if self._thread and more else None
        return batch

    def close(self) -> None:
        """Ends its thread and processes."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
        self.queue.close()

    def _cut(self) -> Batch:
        batch = collate([self.queue[place] for place in range(self.batch_size)])
        return pinned(batch) if self._thread and torch.cuda.is_available() else batch


class PatchLoader:
    """The batches of one epoch, from a step on.

    It tells Lightning the truth: it goes on in mid-epoch where it stopped. Its state is the
    trainer's step alone, so there is nothing to save.

    Args:
        stream_at: Gives the stream whose next batch is that of a step.
        steps: Those of the epoch that are left.
        length: Steps of the whole epoch: Lightning counts those before a resumed one as fetched.

    Attributes:
        waited_s: Seconds that batches were waited for so far.
    """

    def __init__(self, stream_at: Callable[[int], PatchStream], steps: range, length: int) -> None:
        self._stream_at = stream_at
        self.steps = steps
        self._length = length
        self.waited_s = 0.0

    def __len__(self) -> int:
        """Batches of the whole epoch."""
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """The batches that are left."""
        for step in self.steps:
            begun = time.monotonic()
            try:
                batch = self._stream_at(step).take()
            finally:
                self.waited_s += time.monotonic() - begun
            yield batch

    def state_dict(self) -> dict[str, Any]:
        """Nothing."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to do: the loader was made for the step."""
