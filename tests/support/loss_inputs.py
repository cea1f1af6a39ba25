"""Logits and annotations for losses."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from lnq.losses import (
    cross_entropy,
    dice_loss,
    partial_cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
    tversky_loss,
)

Loss = Callable[[Tensor, Tensor], Tensor]
SUPERVISED: list[Loss] = [
    cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
    partial_cross_entropy,
    tversky_loss,
    dice_loss,
]
SHAPE = (2, 2, 2, 3, 2)


def random_logits(seed: int, shape: tuple[int, ...] = SHAPE, scale: float = 2.0) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.from_numpy(rng.normal(scale=scale, size=shape))


def random_annotation(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    rng = np.random.default_rng([seed, 1])
    return torch.from_numpy((rng.random((shape[0], 1, *shape[2:])) < 0.3).astype(float))


def random_label(seed: int) -> Tensor:
    return torch.softmax(random_logits(seed + 100), dim=1)


def logits_of(*node_probabilities: float) -> Tensor:
    """Logits (1, 2, 1, 1, n) whose softmax gives the node these probabilities."""
    node = torch.tensor(node_probabilities, dtype=torch.float64).logit()
    return torch.stack([torch.zeros_like(node), node]).reshape(1, 2, 1, 1, -1)


def annotation(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, 1, -1)


def label_of(*node_probabilities: float) -> Tensor:
    node = torch.tensor(node_probabilities, dtype=torch.float64)
    return torch.stack([1 - node, node]).reshape(1, 2, 1, 1, -1)
