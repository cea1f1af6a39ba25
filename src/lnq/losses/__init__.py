"""The paper's losses (Eqs. 2 to 10) as pure functions; keywords switch to the original's forms.

All of them take logits and compute in float32 whatever the precision of training is; where several
are taken of one branch, `shared(logits)` in the place of its logits saves time. Shapes: logits
`b c z y x` with c = 2 classes (background 0, node 1); annotation y `b 1 z y x` in {0, 1}, where 0
means "not annotated", nodes included. `lnq.losses.kinds` tells what each makes of known background
and of unknown voxels.
"""

from lnq.losses.consensus import agreement_weight, consensus_loss, kl_divergence
from lnq.losses.cross_entropy import (
    cross_entropy,
    partial_cross_entropy,
    reverse_cross_entropy,
    symmetric_cross_entropy,
)
from lnq.losses.kinds import Kinds, counted_voxels, lopsided
from lnq.losses.log_probabilities import LogProbabilities, shared
from lnq.losses.processes import ONE_PROCESS, AllProcesses, OneProcess, Processes
from lnq.losses.pseudo import PSEUDO_TERMS, pseudo_terms
from lnq.losses.pseudo_label import (
    hard_pseudo_label,
    mix_branches,
    sharpen,
    soft_pseudo_label,
    truncated_pseudo_label,
)
from lnq.losses.supervised import SUPERVISED_TERMS, supervised_terms
from lnq.losses.tversky import dice_loss, tversky_loss

__all__ = [
    "ONE_PROCESS",
    "PSEUDO_TERMS",
    "SUPERVISED_TERMS",
    "AllProcesses",
    "Kinds",
    "LogProbabilities",
    "OneProcess",
    "Processes",
    "agreement_weight",
    "consensus_loss",
    "counted_voxels",
    "cross_entropy",
    "dice_loss",
    "hard_pseudo_label",
    "kl_divergence",
    "lopsided",
    "mix_branches",
    "partial_cross_entropy",
    "pseudo_terms",
    "reverse_cross_entropy",
    "shared",
    "sharpen",
    "soft_pseudo_label",
    "supervised_terms",
    "symmetric_cross_entropy",
    "truncated_pseudo_label",
    "tversky_loss",
]
