"""What a batch holds: the contract between those who make batches and those who train on them."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from torch import Tensor


class Batch(TypedDict):
    """Patches, or one whole volume, as the network gets them.

    Attributes:
        image: Normalised intensities, float32 (b, 1, z, y, x); corrupted for pre-training.
        label: The annotation, uint8 0 or 1, of the same shape.
        case_id: Of each patch.
        target: The image before its corruption, where there was one.
        known_background: uint8, 1 where no node can be, 0 where annotated; if the method asks for
            it. What is neither is unknown.
        supervised: uint8 (b, 1, 1, 1, 1), 0 for patches of cases that nobody annotated; beside
            `known_background`.
    """

    image: Tensor
    label: Tensor
    case_id: list[str]
    target: NotRequired[Tensor]
    known_background: NotRequired[Tensor]
    supervised: NotRequired[Tensor]
