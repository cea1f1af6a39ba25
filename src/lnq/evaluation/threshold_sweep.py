"""What masks of one case become as the threshold rises: nodes found, candidates, volume, Dice.

The small pieces that post-processing drops are dropped here too, once for each threshold. What is
left at a threshold lies inside what is left at a lower one, since a piece only grows as the
threshold falls. So a node is found up to one threshold and not beyond: its score.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from lnq.box import Box
from lnq.errors import CaseError
from lnq.evaluation.metrics import Mask, node_f1
from lnq.volume import components

Floats = NDArray[np.float64]

STEP = 0.125
"""Distance of thresholds, in units of the logit."""
LOGITS: Floats = np.arange(-64, 97, dtype=np.float64) * STEP
THRESHOLDS: Floats = 1 / (1 + np.exp(-LOGITS))
"""From 0.0003 to 0.999994, evenly spaced by their logit, 0.5 among them. Losses that are never
content with a probability leave some networks at the upper end; float32 ends not far beyond."""


@dataclass(frozen=True, eq=False)
class CaseSweep:
    """One case at all `THRESHOLDS`, of which there are T.

    Attributes:
        case: Its id.
        patient: Whose it is.
        node_scores: Of its n annotated nodes, (n,): the probability that `min_overlap` of a node's
            voxels exceed. A node is found at each threshold below its score.
        node_volumes_mm3: (n,), mm³.
        candidates: Pieces of the mask, (T,); 26-connected.
        volume_mm3: Of the mask, (T,), mm³.
        dice: DSC with the label, (T,); None where the label is not complete.
        node_f1: F1 of the nodes, (T,); None where the label is not complete.
    """

    case: str
    patient: str
    node_scores: Floats
    node_volumes_mm3: Floats
    candidates: Floats
    volume_mm3: Floats
    dice: Floats | None = None
    node_f1: Floats | None = None


@dataclass(frozen=True)
class SweepRule:
    """What makes a mask and what finds a node.

    Attributes:
        hu_window: Voxels outside this closed range are no node, HU; None = all may be.
        min_volume_mm3: Pieces of at most this volume are dropped, mm³.
        min_overlap: Share of a node's voxels that makes it found, in (0, 1].
    """

    hu_window: tuple[float, float] | None
    min_volume_mm3: float
    min_overlap: float = 0.25


def sweep_case(
    case: str,
    patient: str,
    probability: NDArray[np.floating],
    hu: NDArray[np.floating],
    label: NDArray[np.integer],
    voxel_volume_mm3: float,
    rule: SweepRule,
    *,
    complete: bool,
) -> CaseSweep:
    """Cuts a case's probabilities at every threshold.

    Args:
        case: Its id.
        patient: Whose it is.
        probability: Of the foreground, `z y x`, in [0, 1].
        hu: The scan there, HU.
        label: 1 where a node is annotated; nodes are its 26-connected pieces.
        voxel_volume_mm3: Of each of these voxels, mm³.
        rule: What makes a mask and what finds a node.
        complete: Whether every node is annotated, so that all else is background.

    Raises:
        CaseError: A probability is NaN.
    """
    if np.isnan(probability).any():
        raise CaseError("a probability is NaN", where=case,
                        remedy="check the checkpoint: its training may have diverged")  # fmt: skip
    lasting = np.asarray(probability, np.float64).copy()
    if rule.hu_window is not None:
        low, high = rule.hu_window
        lasting[(hu < low) | (hu > high)] = 0.0
    annotated = label > 0
    counts = np.zeros((4, len(THRESHOLDS)))
    box = Box((0, 0, 0), lasting.shape)
    for place, threshold in enumerate(THRESHOLDS):
        own = annotated[box.slices]
        pieces, sizes = _cut(lasting[box.slices], threshold, rule.min_volume_mm3 / voxel_volume_mm3)
        inside = np.bincount(pieces[own], minlength=1)[1:]
        number = np.count_nonzero(sizes)
        wrong = number - np.count_nonzero(inside)
        counts[:, place] = number, sizes.sum(), inside.sum(), wrong
        box = _within(box, Box.around(pieces))
        if box.is_empty:
            break
    scores, volumes = _node_scores(lasting, annotated, rule.min_overlap)
    candidates, voxels, common, false_positives = counts
    found = (scores[:, None] > THRESHOLDS).sum(axis=0)
    return CaseSweep(
        case, patient, scores, volumes * voxel_volume_mm3, candidates,
        voxels * voxel_volume_mm3,
        _dice(common, voxels, int(annotated.sum())) if complete else None,
        _node_f1(len(scores), found, false_positives) if complete else None,
    )  # fmt: skip


def _cut(
    lasting: Floats, threshold: float, min_voxels: float
) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """The pieces of the mask at a threshold, without the small ones, and their sizes.

    In `lasting` a small piece is lowered to the threshold: it was there below, and never is again.

    Returns:
        Integers `z y x`, 0 outside, else the piece's number; the voxels of each number from 1 on, 0
        of those that are left out.
    """
    mask = lasting > threshold
    pieces, count = components(mask)
    numbers = pieces[mask]  # few: the rest of a scan is mostly empty
    sizes = np.bincount(numbers, minlength=count + 1)
    small = sizes <= min_voxels
    if small[1:].any():
        gone = small[numbers]
        lasting[mask] = np.where(gone, threshold, lasting[mask])
        pieces[mask] = np.where(gone, 0, numbers)
    return pieces, np.where(small, 0, sizes)[1:]


def _within(box: Box, inner: Box) -> Box:
    """A box given in voxels of another one, in those that this is given in."""
    start, stop = (
        tuple(a + b for a, b in zip(box.start, edge, strict=True))
        for edge in (inner.start, inner.stop)
    )
    return Box(start, stop)


def _node_scores(lasting: Floats, annotated: Mask, min_overlap: float) -> tuple[Floats, Floats]:
    """Score and voxels of each node."""
    nodes, count = components(annotated)
    scores, voxels = np.zeros(count), np.zeros(count)
    for number, box in enumerate(ndimage.find_objects(nodes)):
        values = np.sort(lasting[box][nodes[box] == number + 1])
        voxels[number] = len(values)
        # Found at t where at least this many voxels exceed it.
        scores[number] = values[-math.ceil(min_overlap * len(values) - 1e-9)]
    return scores, voxels


def _dice(common: Floats, voxels: Floats, reference: int) -> Floats:
    """NaN where both masks are empty."""
    both = voxels + reference
    return np.divide(2 * common, both, out=np.full(len(both), math.nan), where=both > 0)


def _node_f1(nodes: int, found: NDArray[np.integer], wrong: Floats) -> Floats:
    return np.array([node_f1(nodes, int(k), int(w)) for k, w in zip(found, wrong, strict=True)])
