"""L_sup as a weighted sum of named terms (paper, Eq. 5 and the rows of Table 1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor

from lnq.losses.cross_entropy import (
    cross_entropy,
    partial_cross_entropy,
    symmetric_cross_entropy,
)
from lnq.losses.log_probabilities import Logits
from lnq.losses.processes import ONE_PROCESS, Processes
from lnq.losses.tversky import dice_loss, tversky_loss

SupervisedTerm = Literal["ce", "sce", "pce", "tversky", "dice"]
SUPERVISED_TERMS: tuple[SupervisedTerm, ...] = ("ce", "sce", "pce", "tversky", "dice")


def supervised_terms(
    logits: Logits,
    y: Tensor,
    names: Mapping[SupervisedTerm, float],
    *,
    gamma: float,
    alpha: float,
    mean_over_classes: bool = False,
    nan_if_empty: bool = False,
    known_background: Tensor | None = None,
    counted: Tensor | None = None,
    node_weight: float = 1.0,
    processes: Processes = ONE_PROCESS,
) -> dict[SupervisedTerm, Tensor]:
    """The terms of L_sup that have a weight, of one branch, not yet weighted.

    Args:
        logits: (b, 2, z, y, x) of one branch.
        y: (b, 1, z, y, x) partial annotation in {0, 1}.
        names: Weight of each term; a term that is not named is not computed.
        gamma: γ of the symmetric cross-entropy.
        alpha: α of the Tversky loss.
        mean_over_classes: See `reverse_cross_entropy`.
        nan_if_empty: See `partial_cross_entropy`.
        known_background: (b, 1, z, y, x) in {0, 1}, annotated as background to `"pce"`.
        counted: (b, 1, z, y, x) in [0, 1], the voxels that all other terms sum over; None = all.
        node_weight: Of annotated voxels in `"ce"`.
        processes: Where the batch lies; see `Processes`.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # p = (1/4, 3/4)
        >>> node = torch.ones(1, 1, 1, 1, 1)
        >>> terms = supervised_terms(logits, node, {"ce": 1.0, "dice": 0.5}, gamma=0.8, alpha=0.4)
        >>> {name: round(x.item(), 3) for name, x in terms.items()}  # -ln 3/4, 1 - 1.5 / 1.75
        {'ce': 0.288, 'dice': 0.143}
    """

    def pce() -> Tensor:
        nodes = partial_cross_entropy(logits, y, nan_if_empty=nan_if_empty, processes=processes)
        if known_background is None:
            return nodes
        return nodes + partial_cross_entropy(logits.flip(1), known_background, processes=processes)

    def of_counted(loss: Callable[..., Tensor], *given: float, **named: float) -> Tensor:
        return loss(logits, y, *given, counted=counted, processes=processes, **named)

    compute: dict[SupervisedTerm, Callable[[], Tensor]] = {
        "ce": lambda: of_counted(cross_entropy, node_weight=node_weight),
        "sce": lambda: of_counted(
            symmetric_cross_entropy, gamma, mean_over_classes=mean_over_classes
        ),
        "pce": pce,
        "tversky": lambda: of_counted(tversky_loss, alpha),
        "dice": lambda: of_counted(dice_loss),
    }
    return {name: compute[name]() for name in names}
