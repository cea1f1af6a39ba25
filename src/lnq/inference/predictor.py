"""Trained networks as a function from a scan to a mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from lnq.acceleration import Precision, arithmetic
from lnq.box import Box
from lnq.data.preparation.preprocessing import Prepared, Preprocessing
from lnq.inference.post_processing import PostProcessing
from lnq.inference.restore import to_scan_grid
from lnq.inference.sliding_window import (
    Branches,
    Counted,
    SlidingWindow,
    foreground_probability,
)
from lnq.volume import Volume

# Voxels half-way between 0 and 1 are common, and float32 leaves them on either side of 0.5, by the
# order in which axes are stored: so they are all left out.
MARGIN = 1e-6


@dataclass(frozen=True)
class Prediction:
    """What networks say of a scan; mask and probability are on exactly the scan's grid.

    Attributes:
        mask: uint8, 1 = lymph node, after post-processing.
        probability: float32 in [0, 1], before it, the mean of all networks; 0 outside the crop.
        notes: What a reader of the mask must know.
        aux_probability: The auxiliary branches', on the working grid; None where it was not asked.
    """

    mask: Volume
    probability: Volume
    notes: tuple[str, ...]
    aux_probability: Volume | None = None


class Predictor:
    """Preprocessing as in training, sliding window, back to the scan's grid, post-processing.

    Args:
        networks: One, or several whose probabilities are averaged before they are cut. Each gives
            logits `b 2 z y x` of a batch `b 1 z y x`, of the main branch and, in all or in none, of
            the auxiliary one, which changes no mask; it is in eval mode and on `device`.
        preprocessing: That of the training data.
        windows: How the volume is cut; of the training's patch size.
        post_processing: What is removed from the mask.
        threshold: Voxels whose probability is above it are nodes; 0.5 = the likelier class.
        mirror: Average over all flips.
        device: Where the networks are.
        precision: What they compute in; the logits are blended in float32 in any case.
    """

    def __init__(
        self,
        networks: Sequence[Branches],
        preprocessing: Preprocessing,
        windows: SlidingWindow,
        post_processing: PostProcessing,
        *,
        threshold: float = 0.5,
        mirror: bool = False,
        device: torch.device | None = None,
        precision: Precision = 32,
    ) -> None:
        self.networks = networks
        self.preprocessing = preprocessing
        self.windows = windows
        self.post_processing = post_processing
        self.threshold = threshold
        self.mirror = mirror
        self.device = torch.device("cpu") if device is None else device
        self.precision = precision

    def predict(
        self, image: Volume, prepared: Prepared | None = None, counted: Counted | None = None
    ) -> Prediction:
        """Segments one scan.

        Args:
            image: HU, any orientation and spacing.
            prepared: What the preprocessing made of it, where that has been done already.
            counted: Hears of the windows as they are done.

        Raises:
            CaseError: The scan cannot be used.
        """
        prepared = prepared or self.preprocessing.apply(image)
        main, *aux = self.probability(prepared.volume.array, counted)
        probability = to_scan_grid(Volume(main, prepared.volume.grid), image.grid)
        mask = Volume(above(probability.array, self.threshold).astype(np.uint8), image.grid)
        crop = Box.covering(prepared.crop, image.grid)
        return Prediction(
            self.post_processing.apply(mask, image, crop), probability, prepared.notes,
            Volume(aux[0], prepared.volume.grid) if aux else None,
        )  # fmt: skip

    def probability(
        self, image: NDArray[np.float32], counted: Counted | None = None
    ) -> NDArray[np.float32]:
        """Foreground of a preprocessed scan, by each branch: the mean over the networks.

        Args:
            image: Normalised, on the working grid, `z y x`.
            counted: Hears of the windows as they are done.

        Returns:
            In [0, 1], `branch z y x`.

        Raises:
            CaseError: The scan or what the networks make of it is not finite.
        """
        number = len(self.networks)
        mean: NDArray[np.float32] | None = None
        for before, network in enumerate(self.networks):
            with arithmetic(self.device, self.precision):
                probability = foreground_probability(
                    network, image, self.windows, device=self.device, mirror=self.mirror,
                    counted=counted and _of_all(counted, before, number),
                )  # fmt: skip
            mean = probability if mean is None else np.add(mean, probability, out=mean)
        assert mean is not None
        return np.divide(mean, number, out=mean)


def above(probability: NDArray[np.floating], threshold: float) -> NDArray[np.bool_]:
    """Where a node is: where the probability is above the threshold by more than rounding."""
    mask: NDArray[np.bool_] = probability > threshold + MARGIN
    return mask


def _of_all(counted: Counted, before: int, networks: int) -> Counted:
    """Tells of one network's windows as of a part of all networks'."""
    return lambda done, total: counted(before * total + done, networks * total)
