"""What masks would measure had their probabilities been cut elsewhere.

`lnq.evaluation.threshold_sweep` is quicker, but leaves out what post-processing does at a scan's
border; here each mask is made as `predict` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import ndimage

from lnq.evaluation.metrics import dice
from lnq.evaluation.nodes import Labels, false_positives
from lnq.evaluation.threshold_sweep import LOGITS, THRESHOLDS, Floats
from lnq.volume import Mask

Cut = Callable[[float], Mask]
"""The mask of one scan at a threshold, after post-processing; `z y x` of the reference's order."""
CutOf = Callable[[Path], Cut]
"""`Cut` of a mask's file; raises CaseError where its probabilities or scan cannot be read."""

OTHER_THRESHOLDS: Floats = THRESHOLDS[LOGITS % 0.5 == 0]
"""From 0.0003 to 0.999994 in steps of half a logit, 0.5 among them."""
THRESHOLD, MEAN_DICE = "threshold", "dice_mean"
DETECTED, FALSE_POSITIVES = "nodes_detected", "false_positives_per_case"
"""Columns of `thresholds.csv`."""


@dataclass(frozen=True, eq=False)
class CutMeasures:
    """One case at each of the T `OTHER_THRESHOLDS`.

    Attributes:
        dice: DSC, (T,); NaN where both masks are empty.
        nodes_detected: (T,).
        false_positives: Pieces that touch no reference, (T,).
    """

    dice: Floats
    nodes_detected: Floats
    false_positives: Floats


@dataclass(frozen=True)
class OtherThresholds:
    """What `thresholds.csv` says in short; the mean over the cases whose DSC is defined.

    Attributes:
        dice_at_half: Mean DSC at 0.5; None where all masks and references are empty there.
        best_dice: The largest mean DSC of any threshold.
        best_threshold: Where that is; of equal ones the nearest to 0.5. It was chosen on the
            references themselves: what no choice without them can be better than.
    """

    dice_at_half: float | None
    best_dice: float
    best_threshold: float


def measure_cuts(cut: Cut, numbered: Labels, min_overlap: float) -> CutMeasures:
    """Measures one case's mask at each threshold.

    Args:
        cut: Gives the mask.
        numbered: The reference's nodes `z y x`, from `lnq.evaluation.nodes.label_nodes`.
        min_overlap: Share of a node's voxels that makes it detected, in (0, 1].
    """
    reference = numbered > 0
    numbers = np.unique(numbered[reference])
    measures = []
    for threshold in OTHER_THRESHOLDS:
        mask = cut(float(threshold))
        overlaps = ndimage.mean(mask, numbered, numbers) if len(numbers) else np.zeros(0)
        _, wrong = false_positives(mask, reference)
        found = np.count_nonzero(np.asarray(overlaps) >= min_overlap)
        measures.append((dice(mask, reference), found, len(wrong)))
    return CutMeasures(*np.array(measures, float).T)


def thresholds_table(cases: Sequence[CutMeasures]) -> pd.DataFrame:
    """All cases together, a row a threshold: `thresholds.csv`.

    Args:
        cases: One at least. A threshold at which none has a DSC has no mean.
    """
    scores = np.array([case.dice for case in cases])
    return pd.DataFrame({
        THRESHOLD: OTHER_THRESHOLDS,
        MEAN_DICE: pd.DataFrame(scores).mean().to_numpy(),
        DETECTED: np.sum([case.nodes_detected for case in cases], axis=0).astype(int),
        FALSE_POSITIVES: np.mean([case.false_positives for case in cases], axis=0),
    })  # fmt: skip


def other_thresholds(table: pd.DataFrame) -> OtherThresholds | None:
    """The table in short; None where no case has a DSC at any threshold."""
    scores = table[MEAN_DICE]
    if scores.isna().all():
        return None
    best = table[scores == scores.max()][THRESHOLD].to_numpy()
    nearest = best[np.abs(np.log(best / (1 - best))).argmin()]
    at_half = float(scores[(table[THRESHOLD] - 0.5).abs().argmin()])
    return OtherThresholds(
        None if np.isnan(at_half) else at_half, float(scores.max()), float(nearest)
    )
