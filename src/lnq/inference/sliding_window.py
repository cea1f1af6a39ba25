"""The network over a whole volume, window by window."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from lnq.errors import CaseError, UsageError

Logits = Callable[[Tensor], Tensor]
Branches = Callable[[Tensor], Sequence[Tensor]]
Windows = Callable[[Tensor, Logits], Tensor]
"""From a batch of volumes and a network of patches to the network's output for whole volumes."""
Overlap = Annotated[float, Field(ge=0, lt=1)]
BatchSize = Annotated[int, Field(ge=1)]
AXES = (2, 3, 4)  # z, y, x of a batch
Counted = Callable[[int, int], None]
"""Gets how many windows of a volume are done, and how many there are."""


@dataclass(frozen=True)
class SlidingWindow:
    """A network over whole volumes: windows that overlap, blended with Gaussian weights.

    Where windows reach beyond a volume they see air, as training patches do: the volume's minimum,
    not the mean HU that 0 stands for.

    Attributes:
        patch_size: Window `(z, y, x)`.
        overlap: Of neighbouring windows, in [0, 1).
        batch_size: Windows at a time.
    """

    patch_size: tuple[int, int, int]
    overlap: Overlap = 0.5
    batch_size: BatchSize = 1

    def count(self, size: Sequence[int]) -> int:
        """How many windows a volume `z y x` takes.

        Example:
            >>> SlidingWindow((8, 8, 8), overlap=0.5).count((8, 12, 13))  # from 0; 0, 4; 0, 4, 5
            6
        """
        number = 1
        for length, side in zip(size, self.patch_size, strict=True):
            step = max(1, int(side * (1 - self.overlap)))
            number *= math.ceil(max(0, length - side) / step) + 1
        return number

    def __call__(
        self, volume: Tensor, network: Logits, device: torch.device | None = None
    ) -> Tensor:
        """What the network gives for the whole volume.

        Args:
            volume: Normalised, `b 1 z y x`.
            network: `b c z y x` of a batch of windows.
            device: Where windows are computed; None = where the volume lies. It stays there.

        Returns:
            `b c z y x`, on the volume's device.
        """
        blended = sliding_window_inference(
            volume, self.patch_size, self.batch_size, network, overlap=self.overlap,
            mode="gaussian", cval=float(volume.amin()), sw_device=device,
        )  # fmt: skip
        return torch.as_tensor(blended)


def foreground_probability(
    branches: Branches,
    image: NDArray[np.float32],
    windows: SlidingWindow,
    *,
    device: torch.device,
    mirror: bool = False,
    counted: Counted | None = None,
) -> NDArray[np.float32]:
    """Softmax probability of the foreground of each voxel of a normalised volume, by each branch.

    Logits of overlapping windows are averaged with Gaussian weights, then the softmax is taken. Of
    two classes only the difference of the logits matters, so that one channel is kept, not two.

    Args:
        branches: Logits `b 2 z y x` of a batch `b 1 z y x`, one tensor a branch, the network being
            in eval mode.
        image: Normalised volume `z y x`; smaller ones than the patch are padded with air.
        windows: Of the training's size; as many at a time as it says, or half as often as the
            device's memory does not do.
        device: Where the network computes; the volume stays in main memory.
        mirror: Average over all flips of the three axes: eight times the work.
        counted: Called after each batch of windows.

    Returns:
        Probabilities `branch z y x` in [0, 1].

    Raises:
        CaseError: Volume or logits are not finite, or the memory does not do for one window.
        UsageError: The network has not two classes.
    """
    if not np.isfinite(image).all():
        raise CaseError(
            "the normalised scan holds NaN or infinite values", remedy="check the scan for them"
        )
    volume = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    while True:
        network = _network(branches, mirror, counted, windows.count(image.shape))
        try:
            with torch.inference_mode():
                (logit,) = windows(volume, network, device)
            return np.asarray(torch.sigmoid(logit).numpy(), np.float32)
        except torch.OutOfMemoryError as error:
            if windows.batch_size == 1:
                raise CaseError(
                    "not enough memory on the device for one window",
                    why=f"{device}, patch size (z, y, x) {windows.patch_size}",
                    remedy="use device=cpu or a larger GPU",
                ) from error
            windows = replace(windows, batch_size=windows.batch_size // 2)


def _network(branches: Branches, mirror: bool, counted: Counted | None, total: int) -> Logits:
    """The network as `SlidingWindow` calls it, which tells how many windows are done."""
    done = 0

    def network(x: Tensor) -> Tensor:
        nonlocal done
        logits = _logits(branches, x, mirror)
        done += len(x)
        if counted is not None:
            counted(done, total)
        return logits

    return network


def _logits(branches: Branches, x: Tensor, mirror: bool) -> Tensor:
    """Foreground logit less background logit, averaged over the flips: one channel a branch."""
    sides = [0, 1, 2, 3] if mirror else [0]
    flips = [f for n in sides for f in itertools.combinations(AXES, n)]
    total = sum(
        (_checked(branches(x.flip(flip))).flip(flip) for flip in flips[1:]),
        start=_checked(branches(x)),
    )
    return total / len(flips)


def check_channels(channels: int) -> None:
    """Refuses a network by its number of output channels.

    Raises:
        UsageError: It has not the two of node and background.
    """
    if channels != 2:
        raise UsageError(
            "the network does not tell lymph nodes from background",
            why=f"it has {channels} output channel(s) instead of 2",
            remedy="give a fine-tuned checkpoint, not one of pre-training",
        )


def _checked(branches: Sequence[Tensor]) -> Tensor:
    for logits in branches:
        check_channels(logits.shape[1])
    logit = torch.cat([b[:, 1:2].float() - b[:, 0:1].float() for b in branches], dim=1)
    if not bool(torch.isfinite(logit).all()):
        raise CaseError(
            "the network's logits are not finite",
            remedy="check the checkpoint: its training may have diverged",
        )
    return logit
