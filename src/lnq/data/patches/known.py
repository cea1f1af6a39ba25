"""Known background: where a patch can hold no node, by all that is known of its case.

Each voxel of a training patch is one of three kinds: annotated, known background, or unknown. The
first two are never guessed: what is annotated stays annotated, whatever else speaks against it.
docs/explanation/three-kinds.md tells where each source holds and fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import ndimage

from lnq.box import Box, cut
from lnq.data.preparation.chest_distance import BODY, FARTHEST_MM, LUNGS, on_patch
from lnq.data.preparation.label_field import annotated
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.volume import Array, Grid

Millimetres = Annotated[float, Field(ge=0, lt=FARTHEST_MM)]

NODE_HU = (-36.0, 157.0)
"""The clipping window of the authors' preprocessing: nnU-Net, on which theirs rests, takes the 0.5
and 99.5 percentiles of the annotated voxels. Volumes clipped to it still tell what lies beyond."""
ROUNDING_HU = 0.5
"""What float16 in the store may move an intensity by, and more."""


@dataclass(frozen=True)
class CutPatch:
    """A patch as it was cut, before any augmentation.

    Attributes:
        store: Where it was cut from.
        case_id: Of the case.
        start: First voxel z y x; negative where it begins outside the scan.
        image: Normalised intensities z y x; beyond the scan its lowest.
        marked: 1 where annotated, uint8 z y x.
    """

    store: CaseStore
    case_id: str
    start: Sequence[int]
    image: Array
    marked: Array

    @property
    def record(self) -> CaseRecord:
        """Of the case."""
        return self.store.record(self.case_id)

    @property
    def grid(self) -> Grid:
        """Where the patch lies in the world."""
        stop = [first + n for first, n in zip(self.start, self.image.shape, strict=True)]
        return self.record.grid.crop(self.start, stop)


@dataclass(frozen=True)
class KnownBackground:
    """Which sources of known background count; all that do are laid over each other. None = off.

    Attributes:
        hu: Voxels of at most the first or at least the second of these HU. The window's ends count
            as outside, for a scan may have been clipped to it.
        masks: Those that the dataset came with (`data.layout.background` of preprocess).
        full: Everything unmarked in a case of supervision `full`, what lies beyond its scan
            included.
        ring_mm: What lies within so many mm of an annotated voxel. A node that touches an annotated
            one and is not outlined itself is taken for background.
        beyond_lungs_mm: What is farther than this from the lungs and from what they enclose in a
            slice. Nothing, where none were found.
        beyond_body_mm: What is farther than this from the body, outside of it. The same.
        lung_heights: What lies below the first or above the second of these heights, as shares of
            the lungs' own: [0, 1] keeps the slices that show lung. Nothing, where none were found.
    """

    hu: tuple[float, float] | None = NODE_HU
    masks: bool = True
    full: bool = True
    ring_mm: Millimetres | None = None
    beyond_lungs_mm: Millimetres | None = None
    beyond_body_mm: Millimetres | None = None
    lung_heights: tuple[float, float] | None = None

    def of(self, patch: CutPatch) -> Array:
        """Where nothing is annotated and there can be no node, bool z y x."""
        found = self.no_place(patch)
        if self.full and patch.record.supervision == "full":
            found[:] = True
        if self.hu is not None:
            found |= beyond(patch.image * patch.record.sd + patch.record.mean, self.hu)
        if self.ring_mm is not None:
            found |= _ring(patch, self.ring_mm)
        return found & (patch.marked == 0)

    def no_place(self, patch: CutPatch) -> Array:
        """Where no node lies in any patient: masks, and what is beyond lungs and body; bool z y x.

        What the scan shows there has no say, and an annotation none either.
        """
        found = np.zeros(patch.image.shape, bool)
        if self.masks and (stored := patch.store.background(patch.case_id)) is not None:
            found |= stored.cut(patch.start, patch.image.shape)
        if self.beyond_lungs_mm is not None:
            found |= _farther(patch, LUNGS, self.beyond_lungs_mm)
        if self.beyond_body_mm is not None:
            found |= _farther(patch, BODY, self.beyond_body_mm)
        if self.lung_heights is not None:
            found |= _outside_heights(patch, self.lung_heights)
        return found


def beyond(hu: Array, window: tuple[float, float]) -> Array:
    """Where intensities lie at the ends of a window or outside, but for the store's rounding."""
    low, high = window
    return (hu <= low + ROUNDING_HU) | (hu >= high - ROUNDING_HU)


def _ring(patch: CutPatch, ring_mm: float) -> Array:
    """What lies within `ring_mm` of an annotated voxel of the case, in the patch or beside it."""
    none = np.zeros(patch.image.shape, bool)
    field = patch.store.label_field(patch.case_id)
    if field is None:
        return none
    spacing_mm = patch.record.grid.spacing_mm
    room = np.floor(np.divide(ring_mm, spacing_mm)).astype(int)
    wide = np.add(patch.image.shape, 2 * room)
    marked = annotated(cut(field, np.subtract(patch.start, room), wide, 0))
    box = Box.around(marked)
    if box.is_empty:
        return none
    near = Box.within(marked.shape, box.start - room, box.stop + room)
    far = ndimage.distance_transform_edt(marked[near.slices] == 0, sampling=spacing_mm)
    ring = np.zeros(marked.shape, bool)
    ring[near.slices] = np.asarray(far) <= ring_mm
    return ring[tuple(slice(r, r + n) for r, n in zip(room, patch.image.shape, strict=True))]


def _farther(patch: CutPatch, kind: int, margin_mm: float) -> Array:
    distances = patch.store.distance(patch.case_id, kind)
    if distances is None:
        return np.zeros(patch.image.shape, bool)
    return on_patch(distances, patch.grid) > margin_mm


def _outside_heights(patch: CutPatch, heights: tuple[float, float]) -> Array:
    """Whole slices, z from foot to head as everywhere in the store."""
    found = np.zeros(patch.image.shape, bool)
    distances = patch.store.distance(patch.case_id, LUNGS)
    if distances is None or not patch.record.lungs_found:
        return found
    slices = np.flatnonzero((distances.array == 0).any(axis=(1, 2)))
    index = np.zeros((patch.image.shape[0], 3))
    index[:, 0] = np.arange(patch.image.shape[0])
    z = distances.grid.to_index(patch.grid.to_world(index))[:, 0]
    # From edge to edge of the slices that show lung.
    height = (z - slices[0] + 0.5) / (slices[-1] - slices[0] + 1)
    found[(height < heights[0]) | (height > heights[1])] = True
    return found
