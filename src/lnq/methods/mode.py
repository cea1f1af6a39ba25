"""Where the modes of the losses differ: the paper, its authors' code, and what we recommend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ModeName = Literal["paper", "original", "recommended"]


@dataclass(frozen=True)
class Mode:
    """What `method.mode` switches; the defaults are the paper.

    Attributes:
        mean_over_classes: L_RCE is the mean, not the sum, over the classes: half of it (Eq. 2).
        nan_if_empty: L_PCE is NaN, not 0, in a batch without an annotated voxel (Eq. 3).
        truncate_target: The target of L_p's cross-entropy is the truncated background probability,
            so background almost everywhere, and not the soft ŷ (Eq. 9).
        kl_apart: L_p = Σ(W·CE)/ΣW + mean KL; else both terms are divided by ΣW (Eq. 9).
        loss_scale: Factor of the whole loss (Eq. 10).
        aux_dropout_in_eval: The auxiliary branch's channel dropout acts in evaluation too. The
            prediction is the main branch's and does not change.
        knows_background: What is known to be background is learnt as such: L_PCE gains the same
            term for it, and ŷ is 0 there. Else nothing is known of unmarked voxels.
    """

    mean_over_classes: bool = False
    nan_if_empty: bool = False
    truncate_target: bool = False
    kl_apart: bool = False
    loss_scale: float = 1.0
    aux_dropout_in_eval: bool = False
    knows_background: bool = False


MODES: dict[ModeName, Mode] = {
    "paper": Mode(),
    "original": Mode(
        mean_over_classes=True,
        nan_if_empty=True,
        truncate_target=True,
        kl_apart=True,
        loss_scale=0.25,
        aux_dropout_in_eval=True,
    ),
    "recommended": Mode(knows_background=True),
}
