"""The network over a whole volume, window by window."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from monai.inferers.utils import sliding_window_inference
from numpy.typing import NDArray
from torch import Tensor

from lnq.errors import CaseError, UsageError

Logits = Callable[[Tensor], Tensor]
AXES = (2, 3, 4)  # z, y, x of a batch


def foreground_probability(
    main_logits: Logits,
    image: NDArray[np.float32],
    patch_size: Sequence[int],
    *,
    device: torch.device,
    overlap: float = 0.5,
    batch_size: int = 1,
    mirror: bool = False,
) -> NDArray[np.float32]:
    """Softmax probability of the foreground of each voxel of a normalised volume.

    Logits of overlapping windows are averaged with Gaussian weights, then the softmax is taken. Of
    two classes only the difference of the logits matters, so that one channel is kept, not two.

    Args:
        main_logits: Logits `b 2 z y x` of a batch `b 1 z y x`, the network being in eval mode.
        image: Normalised volume `z y x`; smaller ones than the patch are padded with air.
        patch_size: Window `(z, y, x)`.
        device: Where the network computes; the volume stays in main memory.
        overlap: Of neighbouring windows, in [0, 1).
        batch_size: Windows at a time; halved as long as the device's memory does not do.
        mirror: Average over all flips of the three axes: eight times the work.

    Returns:
        Probabilities `z y x` in [0, 1].

    Raises:
        CaseError: Volume or logits are not finite, or the memory does not do for one window.
        UsageError: The network has not two classes.
    """
    if not np.isfinite(image).all():
        raise CaseError(
            "the normalised scan holds NaN or infinite values", remedy="check the scan for them"
        )
    while True:
        try:
            logit = _in_windows(main_logits, image, patch_size, device, overlap, batch_size, mirror)
            return np.asarray(torch.sigmoid(logit).numpy(), np.float32)
        except torch.OutOfMemoryError as error:
            if batch_size == 1:
                raise CaseError(
                    "not enough memory on the device for one window",
                    why=f"{device}, patch size (z, y, x) {tuple(patch_size)}",
                    remedy="use device=cpu or a larger GPU",
                ) from error
            batch_size //= 2


def _in_windows(
    main_logits: Logits,
    image: NDArray[np.float32],
    patch_size: Sequence[int],
    device: torch.device,
    overlap: float,
    batch_size: int,
    mirror: bool,
) -> Tensor:
    volume = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    with torch.inference_mode():
        logit = sliding_window_inference(
            volume, tuple(patch_size), batch_size, lambda x: _logit(main_logits, x, mirror),
            # Outside the scan lies air, the darkest there is, not the mean HU that 0 stands for.
            overlap=overlap, mode="gaussian", cval=float(image.min()),
            sw_device=device, device="cpu",
        )  # fmt: skip
    return torch.as_tensor(logit)[0, 0]


def _logit(main_logits: Logits, x: Tensor, mirror: bool) -> Tensor:
    """Foreground logit less background logit, averaged over the flips."""
    sides = [0, 1, 2, 3] if mirror else [0]
    flips = [f for n in sides for f in itertools.combinations(AXES, n)]
    total = sum(
        (_checked(main_logits(x.flip(flip))).flip(flip) for flip in flips[1:]),
        start=_checked(main_logits(x)),
    )
    return total / len(flips)


def _checked(logits: Tensor) -> Tensor:
    if logits.shape[1] != 2:
        raise UsageError(
            "the network does not tell lymph nodes from background",
            why=f"it has {logits.shape[1]} output channel(s) instead of 2",
            remedy="give a fine-tuned checkpoint, not one of pre-training",
        )
    logit = logits[:, 1:2].float() - logits[:, 0:1].float()
    if not bool(torch.isfinite(logit).all()):
        raise CaseError(
            "the network's logits are not finite",
            remedy="check the checkpoint: its training may have diverged",
        )
    return logit
