"""Cross-entropies against a partial annotation (paper, Eqs. 2 and 3)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from lnq.losses.log_probabilities import Logits, log_softmax
from lnq.losses.processes import ONE_PROCESS, Processes

LOG_OF_ZERO = -4.0 * math.log(10.0)
"""Stands for log 0 in the reverse cross-entropy: log 1e-4 (Wang et al. 2019, A = -4 decades)."""


def one_hot(y: Tensor) -> Tensor:
    """(b, 1, z, y, x) foreground in [0, 1] to (b, 2, z, y, x) class probabilities."""
    return torch.cat([1 - y, y], dim=1)


def mean_over(by_voxel: Tensor, counted: Tensor | None, processes: Processes) -> Tensor:
    """Mean of (b, 1, z, y, x), voxels weighted by how much they count; of none 0, gradient 0."""
    if counted is None:
        return processes.mean(by_voxel.mean())
    sum_of_counted = processes.total((by_voxel * counted).sum())
    return sum_of_counted / processes.total(counted.sum()).clamp_min(1)


def cross_entropy(
    logits: Logits,
    y: Tensor,
    *,
    counted: Tensor | None = None,
    node_weight: float = 1.0,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_CE: mean over voxels of -Σ_k y_k log p_k, annotated ones times `node_weight`.

    Where a share c of the nodes is annotated and all else counts as background, the mean is least
    for w c / (w c + 1 - c) on a node: 1/2 at w = (1 - c) / c, where w = 1 gives c (Elkan and Noto
    2008).

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        counted: (b, 1, z, y, x) in [0, 1], the voxels that it is the mean over; None = all. Unknown
            voxels among them are background to it.
        node_weight: w >= 0 of what an annotated voxel adds to the mean, not to the voxels' number.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar >= 0.

    Examples:
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # p = (1/4, 3/4)
        >>> node = torch.ones(1, 1, 1, 1, 1)
        >>> round(cross_entropy(logits, node).item(), 4)  # -ln 3/4
        0.2877
    """
    by_voxel = -(one_hot(y) * log_softmax(logits)).sum(dim=1, keepdim=True)
    weighted = by_voxel if node_weight == 1 else by_voxel * (1 + (node_weight - 1) * y)
    return mean_over(weighted, counted, processes)


def reverse_cross_entropy(
    logits: Logits,
    y: Tensor,
    *,
    mean_over_classes: bool = False,
    counted: Tensor | None = None,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_RCE: mean over voxels of -Σ_k p_k log y_k with log 0 := log 1e-4 (part of Eq. 2).

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        mean_over_classes: Mean instead of sum over the two classes: half of the paper's loss.
        counted: (b, 1, z, y, x) in [0, 1], the voxels that it is the mean over; None = all. Unknown
            voxels among them are background to it.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar in [0, 9.21].

    Examples:
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # p = (1/4, 3/4)
        >>> node = torch.ones(1, 1, 1, 1, 1)
        >>> round(reverse_cross_entropy(logits, node).item(), 4)  # -1/4 ln 1e-4
        2.3026
    """
    log_y = torch.log(one_hot(y).clamp_min(math.exp(LOG_OF_ZERO)))
    by_class = -(log_softmax(logits).exp() * log_y)
    both = by_class.mean if mean_over_classes else by_class.sum
    return mean_over(both(dim=1, keepdim=True), counted, processes)


def symmetric_cross_entropy(
    logits: Logits,
    y: Tensor,
    gamma: float = 0.8,
    *,
    mean_over_classes: bool = False,
    counted: Tensor | None = None,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_SCE = γ L_CE + L_RCE (Eq. 2; Wang et al. 2019), robust to nodes labelled background.

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        gamma: γ >= 0.
        mean_over_classes: Of L_RCE alone; L_CE is the same either way.
        counted: (b, 1, z, y, x) in [0, 1], the voxels that it is the mean over; None = all. Unknown
            voxels among them are background to it.
        processes: Where the batch lies; see `Processes`.

    Examples:
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # p = (1/4, 3/4)
        >>> node = torch.ones(1, 1, 1, 1, 1)
        >>> round(symmetric_cross_entropy(logits, node, gamma=0.8).item(), 4)  # 0.8 CE + RCE
        2.5327
    """
    reverse = reverse_cross_entropy(
        logits, y, mean_over_classes=mean_over_classes, counted=counted, processes=processes
    )
    return gamma * cross_entropy(logits, y, counted=counted, processes=processes) + reverse


def partial_cross_entropy(
    logits: Logits,
    y: Tensor,
    *,
    nan_if_empty: bool = False,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_PCE: mean of -log p_1 over the annotated voxels (Eq. 3); all others stay out of it.

    Of logits with both classes exchanged it is the same loss of known background.

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        nan_if_empty: In a batch without any annotated voxel, NaN (0 / 0) instead of 0.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar >= 0, differentiable also where it is 0.

    Examples:
        >>> logits = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log().view(1, 2, 1, 1, 2)
        >>> y = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)  # p_1 is 3/4 there, 1/2 beside it
        >>> round(partial_cross_entropy(logits, y).item(), 4)  # -ln 3/4
        0.2877
        >>> partial_cross_entropy(logits, torch.zeros_like(y)).item() == 0
        True
    """
    foreground = log_softmax(logits)[:, 1:]
    annotated = processes.total(y.sum())
    total = processes.total(-(foreground * y).sum())
    return total / (annotated if nan_if_empty else annotated.clamp_min(1))
