"""Local pixel shuffling (Zhou et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from lnq.volume import Array


@dataclass(frozen=True)
class LocalShuffling:
    """Permutes the voxels inside many small windows, which removes texture and keeps shape.

    Attributes:
        num_windows: How many windows.
        max_side: Largest side of a window as a fraction of the patch's side.
    """

    num_windows: Annotated[int, Field(ge=0)] = 10_000
    max_side: Annotated[float, Field(gt=0, le=1)] = 0.1

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Array, Array]:
        """First corner and side of every window, both (num_windows, 3) in voxels."""
        limit = np.maximum(1, (np.asarray(shape) * self.max_side).astype(int))
        sides = rng.integers(1, limit, size=(self.num_windows, 3), endpoint=True)
        corners = rng.integers(0, np.asarray(shape) - sides, endpoint=True)
        return corners, sides

    @staticmethod
    def apply(patch: Array, corners: Array, sides: Array, rng: np.random.Generator) -> Array:
        """`patch` with the voxels of each window permuted; `rng` draws the permutations.

        Where windows overlap the last one wins; each takes its voxels from the patch as it was.
        """
        shuffled = patch.copy()
        for start, stop in zip(corners.tolist(), (corners + sides).tolist(), strict=True):
            window = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
            shuffled[window] = rng.permutation(patch[window].ravel()).reshape(
                shuffled[window].shape
            )
        return shuffled
