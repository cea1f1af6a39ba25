"""The consensus-weighted pseudo-label loss (paper, Eqs. 8 and 9)."""

from __future__ import annotations

from torch import Tensor

from lnq.losses.log_probabilities import Logits, log_softmax
from lnq.losses.processes import ONE_PROCESS, Processes

EPSILON = 1e-8
"""Keeps the normaliser ΣW off zero where the branches disagree everywhere."""


def kl_divergence(logits: Logits, other_logits: Logits) -> Tensor:
    """KL_i(p, q) = Σ_k q_k log(q_k / p_k) per voxel (Eq. 8), p of `logits`, q of `other_logits`.

    Args:
        logits: (b, 2, z, y, x).
        other_logits: (b, 2, z, y, x).

    Returns:
        (b, 1, z, y, x), >= 0 up to rounding.

    Examples:
        >>> import torch
        >>> p = torch.tensor([1.0, 1.0]).log().view(1, 2, 1, 1, 1)  # (1/2, 1/2)
        >>> q = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # (1/4, 3/4)
        >>> round(kl_divergence(p, q).item(), 4)  # 1/4 ln 1/2 + 3/4 ln 3/2
        0.1308
    """
    log_p, log_q = log_softmax(logits), log_softmax(other_logits)
    return (log_q.exp() * (log_q - log_p)).sum(dim=1, keepdim=True)


def agreement_weight(kl: Tensor) -> Tensor:
    """W_i = exp(-KL_i) in (0, 1]: 1 where the branches agree (Eq. 8).

    Examples:
        >>> import torch
        >>> agreement_weight(torch.tensor([0.0, 2.0]).log1p())  # KL = 0 and ln 3
        tensor([1.0000, 0.3333])
    """
    return (-kl).exp()


def consensus_loss(
    logits: Logits,
    other_logits: Logits,
    pseudo_label: Tensor,
    *,
    detach_weight: bool = False,
    kl_apart: bool = False,
    processes: Processes = ONE_PROCESS,
) -> Tensor:
    """L_p = 1/ΣW Σ_i [ W_i CE_i(p, ŷ) + KL_i(p, q) ] (Eq. 9).

    Args:
        logits: (b, 2, z, y, x) of the branch that learns; gives p.
        other_logits: (b, 2, z, y, x) of the other branch; gives q.
        pseudo_label: ŷ (b, 2, z, y, x), soft, without gradient.
        detach_weight: Treat W as a constant. As the equations stand it is none.
        kl_apart: Σ(W·CE)/ΣW + mean KL instead: the divergence is not divided by the weights.
        processes: Where the batch lies; see `Processes`.

    Returns:
        Scalar >= 0.

    Examples:
        >>> import torch
        >>> p = torch.tensor([1.0, 1.0]).log().view(1, 2, 1, 1, 1)  # (1/2, 1/2): CE = ln 2
        >>> q = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # (1/4, 3/4): KL = 0.1308
        >>> node = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
        >>> round(consensus_loss(p, q, node).item(), 4)  # ln 2 + 0.1308 / exp(-0.1308)
        0.8422
        >>> round(consensus_loss(p, p, node).item(), 4)  # the branches agree: ln 2
        0.6931
    """
    kl = kl_divergence(logits, other_logits)
    weight = agreement_weight(kl.detach() if detach_weight else kl)
    ce = -(pseudo_label * log_softmax(logits)).sum(dim=1, keepdim=True)
    total_weight = processes.total(weight.sum()).clamp_min(EPSILON)
    if kl_apart:
        return processes.total((weight * ce).sum()) / total_weight + processes.mean(kl.mean())
    return processes.total((weight * ce + kl).sum()) / total_weight
