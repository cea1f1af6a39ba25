"""L_p as a weighted sum of named terms (paper, Eq. 9 and the rows of Table 1)."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Literal

from torch import Tensor

from lnq.losses.consensus import consensus_loss
from lnq.losses.log_probabilities import Logits
from lnq.losses.processes import ONE_PROCESS, Processes
from lnq.losses.pseudo_label import hard_pseudo_label, truncated_pseudo_label
from lnq.losses.tversky import dice_loss

PseudoTerm = Literal["klce", "dice"]
PSEUDO_TERMS: tuple[PseudoTerm, ...] = ("klce", "dice")


def pseudo_terms(
    main: Logits,
    aux: Logits,
    pseudo_label: Tensor,
    names: Mapping[PseudoTerm, float],
    *,
    detach_weight: bool = False,
    kl_apart: bool = False,
    truncate_target: bool = False,
    processes: Processes = ONE_PROCESS,
) -> dict[PseudoTerm, Tensor]:
    """The terms of L_p that have a weight, summed over both branches, not yet weighted.

    Args:
        main: (b, 2, z, y, x), logits of the main branch.
        aux: (b, 2, z, y, x), of the auxiliary branch.
        pseudo_label: ŷ (b, 2, z, y, x), soft, without gradient; `"dice"` makes it hard.
        names: Weight of each term; a term that is not named is not computed.
        detach_weight: See `consensus_loss`.
        kl_apart: See `consensus_loss`.
        truncate_target: `"klce"` compares with `truncated_pseudo_label`.
        processes: Where the batch lies; see `Processes`.

    Examples:
        >>> import torch
        >>> logits = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # p = (1/4, 3/4)
        >>> node = torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)
        >>> terms = pseudo_terms(logits, logits, node, {"klce": 1.0, "dice": 1.0})
        >>> {name: round(x.item(), 3) for name, x in terms.items()}  # twice -ln 3/4, 1 - 1.5 / 1.75
        {'klce': 0.575, 'dice': 0.286}
    """

    def klce() -> Tensor:
        target = truncated_pseudo_label(pseudo_label) if truncate_target else pseudo_label
        loss = functools.partial(
            consensus_loss, detach_weight=detach_weight, kl_apart=kl_apart, processes=processes
        )
        return loss(main, aux, target) + loss(aux, main, target)

    def dice() -> Tensor:
        target = hard_pseudo_label(pseudo_label)
        loss = functools.partial(dice_loss, processes=processes)
        return loss(main, target) + loss(aux, target)

    compute = {"klce": klce, "dice": dice}
    return {name: compute[name]() for name in names}
