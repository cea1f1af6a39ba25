"""Patches as a pure function of (seed, number of the draw)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torchio as tio

from lnq.box import cut
from lnq.data.patches.known import CutPatch, KnownBackground
from lnq.data.patches.pasting import NodePasting
from lnq.data.preparation.label_field import annotated
from lnq.data.store.case_store import CaseStore
from lnq.seeding import derive_seed, generator
from lnq.volume import Array

Size = tuple[int, int, int]


@dataclass(frozen=True)
class PatchRule:
    """Which case and which place the n-th patch of a training run comes from.

    Attributes:
        case_ids: The training cases.
        patch_size: z, y, x in voxels.
        foreground_share: Share of the draws whose patch is centred on an annotated voxel, spread
            evenly: 0.5 makes it one patch of each batch of two
            (docs/explanation/method.md#data-and-preprocessing).
        seed: Seed of order and places.
    """

    case_ids: Sequence[str]
    patch_size: Size
    foreground_share: float
    seed: int

    def case_of(self, draw: int) -> str:
        """Every case once before any case again, in an order of its own each round."""
        number_of_cases = len(self.case_ids)
        order = generator(self.seed, "order", draw // number_of_cases).permutation(number_of_cases)
        return self.case_ids[int(order[draw % number_of_cases])]

    def wants_foreground(self, draw: int) -> bool:
        """Whether this draw is one of the `foreground_share`."""
        share = self.foreground_share
        return math.floor((draw + 1) * share) > math.floor(draw * share)

    def start_of(self, draw: int, size: Size, foreground: Array) -> tuple[int, ...]:
        """First voxel of the patch; negative where the volume is smaller than the patch.

        Args:
            draw: Number of the draw.
            size: Size of the case's volume, z y x.
            foreground: (n, 3) coordinates z y x of annotated voxels; where there are none the patch
                is drawn anywhere.
        """
        rng = generator(self.seed, "place", draw)
        patch, extent = np.asarray(self.patch_size), np.asarray(size)
        last = np.maximum(extent - patch, 0)
        if self.wants_foreground(draw) and len(foreground):
            centre = foreground[rng.integers(len(foreground))]
            start = np.clip(centre - patch // 2, 0, last)
        else:
            start = rng.integers(0, last, endpoint=True)
        start = np.where(extent < patch, -((patch - extent) // 2), start)
        return tuple(int(v) for v in start)


class PatchDataset(tio.SubjectsDataset):
    """Item n is the patch of draw n, augmented; every item can be made again on its own.

    The axes of the TorchIO subjects are z, y, x, like everywhere in this package.

    Args:
        store: Preprocessed cases.
        rule: Which patch a draw is.
        transform: Augmentation or corruption of the patch, seeded for each draw.
        known_background: What is known to hold no node.
        with_background: A subject has a label `known_background` besides, made of the patch as it
            was cut, and moved with it.
        pasting: Adds annotated nodes to some patches, before the transform.
    """

    def __init__(
        self,
        store: CaseStore,
        rule: PatchRule,
        transform: Callable[[tio.Subject], tio.Subject] | None,
        known_background: KnownBackground = KnownBackground(),
        with_background: bool = False,
        pasting: NodePasting | None = None,
    ) -> None:
        # The base class wants the subjects themselves; ours are made on demand.
        torch.utils.data.Dataset.__init__(self)
        self.store = store
        self.rule = rule
        self.patch_transform = transform
        self.known_background = known_background
        self.with_background = with_background
        self.pasting = pasting

    def __getitem__(self, draw: int) -> tio.Subject:
        """The subject of draw `draw`: `image`, `label` (0 where unannotated), id, supervision."""
        case_id = self.rule.case_of(draw)
        image, field = self.store.image(case_id), self.store.label_field(case_id)
        start = self.rule.start_of(draw, image.shape, self.store.foreground(case_id))
        size = self.rule.patch_size
        outside = float(image.min()) if min(start) < 0 else 0.0
        patch = cut(image, start, size, outside).astype(np.float32)
        marked = np.zeros(size, np.uint8)
        if field is not None:
            marked = annotated(cut(field, start, size, 0))
        # With its true spacing, what rotates or scales a patch does so in millimetres.
        record = self.store.record(case_id)
        affine = np.diag([*record.grid.spacing_mm, 1.0])
        cut_patch = CutPatch(self.store, case_id, start, patch, marked)
        patch, labels = self._with_nodes(cut_patch, draw)
        subject = tio.Subject(
            image=tio.ScalarImage(tensor=torch.from_numpy(patch)[None], affine=affine),
            case_id=case_id,
            supervision=record.supervision,
            **{
                name: tio.LabelMap(
                    tensor=torch.from_numpy(array.astype(np.uint8))[None], affine=affine
                )
                for name, array in labels.items()
            },
        )
        if self.patch_transform is None:
            return subject
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.rule.seed, "transform", draw))
            subject = self.patch_transform(subject)
        for name in labels:
            moved = cast(tio.LabelMap, subject[name])
            moved.set_data(moved.data.to(torch.uint8))  # TorchIO resamples labels to float32
        return subject

    def _with_nodes(self, patch: CutPatch, draw: int) -> tuple[Array, dict[str, Array]]:
        """A patch's intensities and labels, with the node that this draw may paste into it."""
        labels = {"label": patch.marked}
        if self.with_background:
            labels["known_background"] = self.known_background.of(patch)
        if self.pasting is None:
            return patch.image, labels
        rng = generator(self.rule.seed, "pasting", draw)
        pasted = self.pasting.onto(patch, self.rule.case_ids, self.known_background, rng)
        if pasted is None:
            return patch.image, labels
        labels["label"] = pasted.marked
        if self.with_background:
            known = labels["known_background"] | pasted.rim
            labels["known_background"] = known & (pasted.marked == 0)
        return pasted.image, labels
