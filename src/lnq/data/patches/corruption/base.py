"""What the corruptions have in common: parameters are drawn by one class, applied by another."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
import torch
import torchio as tio
from pydantic import Field
from torchio.transforms.augmentation import RandomTransform
from torchio.transforms.intensity_transform import IntensityTransform

from lnq.volume import Array

Probability = Annotated[float, Field(ge=0, le=1)]
Shape = tuple[int, int, int]


class Corruption(IntensityTransform):
    """Changes images by given parameters: the same image gives the same result every time.

    TorchIO's history records it with the attributes that `args_names` lists, so that
    `subject.get_composed_history()` repeats what was drawn.
    """

    @abstractmethod
    def corrupt(self, patch: Array) -> Array:
        """A corrupted copy of `patch` (z y x, float), of its type; `patch` stays as it is."""

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Replaces the images (c, z, y, x); the tensors they had are left untouched."""
        for image in self.get_images(subject):
            channels = [torch.from_numpy(self.corrupt(c.numpy())) for c in image.data]
            image.set_data(torch.stack(channels) if len(channels) > 1 else channels[0][None])
        return subject


class RandomCorruption(RandomTransform, IntensityTransform):
    """Draws the corruptions of an image, which then apply themselves.

    The random numbers of an image come from one draw of torch's generator, so a seed repeats them.

    Args:
        p: Probability that anything is corrupted.
        include: Names of the images to corrupt; None = all but label maps.
    """

    def __init__(self, p: Probability = 1.0, include: Sequence[str] | None = None) -> None:
        # TorchIO's constructor has no annotations.
        super().__init__(p=p, include=include)  # type: ignore[no-untyped-call]

    @abstractmethod
    def draw(self, shape: Shape, rng: np.random.Generator, **base: Any) -> Sequence[Corruption]:
        """The corruptions of one image of `shape` (z, y, x), in their order.

        Args:
            shape: Of the image, any size from 1 voxel on.
            rng: Where the parameters come from.
            **base: Arguments of `torchio.Transform` for what is drawn.
        """

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Corrupts each intensity image by parameters of its own."""
        for name, image in self.get_images_dict(subject).items():
            rng = np.random.default_rng(int(torch.randint(2**62, ())))
            # `subject` is this call's own already: what is drawn need not copy it again.
            for corruption in self.draw(image.spatial_shape, rng, include=[name], copy=False):
                subject = corruption(subject)
        return subject


def draw_seed(rng: np.random.Generator) -> int:
    """A parameter that stands for more random numbers than a history should hold."""
    return int(rng.integers(2**62))
