"""Patches and counts for corruption."""

from __future__ import annotations

import numpy as np
from scipy.stats import binom

from lnq.data.patches.corruption.boxes import slices
from lnq.volume import Array

PAPER, ANISOTROPIC, THIN = (64, 128, 224), (24, 48, 48), (7, 1, 30)
SHAPES = [ANISOTROPIC, THIN, (1, 1, 1), (2, 2, 2), (3, 3, 3), (1, 4, 2), (1, 1, 50), (3, 3, 90)]
DRAWS = 2000


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def normal_patch(shape: tuple[int, ...] = (12, 20, 30), seed: int = 7) -> Array:
    return rng(seed).normal(size=shape).astype(np.float32)


def within_chance(count: int, draws: int, share: float) -> bool:
    """Whether a count fits a binomial distribution; a right one fails once in a million seeds."""
    low, high = binom.interval(1 - 1e-6, draws, share)
    return bool(low <= count <= high)


def inside(boxes: Array, shape: tuple[int, ...]) -> Array:
    mask = np.zeros(shape, dtype=bool)
    for box in slices(boxes):
        mask[box] = True
    return mask
