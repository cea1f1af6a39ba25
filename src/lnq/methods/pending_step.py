"""What of a step must be finite, on its way from the device to the host."""

from __future__ import annotations

import torch
from torch import Tensor

from lnq.data.patches.batch import Batch


class PendingStep:
    """Loss and gradient norm of one step; reading them waits for that step, and for nothing else.

    Args:
        number: Of the step.
        batch: What it learnt from.
        loss: Scalar, without gradient.
    """

    def __init__(self, number: int, batch: Batch, loss: Tensor) -> None:
        self.number = number
        self.batch = batch
        self.loss = loss
        self._values = loss.new_zeros(0)
        self._there: torch.cuda.Event | None = None

    def send(self, norm: Tensor) -> None:
        """Starts the way of both values to the host."""
        values = torch.stack([self.loss.float(), norm.float()])
        self._values = values.to("cpu", non_blocking=True)
        if values.is_cuda:
            self._there = torch.cuda.Event()
            self._there.record()

    def read(self) -> tuple[float, float] | None:
        """Loss and norm; None where the step came to no gradients."""
        if not len(self._values):
            return None
        if self._there is not None:
            self._there.synchronize()
        loss, norm = self._values.tolist()
        return loss, norm
