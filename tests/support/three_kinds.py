"""Voxels of each kind: three by hand, and batches in which every kind of case is."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

SHAPE = (3, 2, 2, 3, 2)


def logits_of(*node_probabilities: float) -> Tensor:
    node = torch.tensor(node_probabilities, dtype=torch.float64).logit()
    return torch.stack([torch.zeros_like(node), node]).reshape(1, 2, 1, 1, -1)


def mask(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, 1, -1)


# An annotated voxel, known background, and one of which nothing is known.
THREE = logits_of(0.75, 0.2, 0.6), mask(1, 0, 0), mask(0, 1, 0)
COUNTED = mask(1, 1, 0)


def mixture(seed: int) -> dict[str, Any]:
    """A batch of a complete case, a partially annotated one and one that nobody annotated."""
    rng = np.random.default_rng(seed)
    y = rng.random((3, 1, *SHAPE[2:])) < 0.3
    y[2] = False
    known = (rng.random(y.shape) < 0.4) & ~y
    known[0] = ~y[0]
    return {
        "image": torch.zeros(y.shape),
        "label": torch.from_numpy(y.astype(np.uint8)),
        "known_background": torch.from_numpy(known.astype(np.uint8)),
        "supervised": torch.tensor([1, 1, 0], dtype=torch.uint8).reshape(3, 1, 1, 1, 1),
        "case_id": ["full", "partial", "none"],
    }
