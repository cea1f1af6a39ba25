"""MONAI's random intensity transforms among TorchIO's, with TorchIO's seeding."""

from __future__ import annotations

import torch
import torchio as tio
from monai.transforms import RandomizableTransform
from monai.utils import convert_to_tensor


class MonaiIntensity(tio.Transform):
    """Applies one of MONAI's random array transforms to the images of a subject, never its labels.

    MONAI draws from a generator of the transform's own; here that is seeded from torch's on each
    call, so the result is a function of torch's seed, like that of TorchIO's transforms.

    Args:
        transform: Changes intensities, not shapes; its own `prob` says how often.
        in_plane: Give it the slices along z as channels: it then works on each of them in y and x,
            and changes all alike.
    """

    def __init__(self, transform: RandomizableTransform, in_plane: bool = False) -> None:
        super().__init__(copy=False)
        self.transform = transform
        self.in_plane = in_plane
        self.args_names = []

    def apply_transform(self, subject: tio.Subject) -> tio.Subject:
        """Replaces the data (1, z, y, x) of every intensity image."""
        for image in subject.get_images(intensity_only=True):
            self.transform.set_random_state(seed=int(torch.randint(2**32, ())))
            given = image.data[0] if self.in_plane else image.data
            # Plain tensors: MONAI's own carry metadata, which batches would drag along.
            changed = convert_to_tensor(self.transform(given), track_meta=False)
            image.set_data(changed[None] if self.in_plane else changed)
        return subject
