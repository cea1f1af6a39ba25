"""In-painting and out-painting (Zhou et al. 2021)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar

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

Share = Annotated[float, Field(ge=0, le=1)]


class Painting(Corruption):
    """Base of both paintings: boxes, and noise that is uniform over the patch's own range.

    Args:
        boxes: (n, 2, 3): first voxel z, y, x of each box and the one past its last.
        seed: Of the noise.
        **base: Arguments of `torchio.Transform`.
    """

    def __init__(self, boxes: Array, seed: int, **base: Any) -> None:
        super().__init__(**base)
        self.boxes = boxes
        self.seed = seed
        self.args_names = ["boxes", "seed"]

    def noise(self, patch: Array) -> Callable[[Sequence[int]], Array]:
        """Makes noise of a shape: independent, uniform between the patch's extremes."""
        rng = np.random.default_rng(self.seed)
        low, high = np.float32(patch.min()), np.float32(patch.max())

        def of_shape(shape: Sequence[int]) -> Array:
            values = rng.random(shape, np.float32)
            values *= high - low
            values += low
            return np.minimum(values, high, out=values).astype(patch.dtype, copy=False)

        return of_shape


class InPainting(Painting):
    """Fills the boxes with noise: what they held must be guessed from around."""

    def corrupt(self, patch: Array) -> Array:
        """`patch` (z y x) with noise inside the boxes."""
        result, noise = patch.copy(), self.noise(patch)
        for box in slices(self.boxes):
            result[box] = noise(result[box].shape)
        return result


class OutPainting(Painting):
    """Keeps the boxes alone in noise: what lies around must be guessed from them."""

    def corrupt(self, patch: Array) -> Array:
        """Noise with `patch` (z y x) kept inside the boxes."""
        result = self.noise(patch)(patch.shape)
        for box in slices(self.boxes):
            result[box] = patch[box]
        return result


class RandomPainting(RandomCorruption):
    """Base of both: draws one box, and after each with some probability another one.

    Args:
        max_boxes: The most boxes.
        min_side: Smallest side as a share of the patch's side.
        max_side: Largest side as a share of the patch's side.
        go_on: Probability of drawing another box after each.
        border: Voxels that the boxes keep from the patch's border where there is room.
        p: Probability that an image is painted at all.
    """

    kind: ClassVar[type[Painting]]

    def __init__(
        self,
        max_boxes: Annotated[int, Field(ge=1)],
        min_side: Share,
        max_side: Share,
        go_on: Probability = 0.95,
        border: Annotated[int, Field(ge=0)] = 3,
        p: Probability = 1.0,
    ) -> None:
        super().__init__(p)
        self.max_boxes = max_boxes
        self.min_side = min_side
        self.max_side = max_side
        self.go_on = go_on
        self.border = border

    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> tuple[Painting]:
        """Boxes inside the patch, and a seed."""
        others = np.logical_and.accumulate(rng.random(self.max_boxes - 1) < self.go_on)
        low = sides_of(shape, self.min_side)
        high = np.maximum(low, sides_of(shape, self.max_side))
        boxes = draw_boxes(shape, 1 + int(others.sum()), low, high, self.border, rng)
        return (self.kind(boxes, draw_seed(rng), **base),)


class RandomInPainting(RandomPainting):
    """Draws the boxes of an in-painting."""

    kind = InPainting


class RandomOutPainting(RandomPainting):
    """Draws the boxes that an out-painting keeps."""

    kind = OutPainting
