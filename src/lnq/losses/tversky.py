"""The Tversky loss (paper, Eq. 4) and its symmetric case, the soft Dice loss."""

from __future__ import annotations

from torch import Tensor

from lnq.losses.log_probabilities import Logits, log_softmax
from lnq.losses.processes import ONE_PROCESS, Processes

EPSILON = 1e-5


def tversky_loss(
    logits: Logits,
    y: Tensor,
    alpha: float = 0.4,
    *,
    counted: Tensor | None = None,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_Tversky = 1 - (TP + ε) / (TP + α FP + (1 - α) FN + ε), foreground, over the whole batch.

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        alpha: Weight of the false positives; 0.5 gives the soft Dice loss.
        counted: (b, 1, z, y, x) in [0, 1], the voxels that it sums over; None = all. Unknown voxels
            among them are background to it. Without any it is 0.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar in [0, 1].

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log().view(1, 2, 1, 1, 2)
        >>> y = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)  # p_1 is 3/4 there, 1/2 beside it
        >>> round(tversky_loss(logits, y, alpha=0.4).item(), 3)  # 1 - 0.75 / (0.75 + 0.4/2 + 0.6/4)
        0.318
    """
    p = log_softmax(logits)[:, 1:].exp()
    unmarked = 1 - y if counted is None else (1 - y) * counted
    true_positive = processes.total((p * y).sum())
    false_positive = processes.total((p * unmarked).sum())
    false_negative = processes.total(((1 - p) * y).sum())
    weighted = true_positive + alpha * false_positive + (1 - alpha) * false_negative
    return 1 - (true_positive + EPSILON) / (weighted + EPSILON)


def dice_loss(
    logits: Logits,
    y: Tensor,
    *,
    counted: Tensor | None = None,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """Soft Dice loss of the foreground over the whole batch: Tversky with α = 0.5.

    Args:
        logits: (b, 2, z, y, x).
        y: (b, 1, z, y, x) in {0, 1}.
        counted: As in `tversky_loss`.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar in [0, 1].

    Examples:
        >>> import torch
        >>> logits = torch.tensor([[1.0, 1.0], [3.0, 1.0]]).log().view(1, 2, 1, 1, 2)
        >>> y = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)  # p_1 is 3/4 there, 1/2 beside it
        >>> round(dice_loss(logits, y).item(), 3)  # 1 - 2 * 0.75 / (0.75 + 0.5 + 1)
        0.333
    """
    return tversky_loss(logits, y, alpha=0.5, counted=counted, processes=processes)
