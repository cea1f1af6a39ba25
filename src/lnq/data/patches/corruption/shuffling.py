"""Local pixel shuffling (Zhou et al. 2021)."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from lnq.data.patches.corruption.base import (
    Corruption,
    Probability,
    RandomCorruption,
    Shape,
    draw_seed,
)
from lnq.data.patches.corruption.boxes import draw_boxes, sides_of, slices
from lnq.volume import Array

_PAYLOAD = 4
"""Bytes that a random number of 64 bits can carry and still differ from others by the rest."""


class LocalShuffling(Corruption):
    """Permutes the voxels inside each window, which removes texture and keeps shape.

    Where windows overlap the last one wins; each takes its voxels from the patch as it was.

    Args:
        windows: (n, 2, 3): first voxel z, y, x of each window and the one past its last.
        seed: Of the permutations: millions of voxels that a history need not hold.
        **base: Arguments of `torchio.Transform`.
    """

    def __init__(self, windows: Array, seed: int, **base: Any) -> None:
        super().__init__(**base)
        self.windows = windows
        self.seed = seed
        self.args_names = ["windows", "seed"]

    def corrupt(self, patch: Array) -> Array:
        """`patch` (z y x) with the voxels of each window permuted."""
        if patch.itemsize > _PAYLOAD:
            order = self.corrupt(np.arange(patch.size, dtype=np.uint32).reshape(patch.shape))
            return patch.ravel()[order]
        ends = np.diff(self.windows, axis=1).prod(axis=(1, 2)).cumsum().tolist()
        # A window's voxels in the order of random numbers: each is the low end of one (the first,
        # on little-endian machines), so that sorting the numbers brings them along, several times
        # as fast as shuffling.
        rng, total = np.random.default_rng(self.seed), ends[-1] if ends else 0
        keys = rng.integers(2**64, size=total, dtype=np.uint64)
        carried = keys.view(patch.dtype)[:: keys.itemsize // patch.itemsize]
        shuffled, start = patch.copy(), 0
        for window, end in zip(slices(self.windows), ends, strict=True):
            given = patch[window]
            voxels = carried[start:end].reshape(given.shape)
            voxels[...] = given
            keys[start:end].sort()
            shuffled[window] = voxels
            start = end
        return shuffled


class RandomLocalShuffling(RandomCorruption):
    """Draws the windows of the local shuffling, with sides from one voxel on.

    Args:
        num_windows: How many.
        max_side: Largest side as a share of the patch's side.
        p: Probability that an image is shuffled at all.
    """

    def __init__(
        self,
        num_windows: Annotated[int, Field(ge=0)] = 10_000,
        max_side: Annotated[float, Field(gt=0, le=1)] = 0.1,
        p: Probability = 1.0,
    ) -> None:
        super().__init__(p)
        self.num_windows = num_windows
        self.max_side = max_side

    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> tuple[LocalShuffling]:
        """Windows anywhere in the patch, and a seed."""
        low, high = np.ones(3, int), sides_of(shape, self.max_side)
        windows = draw_boxes(shape, self.num_windows, low, high, 0, rng)
        return (LocalShuffling(windows, draw_seed(rng), **base),)
