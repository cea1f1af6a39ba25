"""In-painting and out-painting (Zhou et al. 2021)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from lnq.volume import Array

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class Boxes:
    """A rule for drawing boxes inside a patch.

    Attributes:
        max_boxes: The most boxes; the first is always drawn.
        go_on: Probability of drawing another box after each.
        min_side: Smallest side as a fraction of the patch's side.
        max_side: Largest side as a fraction of the patch's side.
        border: Voxels that the boxes keep from the patch's border where there is room.
    """

    max_boxes: Annotated[int, Field(ge=1)]
    min_side: Share
    max_side: Share
    go_on: Share = 0.95
    border: Annotated[int, Field(ge=0)] = 3

    def draw(self, shape: tuple[int, ...], rng: np.random.Generator) -> list[tuple[slice, ...]]:
        """The boxes of one patch, as slices z y x."""
        extent = np.asarray(shape)
        low = np.maximum(1, (extent * self.min_side).astype(int))
        high = np.maximum(low, (extent * self.max_side).astype(int))
        boxes: list[tuple[slice, ...]] = []
        while len(boxes) < self.max_boxes and (not boxes or rng.random() < self.go_on):
            side = rng.integers(low, high, endpoint=True)
            margin = np.minimum(self.border, (extent - side) // 2)
            start = rng.integers(margin, extent - side - margin, endpoint=True)
            boxes.append(tuple(slice(a, a + s) for a, s in zip(start, side, strict=True)))
        return boxes


def in_paint(patch: Array, boxes: list[tuple[slice, ...]], noise: Array) -> Array:
    """`patch` with `noise` inside the boxes."""
    painted = patch.copy()
    for box in boxes:
        painted[box] = noise[box]
    return painted


def out_paint(patch: Array, boxes: list[tuple[slice, ...]], noise: Array) -> Array:
    """`noise` with the patch kept inside the boxes."""
    return in_paint(noise, boxes, patch)
