"""The random composition of corruptions that Model Genesis learns to undo."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torchio as tio

from lnq.data.patches.corruption.base import Corruption, Probability, RandomCorruption, Shape
from lnq.data.patches.corruption.bezier import RandomBezierIntensity
from lnq.data.patches.corruption.painting import RandomInPainting, RandomOutPainting
from lnq.data.patches.corruption.shuffling import RandomLocalShuffling


class GenesisCorruption(RandomCorruption):
    """Corrupts `image` and keeps the patch as it was as `target`.

    See docs/explanation/method.md#pre-training-model-genesis.

    Local shuffling, then a Bezier intensity map, then with `painting_probability` one of in- and
    out-painting, never both. Mirroring, which changes the target too, belongs to the augmentation
    before this transform.

    The subject's history, composed, makes `image` of the patch again; without what changes
    intensities (`ignore_intensity=True`) it makes `target`.

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
        shuffling: RandomLocalShuffling,
        in_painting: RandomInPainting,
        out_painting: RandomOutPainting,
        shuffling_probability: Probability = 0.5,
        bezier_probability: Probability = 0.9,
        painting_probability: Probability = 0.9,
        in_painting_probability: Probability = 0.2,
    ) -> None:
        super().__init__(include=["image"])
        self.shuffling = shuffling
        self.bezier = RandomBezierIntensity()
        self.in_painting = in_painting
        self.out_painting = out_painting
        self.shuffling_probability = shuffling_probability
        self.bezier_probability = bezier_probability
        self.painting_probability = painting_probability
        self.in_painting_probability = in_painting_probability

    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> list[Corruption]:
        """None to three corruptions, in their order."""
        drawn: list[Corruption] = []
        if rng.random() < self.shuffling_probability:
            drawn += self.shuffling.draw(shape, rng, **base)
        if rng.random() < self.bezier_probability:
            drawn += self.bezier.draw(shape, rng, **base)
        if rng.random() < self.painting_probability:
            inside = rng.random() < self.in_painting_probability
            drawn += (self.in_painting if inside else self.out_painting).draw(shape, rng, **base)
        return drawn

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Replaces `image` (1, z, y, x) by its corruption and adds `target`."""
        image = cast(tio.ScalarImage, subject["image"])
        # A copy: where nothing is drawn, image and target must not be one tensor.
        target = tio.ScalarImage(tensor=image.data.clone(), affine=image.affine)
        subject = super().apply_transform(subject)
        subject.add_image(target, "target")
        return subject
