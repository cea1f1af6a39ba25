"""A batch that lies in one process, or in parts in several: its sums and means are those of all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, distributed


class Processes(Protocol):
    """Where the batch of a loss lies. Losses that are ratios need the sums of all of it."""

    def total(self, own: Tensor) -> Tensor:
        """The sum over the batch, from that over this process's part of it."""
        ...

    def mean(self, own: Tensor) -> Tensor:
        """The mean over the batch, from that over this process's part; parts are of one size."""
        ...


@dataclass(frozen=True)
class OneProcess:
    """All of the batch lies in this process."""

    def total(self, own: Tensor) -> Tensor:
        """`own` itself."""
        return own

    def mean(self, own: Tensor) -> Tensor:
        """`own` itself."""
        return own


@dataclass(frozen=True)
class AllProcesses:
    """Each process of PyTorch's default group has a part of the batch, and the loss of all of it.

    Every process must compute the same losses in the same order: each of their sums waits for the
    others'. Gradients are such that their mean over the processes, which DDP takes, is the gradient
    of the loss of the whole batch.

    Attributes:
        number: Of processes.
    """

    number: int

    def total(self, own: Tensor) -> Tensor:
        """The sum of all processes' `own`, in each of them."""
        return torch.ops.lnq.sum_of_processes(own, self.number)

    def mean(self, own: Tensor) -> Tensor:
        """The mean of all processes' `own`, in each of them."""
        return self.total(own) / self.number


ONE_PROCESS = OneProcess()


# An operator of its own, so that compiled losses hold it without a break.
@torch.library.custom_op("lnq::sum_of_processes", mutates_args=())
def _sum_of_processes(own: Tensor, number: int) -> Tensor:
    total = own.detach().clone()
    distributed.all_reduce(total)
    return total


@_sum_of_processes.register_fake
def _(own: Tensor, number: int) -> Tensor:
    return torch.empty_like(own)


def _keep_number(ctx: Any, inputs: tuple[Tensor, int], output: Tensor) -> None:
    ctx.number = inputs[1]


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
    # What all processes' losses change by; these are one loss, so that nobody need be asked.
    return gradient * ctx.number, None


_sum_of_processes.register_autograd(_backward, setup_context=_keep_number)
