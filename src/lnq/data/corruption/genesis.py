"""The random composition of corruptions that Model Genesis learns to undo."""

from __future__ import annotations

from typing import Annotated, cast

import numpy as np
import torch
import torchio as tio
from pydantic import Field

from lnq.data.corruption.bezier import BezierCurve
from lnq.data.corruption.painting import Boxes, in_paint, out_paint
from lnq.data.corruption.shuffling import LocalShuffling
from lnq.volume import Array

Probability = Annotated[float, Field(ge=0, le=1)]


class GenesisCorruption(tio.Transform):
    """Corrupts `image` and keeps the patch as it was as `target` (METHOD: Model Genesis).

    Local shuffling, then a Bezier intensity map, then with `painting_probability` one of in- and
    out-painting, never both. Fill is uniform over the patch's own intensity range. Mirroring, which
    changes the target too, belongs to the augmentation before this transform. All random numbers
    come from one draw of torch's generator, so a seed repeats the corruption exactly.

    Args:
        shuffling: Rule of the local shuffling.
        in_painting: Rule of the painted boxes.
        out_painting: Rule of the kept boxes.
        shuffling_probability: How often shuffling happens.
        bezier_probability: How often the intensity map happens.
        painting_probability: How often one of the paintings happens.
        in_painting_probability: Share of in-painting among the paintings.
    """

    def __init__(
        self,
        shuffling: LocalShuffling,
        in_painting: Boxes,
        out_painting: Boxes,
        shuffling_probability: Probability = 0.5,
        bezier_probability: Probability = 0.9,
        painting_probability: Probability = 0.9,
        in_painting_probability: Probability = 0.2,
    ) -> None:
        super().__init__()
        self.shuffling = shuffling
        self.in_painting = in_painting
        self.out_painting = out_painting
        self.shuffling_probability = shuffling_probability
        self.bezier_probability = bezier_probability
        self.painting_probability = painting_probability
        self.in_painting_probability = in_painting_probability
        self.args_names = []

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Replaces `image` (1, z, y, x) by its corruption and adds `target`."""
        image = cast(tio.ScalarImage, subject["image"])
        rng = np.random.default_rng(int(torch.randint(2**62, ())))
        corrupted = self.corrupt(image.data[0].numpy(), rng)
        subject.add_image(tio.ScalarImage(tensor=image.data, affine=image.affine), "target")
        image.set_data(torch.from_numpy(corrupted)[None])
        return subject

    def corrupt(self, patch: Array, rng: np.random.Generator) -> Array:
        """A corrupted copy of `patch` (z y x, float)."""
        patch = patch.copy()  # where nothing happens, image and target must not be one array
        if rng.random() < self.shuffling_probability:
            corners, sides = self.shuffling.draw(patch.shape, rng)
            patch = self.shuffling.apply(patch, corners, sides, rng)
        if rng.random() < self.bezier_probability:
            low, high = np.percentile(patch, (0.1, 99.9))
            patch = BezierCurve.draw(rng).apply(patch, float(low), float(high))
        if rng.random() < self.painting_probability:
            inside = rng.random() < self.in_painting_probability
            boxes = (self.in_painting if inside else self.out_painting).draw(patch.shape, rng)
            noise = rng.uniform(patch.min(), patch.max(), patch.shape).astype(patch.dtype)
            patch = (in_paint if inside else out_paint)(patch, boxes, noise)
        return patch
