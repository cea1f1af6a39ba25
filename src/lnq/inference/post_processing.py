"""Removing what cannot be a lymph node from a mask.

See docs/explanation/method.md#inference-and-post-processing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from lnq.box import Box
from lnq.volume import Array, Mask, Volume, components


@dataclass(frozen=True)
class PostProcessing:
    """Three steps in this order, each of which can be left out.

    Attributes:
        border: Drop pieces at the border of the `scan` (paper) or of the lung `crop` (the original,
            which loses true nodes there); or of `none`.
        border_voxels: Width of that border.
        hu_window: Drop voxels outside this closed range, HU; None keeps them.
        min_volume_mm3: Then drop pieces of at most this volume, mm³; 0 keeps them.
        border_share: A piece lies at the border if more than this share of its voxels does; 0 = if
            one does (paper and original), which loses nodes that reach into a scan's last slices.
    """

    border: Literal["scan", "crop", "none"] = "scan"
    border_voxels: Annotated[int, Field(ge=1)] = 3
    hu_window: tuple[float, float] | None = (-54.0, 235.5)
    min_volume_mm3: Annotated[float, Field(ge=0)] = 175.03
    border_share: Annotated[float, Field(ge=0, lt=1)] = 0.5

    def __post_init__(self) -> None:
        if self.hu_window is not None and self.hu_window[0] >= self.hu_window[1]:
            raise ValueError(f"hu_window={self.hu_window}: the first value must be the smaller")

    def apply(self, mask: Volume, image: Volume, crop: Box) -> Volume:
        """The mask with what cannot be a node removed.

        Args:
            mask: 0 or 1 on the scan's grid.
            image: The scan, HU, on the same grid.
            crop: The lung crop in voxels of that grid.

        Returns:
            uint8, 0 or 1.
        """
        result = np.zeros(mask.grid.size, np.uint8)
        # Only the box around the foreground is looked at: the rest of a scan is mostly empty.
        box = Box.around(mask.array)
        if box.is_empty:
            return Volume(result, mask.grid)
        where = box.slices
        kept: Mask = mask.array[where] > 0
        if self.border != "none":
            whole = Box((0, 0, 0), mask.grid.size)
            inner = _inner(whole if self.border == "scan" else crop, self.border_voxels)
            kept = without_border_pieces(kept, _relative(inner, where), self.border_share)
        if self.hu_window is not None:
            kept = within_window(kept, image.array[where], self.hu_window)
        voxel = mask.grid.voxel_volume_mm3
        result[where] = without_small_pieces(kept, voxel, self.min_volume_mm3)
        return Volume(result, mask.grid)


def without_border_pieces(mask: Mask, inner: tuple[slice, ...], share: float) -> Mask:
    """Drops 26-connected pieces with more than this share of their voxels outside `mask[inner]`."""
    border = mask.copy()
    border[inner] = False
    labels, count = components(mask)
    outside = np.bincount(labels[border], minlength=count + 1)
    return mask & (outside <= share * np.bincount(labels.ravel()))[labels]


def within_window(mask: Mask, image: Array, hu_window: tuple[float, float]) -> Mask:
    """Drops voxels whose HU lie outside the closed range."""
    low, high = hu_window
    return mask & (image >= low) & (image <= high)


def without_small_pieces(mask: Mask, voxel_volume_mm3: float, min_volume_mm3: float) -> Mask:
    """Drops 26-connected pieces of at most `min_volume_mm3`."""
    labels, _ = components(mask)
    large = np.bincount(labels.ravel()) * voxel_volume_mm3 > min_volume_mm3
    large[0] = False
    return large[labels]


def _inner(box: Box, width: int) -> list[tuple[int, int]]:
    """Start and stop of `box` without its outermost `width` layers."""
    return [(a + width, b - width) for a, b in zip(box.start, box.stop, strict=True)]


def _relative(inner: list[tuple[int, int]], where: tuple[slice, ...]) -> tuple[slice, ...]:
    """The part of `where` that lies in `inner`, counted from the start of `where`."""
    return tuple(
        slice(max(0, low - s.start), max(0, high - s.start))
        for (low, high), s in zip(inner, where, strict=True)
    )
