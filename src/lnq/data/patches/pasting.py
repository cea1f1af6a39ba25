"""Annotated nodes pasted where they could lie too: few annotations, seen in many places.

Copy and paste of lesions raises what a network learns of few of them (Yang et al. 2021, TumorCP;
Ghiasi et al. 2021). A network that sees the same few nodes at the same places learns the places:
docs/results.md has what that costs and what pasting brings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from pydantic import Field
from scipy import ndimage

from lnq.box import Box
from lnq.data.patches.known import NODE_HU, ROUNDING_HU, CutPatch, KnownBackground, beyond
from lnq.data.preparation.label_field import annotated
from lnq.data.store.case_store import CaseStore
from lnq.volume import Array, Mask

REACH_MM = 40.0
"""Of a node from any of its voxels: what is larger is pasted in part."""
TRIES = 64
"""Places looked at before a patch stays as it is: one in ten or so will do."""
_AROUND = np.ones((3, 3, 3), bool)


class Donor(NamedTuple):
    """A node, cut out with the voxels around it.

    Attributes:
        hu: z y x.
        node: Where it is.
        centre: The voxel of it by which it is placed, z y x.
    """

    hu: Array
    node: Mask
    centre: tuple[int, ...]


class Pasted(NamedTuple):
    """A patch with a node more.

    Attributes:
        image: Normalised, z y x.
        marked: 1 where annotated, uint8 z y x.
        rim: What was pasted with the node around it: no node, as far as its annotator saw.
    """

    image: Array
    marked: Array
    rim: Mask


@dataclass(frozen=True)
class NodePasting:
    """Pastes an annotated node of any training case into some of the patches.

    It comes with a rim of one voxel, and goes where nodes lie: into fat or, as the two look alike
    to a window of soft tissue, air, beside soft tissue. It never covers an annotated voxel, and
    spares what is no place for nodes (`KnownBackground.no_place`).

    Attributes:
        share: Of the patches that get one, if there is a place.
        beside_mm: Largest distance from soft tissue along each axis.
        soft_hu: HU of soft tissue: between these.
    """

    share: Annotated[float, Field(ge=0, le=1)] = 0.5
    beside_mm: Annotated[float, Field(ge=0, le=REACH_MM)] = 7.5
    soft_hu: tuple[float, float] = NODE_HU

    def onto(
        self,
        patch: CutPatch,
        case_ids: Sequence[str],
        known: KnownBackground,
        rng: np.random.Generator,
    ) -> Pasted | None:
        """The patch with a node more; None where chance or the patch has no place for one.

        Args:
            patch: As it was cut.
            case_ids: Training cases, of which those without annotation give none.
            known: Says where no place is.
            rng: Of this draw: case, node and place.

        Raises:
            CaseError: An array of the store is damaged.
        """
        if rng.random() >= self.share:
            return None
        donor = _donor(patch.store, case_ids[int(rng.integers(len(case_ids)))], rng)
        place = None if donor is None else self._place(patch, known, rng)
        return None if donor is None or place is None else _paste(patch, donor, place)

    def _place(
        self, patch: CutPatch, known: KnownBackground, rng: np.random.Generator
    ) -> tuple[int, ...] | None:
        """A voxel of fat or air, no node and no organ, with soft tissue beside it."""
        room = np.floor(np.divide(self.beside_mm, patch.grid.spacing_mm)).astype(int)
        no_place: Mask | None = None
        for index in rng.integers(0, patch.image.shape, size=(TRIES, 3)):
            at = tuple(int(v) for v in index)
            if patch.marked[at] or _hu(patch, at) > self.soft_hu[0] + ROUNDING_HU:
                continue
            beside = Box.within(patch.image.shape, index - room, index + room + 1)
            if beyond(_hu(patch, beside.slices), self.soft_hu).all():
                continue
            if no_place is None:
                no_place = known.no_place(patch)
            if not no_place[at]:
                return at
        return None


def _hu(patch: CutPatch, part: tuple[int, ...] | tuple[slice, ...]) -> Array:
    """Of a voxel, or of a box of them."""
    return np.asarray(patch.image[part] * patch.record.sd + patch.record.mean)


def _donor(store: CaseStore, case_id: str, rng: np.random.Generator) -> Donor | None:
    """The annotated node around a random annotated voxel of a case; None where there is none."""
    voxels, field = store.foreground(case_id), store.label_field(case_id)
    if field is None or not len(voxels):
        return None
    voxel = voxels[int(rng.integers(len(voxels)))]
    record = store.record(case_id)
    reach = np.ceil(np.divide(REACH_MM, record.grid.spacing_mm)).astype(int)
    around = Box.within(field.shape, voxel - reach, voxel + reach + 1)
    nodes, _ = ndimage.label(annotated(field[around.slices]), _AROUND)
    node = nodes == nodes[tuple(voxel - around.start)]
    tight = _wider(Box.around(node), node.shape)
    image = store.image(case_id)[around.slices][tight.slices].astype(np.float32)
    centre = tuple(int(v) for v in voxel - around.start - tight.start)
    return Donor(image * record.sd + record.mean, node[tight.slices], centre)


def _paste(patch: CutPatch, donor: Donor, place: tuple[int, ...]) -> Pasted:
    start = np.subtract(place, donor.centre)  # where the donor's first voxel comes to lie
    there = Box.within(patch.image.shape, start, start + donor.node.shape)
    here = Box(tuple(there.start - start), tuple(there.stop - start))
    free = ~_wide(patch.marked > 0)[there.slices]
    node = donor.node[here.slices] & free
    seen = _wide(node) & free
    image, marked, rim = patch.image.copy(), patch.marked.copy(), np.zeros(patch.image.shape, bool)
    hu = donor.hu[here.slices][seen]
    image[there.slices][seen] = (hu - patch.record.mean) / patch.record.sd
    marked[there.slices][node] = 1
    rim[there.slices] = seen & ~node
    return Pasted(image, marked, rim)


def _wider(box: Box, size: tuple[int, ...]) -> Box:
    """A box and the voxels around it, as far as there are any."""
    return Box.within(size, np.subtract(box.start, 1), np.add(box.stop, 1))


def _wide(mask: Mask) -> Mask:
    """A mask and the voxels around it; only the box around it is looked at."""
    box = Box.around(mask)
    result = mask.copy()
    if not box.is_empty:
        near = _wider(box, mask.shape)
        result[near.slices] = ndimage.binary_dilation(mask[near.slices], _AROUND)
    return result
