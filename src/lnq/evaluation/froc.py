"""FROC: the share of nodes found against false positives a scan, as less certain ones are kept.

A predicted piece is as certain as the mean probability in it (`mean_probability` of `nodes.csv`).
With a threshold on that, the pieces above it stay. A node then is detected, and a piece false, as
in every other table: at the lowest threshold the curve ends at the mask itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pandas as pd
from scipy import ndimage
from scipy.spatial import KDTree

from lnq.evaluation.nodes import Labels
from lnq.predictions import FoundNode
from lnq.volume import Array, Grid

FALSE_POSITIVES, SENSITIVITY = "false_positives_per_scan", "sensitivity"
"""Columns of `froc.csv`."""
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
"""False positives a scan at which the curve is read, as LUNA16 does."""
_SAME = 0.1
"""What rounding in `nodes.csv` may move a centroid by, mm; voxels are whole numbers."""


@dataclass(frozen=True)
class Detections:
    """How certain a case's nodes and false positives are.

    Attributes:
        nodes: Of each node of the reference the largest threshold that still detects it; 0 where it
            is missed.
        false_positives: Of each piece that touches no reference, its mean probability.
    """

    nodes: tuple[float, ...]
    false_positives: tuple[float, ...]


@dataclass(frozen=True)
class SensitivityAt:
    """A point of the curve.

    Attributes:
        false_positives_per_scan: One of `RATES`.
        sensitivity: Share of all nodes that are detected, in [0, 1].
    """

    false_positives_per_scan: float
    sensitivity: float


@dataclass(frozen=True)
class Froc:
    """A FROC curve in short.

    Attributes:
        num_scans: Scans behind it, those without a node included.
        num_nodes: Their nodes.
        score: Mean of the sensitivities.
        at: Sensitivities at `RATES`; beyond the mask's own rate that of the mask.
    """

    num_scans: int
    num_nodes: int
    score: float
    at: list[SensitivityAt]


def rate_name(rate: float) -> str:
    """A rate as people write it.

    Example:
        >>> rate_name(0.125), rate_name(8.0)
        ('1/8', '8')
    """
    return str(Fraction(rate))


def piece_scores(pieces: Labels, grid: Grid, found: Sequence[FoundNode]) -> Array | None:
    """The mean probability of each piece of a mask.

    Args:
        pieces: The mask's pieces `z y x`, numbered from 1 on.
        grid: Their grid.
        found: The rows of `nodes.csv` for this mask, told by place and size.

    Returns:
        By number, with 0 for the background; None where the rows are of another mask.
    """
    boxes = ndimage.find_objects(pieces)
    if len(boxes) != len(found):
        return None
    scores = np.zeros(len(found) + 1)
    if not found:
        return scores
    rows = [(n.centroid_x_mm, n.centroid_y_mm, n.centroid_z_mm, n.voxels) for n in found]
    marks = []
    for number, box in enumerate(boxes, start=1):
        voxels = np.argwhere(pieces[box] == number)
        middle = grid.to_world(voxels.mean(axis=0) + [side.start for side in box])
        marks.append((*middle, len(voxels)))
    apart, row = map(np.asarray, KDTree(rows).query(np.array(marks)))
    if apart.max() > _SAME or len(np.unique(row)) < len(row):
        return None
    scores[1:] = [found[number].mean_probability for number in row]
    return scores


def detections(
    labels: Labels, pieces: Labels, wrong: Sequence[int] | Array, scores: Array, min_overlap: float
) -> Detections:
    """How certain one case's nodes and false positives are.

    Args:
        labels: The reference's numbered nodes `z y x`, as `nodes.label_nodes` gives.
        pieces: The prediction's, as `nodes.false_positives` gives.
        wrong: Numbers of the false ones, from there too.
        scores: From `piece_scores`.
        min_overlap: Share of a node that makes it detected, in (0, 1].
    """
    certain = []
    for number, box in enumerate(ndimage.find_objects(labels), start=1):
        if box is not None:
            of_voxels = np.sort(scores[pieces[box][labels[box] == number]])[::-1]
            # The threshold at which just so many of the node's voxels stay that it is detected.
            certain.append(float(of_voxels[int(np.ceil(min_overlap * len(of_voxels) - 1e-9)) - 1]))
    return Detections(tuple(certain), tuple(float(scores[number]) for number in wrong))


def froc_curve(cases: Sequence[Detections]) -> pd.DataFrame:
    """The curve, from the mask with all its pieces to none; a row a threshold.

    Args:
        cases: With at least one node in all.
    """
    from monai.metrics.froc import compute_froc_curve_data  # seconds, for whom there is a curve

    nodes = [score for case in cases for score in case.nodes]
    false = [score for case in cases for score in case.false_positives]
    # MONAI leaves out the lowest score, taking it for that of missed nodes: an extra 0 makes it so.
    rates, sensitivity = compute_froc_curve_data(
        np.array(false), np.array([*nodes, 0.0]), len(nodes), len(cases)
    )
    return pd.DataFrame({FALSE_POSITIVES: rates, SENSITIVITY: sensitivity})


def froc_of(curve: pd.DataFrame, cases: Sequence[Detections]) -> Froc:
    """The curve in short."""
    from monai.metrics.froc import compute_froc_score

    rates, sensitivity = curve[FALSE_POSITIVES].to_numpy(), curve[SENSITIVITY].to_numpy()

    def score(at: tuple[float, ...]) -> float:
        return float(compute_froc_score(rates, sensitivity, at))

    points = [SensitivityAt(rate, score((rate,))) for rate in RATES]
    return Froc(len(cases), sum(len(case.nodes) for case in cases), score(RATES), points)
