"""Log-probabilities of a branch, which all its losses take from its logits."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor


class LogProbabilities(NamedTuple):
    """Stands for the logits they were taken from, so that several losses share them.

    Attributes:
        values: (b, 2, z, y, x), float32 at least.
    """

    values: Tensor

    def flip(self, dim: int) -> LogProbabilities:
        """As `Tensor.flip`; with 1 the classes change places."""
        return LogProbabilities(self.values.flip(dim))


Logits: TypeAlias = Tensor | LogProbabilities


def log_softmax(logits: Logits) -> Tensor:
    """Log-probabilities over the classes, in float32 at least.

    Taken from the logits directly they are exact and finite, so no clamping of the logarithm is
    needed.
    """
    if isinstance(logits, LogProbabilities):
        return logits.values
    return torch.log_softmax(at_least_float32(logits), dim=1)


def shared(logits: Logits) -> LogProbabilities:
    """What losses take in the place of the logits, without computing it each for itself.

    Examples:
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)
        >>> shared(logits).values.exp().flatten()
        tensor([0.2500, 0.7500])
    """
    return LogProbabilities(log_softmax(logits))


def at_least_float32(x: Tensor) -> Tensor:
    """`x`, half precision widened; float64 stays for gradient checks."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
