"""A trained network as a function from a scan to a mask."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch

from lnq.acceleration import Precision, arithmetic
from lnq.box import Box
from lnq.data.chest.lungs import Chest
from lnq.data.store.preprocessing import Preprocessing
from lnq.errors import UsageError
from lnq.inference.post_processing import PostProcessing
from lnq.inference.restore import to_scan_grid
from lnq.inference.sliding_window import (
    Branches,
    Counted,
    Logits,
    SlidingWindow,
    foreground_probability,
)
from lnq.volume import Volume

# Of two classes the likelier one. Voxels half-way between 0 and 1 are common, and float32 leaves
# them on either side of 0.5, by the order in which axes are stored: so they are all left out.
THRESHOLD = 0.5 + 1e-6
DEVICES = r"auto|cpu|cuda(:\d+)?"
"""Names that `choose_device` takes."""


@dataclass(frozen=True)
class Prediction:
    """What a network says of a scan; mask and probability are on exactly the scan's grid.

    Attributes:
        mask: uint8, 1 = lymph node, after post-processing.
        probability: float32 in [0, 1], before it; 0 outside the crop.
        notes: What a reader of the mask must know.
        aux_probability: The auxiliary branch's, on the working grid; None where it was not asked.
    """

    mask: Volume
    probability: Volume
    notes: tuple[str, ...]
    aux_probability: Volume | None = None


class Predictor:
    """Preprocessing as in training, sliding window, back to the scan's grid, post-processing.

    Args:
        main_logits: Logits `b 2 z y x` of a batch `b 1 z y x`; its network is in eval mode and on
            `device`.
        preprocessing: That of the training data.
        windows: How the volume is cut; of the training's patch size.
        post_processing: What is removed from the mask.
        mirror: Average over all flips.
        device: Where the network is.
        precision: What it computes in; the logits are blended in float32 in any case.
        both_logits: Main and auxiliary logits; given, the auxiliary branch is evaluated too, which
            changes no mask.
    """

    def __init__(
        self,
        main_logits: Logits,
        preprocessing: Preprocessing,
        windows: SlidingWindow,
        post_processing: PostProcessing,
        *,
        mirror: bool = False,
        device: torch.device | None = None,
        precision: Precision = 32,
        both_logits: Branches | None = None,
    ) -> None:
        self.main_logits = main_logits
        self.preprocessing = preprocessing
        self.windows = windows
        self.post_processing = post_processing
        self.mirror = mirror
        self.device = torch.device("cpu") if device is None else device
        self.precision = precision
        self.both_logits = both_logits

    def predict(
        self, image: Volume, chest: Chest | None = None, counted: Counted | None = None
    ) -> Prediction:
        """Segments one scan.

        Args:
            image: HU, any orientation and spacing.
            chest: Body and lungs where they have been looked for already.
            counted: Hears of the windows as they are done.

        Raises:
            CaseError: The scan cannot be used.
        """
        prepared = self.preprocessing.apply(image, chest)
        branches = self.both_logits or (lambda x: (self.main_logits(x),))
        with arithmetic(self.device, self.precision):
            main, *aux = foreground_probability(
                branches, prepared.volume.array, self.windows, device=self.device,
                mirror=self.mirror, counted=counted,
            )  # fmt: skip
        probability = to_scan_grid(Volume(main, prepared.volume.grid), image.grid)
        mask = Volume((probability.array > THRESHOLD).astype(np.uint8), image.grid)
        crop = Box.covering(prepared.crop, image.grid)
        return Prediction(
            self.post_processing.apply(mask, image, crop), probability, prepared.notes,
            Volume(aux[0], prepared.volume.grid) if aux else None,
        )  # fmt: skip


def choose_device(name: str) -> torch.device:
    """The device of that name: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: It is another name, or the GPU that was asked for is not there.
    """
    if not re.fullmatch(DEVICES, name):
        raise UsageError(
            "no such device", where=f"device={name}", remedy="give auto, cpu, cuda or cuda:N"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(
            "there is no such GPU", where=f"device={name}", why=f"PyTorch sees {count} GPU(s)",
            remedy="use device=cpu or device=auto, or install a PyTorch build for your GPU",
        )  # fmt: skip
    return device
