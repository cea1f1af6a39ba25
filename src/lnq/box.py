"""Boxes of voxels: the part of an array, or of a grid, that something happens in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, PositiveInt
from scipy import ndimage

from lnq.volume import Array, Grid

MOST_VOXELS = 1 << 25
"""Of a patch: 19 of the paper's; features of 16 channels are 2 GiB."""


def _patch_size(size: tuple[int, int, int]) -> tuple[int, int, int]:
    if prod(size) > MOST_VOXELS:
        raise ValueError(f"a patch may have {MOST_VOXELS:,} voxels")
    return size


PatchSize = Annotated[tuple[PositiveInt, PositiveInt, PositiveInt], AfterValidator(_patch_size)]
"""z, y, x in voxels, from a configuration or a checkpoint."""


@dataclass(frozen=True)
class Box:
    """A box of voxels `array[start:stop]`, of as many axes as the array has.

    Attributes:
        start: First index (z, y, x), inside.
        stop: Index behind the last one (z, y, x).
    """

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def slices(self) -> tuple[slice, ...]:
        """The box as an index of an array `z y x`."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    @property
    def size(self) -> tuple[int, ...]:
        """Voxels along each axis (z, y, x)."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def is_empty(self) -> bool:
        """Whether no voxel is inside."""
        return min(self.size) <= 0

    @classmethod
    def around(cls, mask: Array) -> Box:
        """The smallest box that holds all of a mask; an empty one at the first voxel of none.

        Args:
            mask: Of any number of axes; every value but 0 counts as inside.
        """
        boxes = ndimage.find_objects(mask.astype(bool, copy=False).view(np.uint8))
        if not boxes:
            return cls((0,) * mask.ndim, (0,) * mask.ndim)
        return cls(tuple(s.start for s in boxes[0]), tuple(s.stop for s in boxes[0]))

    @classmethod
    def covering(cls, inner: Grid, outer: Grid) -> Box:
        """The smallest box of `outer`'s voxels that holds all of `inner`, cut to `outer`.

        Both grids may differ in orientation, spacing and size.
        """
        edges = [(-0.5, n - 0.5) for n in inner.size]
        corners = np.array(np.meshgrid(*edges, indexing="ij")).reshape(3, -1).T
        index = outer.to_index(inner.to_world(corners))
        # A thousandth of a voxel of slack: rounding must not add a row of voxels.
        start = np.floor(index.min(axis=0) + 0.5 + 1e-3).astype(int)
        stop = np.ceil(index.max(axis=0) + 0.5 - 1e-3).astype(int)
        return cls.within(outer.size, start, stop)

    @classmethod
    def within(cls, size: Sequence[int], start: Iterable[int], stop: Iterable[int]) -> Box:
        """The part of `array[start:stop]` that an array of `size` (z, y, x) has."""
        return cls(
            tuple(max(0, int(a)) for a in start),
            tuple(min(n, int(b)) for n, b in zip(size, stop, strict=True)),
        )


def cut(array: Array, start: Sequence[int], size: Sequence[int], outside: float) -> Array:
    """A copy of `array[start : start + size]`; voxels beyond its edges are `outside`."""
    window = tuple(
        slice(max(s, 0), min(s + n, extent))
        for s, n, extent in zip(start, size, array.shape, strict=True)
    )
    inner = np.asarray(array[window])
    padding = [
        (max(-s, 0), max(s + n - extent, 0))
        for s, n, extent in zip(start, size, array.shape, strict=True)
    ]
    return np.pad(inner, padding, constant_values=outside)
