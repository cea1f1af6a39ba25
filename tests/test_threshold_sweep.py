"""One case at all thresholds: by hand, and as post-processing and evaluation would have it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import ndimage

from lnq.box import Box
from lnq.errors import CaseError
from lnq.evaluation import dice, false_positives, label_nodes, measure_nodes
from lnq.evaluation.metrics import node_f1
from lnq.evaluation.threshold_sweep import LOGITS, THRESHOLDS, CaseSweep, SweepRule, sweep_case
from lnq.inference.post_processing import PostProcessing
from lnq.volume import Grid, Volume

KEEP_ALL = SweepRule(hu_window=None, min_volume_mm3=0.0)


def swept(
    probability: Any, label: Any, hu: Any = None, rule: SweepRule = KEEP_ALL, complete: bool = True
) -> CaseSweep:
    probability = np.asarray(probability, np.float32)
    hu = np.zeros_like(probability) if hu is None else np.asarray(hu)
    label = np.asarray(label, np.uint8)
    return sweep_case("c", "p", probability, hu, label, 2.0, rule, complete=complete)


def at(values: np.ndarray, threshold: float) -> float:
    """The value at the first threshold that is not below."""
    return float(values[np.searchsorted(THRESHOLDS, threshold)])


def test_thresholds_are_even_in_the_logit() -> None:
    assert np.allclose(np.log(THRESHOLDS / (1 - THRESHOLDS)), LOGITS)
    assert THRESHOLDS[64] == 0.5
    assert (len(THRESHOLDS), LOGITS[0], LOGITS[-1]) == (161, -8, 12)


def test_by_hand() -> None:
    # A node of four voxels, a quarter of which exceeds 0.9; beside it a candidate that is none.
    found = swept([[[0.9, 0.2, 0.1, 0.05, 0, 0.6, 0.6]]], [[[1, 1, 1, 1, 0, 0, 0]]])
    assert found.node_scores == pytest.approx([0.9])
    assert found.node_volumes_mm3.tolist() == [8.0]
    for threshold, candidates, voxels, common in (
        (0.03, 2, 6, 4), (0.15, 2, 4, 2), (0.5, 2, 3, 1), (0.7, 1, 1, 1), (0.95, 0, 0, 0),
    ):  # fmt: skip
        assert at(found.candidates, threshold) == candidates
        assert at(found.volume_mm3, threshold) == 2.0 * voxels
        assert at(found.dice, threshold) == pytest.approx(2 * common / (voxels + 4))
        wrong = candidates - (threshold < 0.9)
        assert at(found.node_f1, threshold) == node_f1(1, int(threshold < 0.9), wrong)


@pytest.mark.parametrize(
    ("voxels", "needed"), [(1, 1), (3, 1), (4, 1), (5, 2), (8, 2), (9, 3), (12, 3), (20, 5)]
)
def test_a_quarter_of_the_voxels_exceeds_the_score(voxels: int, needed: int) -> None:
    values = np.linspace(0.9, 0.1, voxels)
    found = swept(values[None, None], np.ones((1, 1, voxels)))
    assert found.node_scores == pytest.approx([values[needed - 1]])


def test_a_partial_label_says_nothing_of_the_dsc() -> None:
    found = swept([[[0.9, 0.2]]], [[[1, 0]]], complete=False)
    assert (found.dice, found.node_f1) == (None, None)


def test_nothing_annotated_and_nothing_predicted() -> None:
    found = swept(np.zeros((2, 3, 4)), np.zeros((2, 3, 4)))
    assert len(found.node_scores) == 0
    assert not found.candidates.any()
    assert found.dice is not None
    assert np.isnan(found.dice).all()


def test_voxels_that_cannot_be_a_node_are_none() -> None:
    rule = SweepRule((-54.0, 235.5), 0.0)
    found = swept([[[0.9, 0.9, 0.9]]], [[[1, 0, 0]]], [[[-55.0, -54.0, 236.0]]], rule)
    assert found.node_scores.tolist() == [0.0]
    assert at(found.volume_mm3, 0.5) == 2.0


def test_nan_is_refused() -> None:
    with pytest.raises(CaseError, match=r"a probability is NaN \[c\]"):
        swept([[[0.5, np.nan]]], [[[1, 0]]])


def oracle(
    probability: np.ndarray, hu: np.ndarray, label: np.ndarray, threshold: float
) -> tuple[float, ...]:
    """Nodes found, candidates, voxels, DSC and F1, by the functions of predict and evaluate."""
    grid = Grid(label.shape, (2.0, 1.0, 1.0))
    post = PostProcessing("none", hu_window=(-20.0, 20.0), min_volume_mm3=6.0)
    whole = Box((0, 0, 0), label.shape)
    cut = Volume((probability > threshold).astype(np.uint8), grid)
    mask = post.apply(cut, Volume(hu, grid), whole).array > 0
    nodes = measure_nodes("c", label_nodes(label, "binary"), mask, grid, min_overlap=0.25)
    pieces, wrong = false_positives(mask, label > 0)
    detected = sum(node.detected for node in nodes)
    return (
        detected, pieces.max(), mask.sum(), dice(mask, label > 0),
        node_f1(len(nodes), detected, len(wrong)),
    )  # fmt: skip


@pytest.mark.parametrize("seed", range(4))
def test_as_predict_and_evaluate_have_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(8, 14, 14)), 1.0)
    probability = 1 / (1 + np.exp(-14 * smooth))
    hu = ndimage.gaussian_filter(rng.normal(0, 60, smooth.shape), 1.0)
    label = (ndimage.gaussian_filter(rng.normal(size=smooth.shape), 1.2) > 0.15).astype(np.uint8)
    found = swept(probability, label, hu, SweepRule((-20.0, 20.0), 6.0))
    assert len(found.node_scores) > 3
    probability = probability.astype(np.float32)
    for place in range(0, 161, 4):
        nodes, candidates, voxels, overlap, f1 = oracle(probability, hu, label, THRESHOLDS[place])
        assert (found.node_scores > THRESHOLDS[place]).sum() == nodes
        assert found.candidates[place] == candidates
        assert found.volume_mm3[place] == 2.0 * voxels
        assert found.dice is not None
        assert found.node_f1 is not None
        assert found.dice[place] == pytest.approx(overlap)
        assert found.node_f1[place] == pytest.approx(f1, nan_ok=True)
