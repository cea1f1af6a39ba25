"""Overlap, surface distance, node sizes, summaries: hand counts and outside references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.metrics import (
    compute_average_surface_distance,
    compute_hausdorff_distance,
    compute_surface_dice,
)
from scipy import ndimage

from lnq.evaluation.case_metrics import CaseMetrics, metrics_table
from lnq.evaluation.metrics import (
    Mask,
    assd,
    assd_of,
    dice,
    hd95_of,
    nsd_of,
    precision,
    recall,
    surface_distances,
    surface_points,
)  # fmt: skip
from lnq.evaluation.nodes import (
    ReferenceNode,
    false_positives,
    label_nodes,
    measure_nodes,
    nodes_table,
)
from lnq.evaluation.summary import CaseCounts, Detection, summarise
from lnq.node_shape import axes_mm
from lnq.volume import Grid

SHAPE = (6, 7, 8)
ANISOTROPIC = (3.0, 0.8, 1.1)


def empty(shape: tuple[int, int, int] = SHAPE) -> Mask:
    return np.zeros(shape, dtype=bool)


def box(*slices: slice, shape: tuple[int, int, int] = SHAPE) -> Mask:
    mask = empty(shape)
    mask[slices] = True
    return mask


def blobs(seed: int) -> Mask:
    noise = np.random.default_rng(seed).normal(size=(7, 11, 10))
    return np.asarray(ndimage.gaussian_filter(noise, 1.0) > 0.1)


def brute_force_assd(first: Mask, second: Mask, spacing_mm: tuple[float, float, float]) -> float:
    """The definition, voxel by voxel, with nothing shared with the code under test."""

    def surface(mask: Mask) -> list[tuple[int, int, int]]:
        padded = np.pad(mask, 1)
        steps = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
        return [
            (z, y, x)
            for z, y, x in np.argwhere(mask)
            if not all(padded[z + 1 + a, y + 1 + b, x + 1 + c] for a, b, c in steps)
        ]

    ours, theirs = surface(first), surface(second)
    distances = [
        min(math.dist(np.multiply(p, spacing_mm), np.multiply(q, spacing_mm)) for q in others)
        for points, others in ((ours, theirs), (theirs, ours))
        for p in points
    ]
    return sum(distances) / len(distances)


def test_overlap_of_two_bars_counted_by_hand() -> None:
    prediction = box(slice(0, 1), slice(0, 1), slice(0, 4))  # 4 voxels, 3 of them right
    reference = box(slice(0, 1), slice(0, 1), slice(1, 7))  # 6 voxels
    assert dice(prediction, reference) == pytest.approx(2 * 3 / 10)
    assert precision(prediction, reference) == pytest.approx(3 / 4)
    assert recall(prediction, reference) == pytest.approx(3 / 6)


def test_measures_of_empty_masks_are_undefined_or_zero() -> None:
    full = box(slice(1, 3), slice(1, 3), slice(1, 3))
    assert math.isnan(dice(empty(), empty()))
    assert dice(full, empty()) == 0
    assert dice(empty(), full) == 0
    assert math.isnan(precision(empty(), full))
    assert precision(full, empty()) == 0
    assert math.isnan(recall(full, empty()))
    assert recall(empty(), full) == 0
    for one, other in ((empty(), full), (full, empty()), (empty(), empty())):
        assert math.isnan(assd(one, other, ANISOTROPIC))


@pytest.mark.parametrize(("axis", "expected_mm"), [(0, 6.0), (1, 1.6), (2, 2.2)])
def test_distance_of_two_voxels_follows_the_spacing_of_their_axis(
    axis: int, expected_mm: float
) -> None:
    one, other = empty(), empty()
    index = [2, 2, 2]
    one[tuple(index)] = True
    index[axis] += 2
    other[tuple(index)] = True
    assert assd(one, other, ANISOTROPIC) == pytest.approx(expected_mm)


def test_assd_weighs_each_surface_voxel_alike() -> None:
    # 1 voxel against a row of 3 that starts at it: distances 0 | 0, 1, 2: mean 3/4, while the mean
    # of the directed means would be 1/2.
    one = box(slice(2, 3), slice(2, 3), slice(2, 3))
    row = box(slice(2, 3), slice(2, 3), slice(2, 5))
    assert assd(one, row, (1.0, 1.0, 1.0)) == pytest.approx(0.75)


def test_surface_has_no_inner_voxel_and_the_edge_of_the_array_counts_as_outside() -> None:
    block = np.ones((3, 3, 3), dtype=bool)
    assert len(surface_points(block, (1, 1, 1))) == 26
    assert len(surface_points(np.pad(block, 2), (1, 1, 1))) == 26


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_assd_agrees_with_brute_force_and_with_monai(seed: int) -> None:
    first, second = blobs(seed), blobs(seed + 100)
    ours = assd(first, second, ANISOTROPIC)
    assert ours == pytest.approx(brute_force_assd(first, second, ANISOTROPIC), rel=1e-9)
    one_hot = [
        torch.from_numpy(np.stack([~m, m])[None].astype(np.float32)) for m in (first, second)
    ]
    theirs = compute_average_surface_distance(*one_hot, symmetric=True, spacing=list(ANISOTROPIC))
    assert ours == pytest.approx(theirs.item(), rel=1e-5)
    distances = surface_distances(first, second, ANISOTROPIC)
    theirs = compute_hausdorff_distance(*one_hot, percentile=95, spacing=list(ANISOTROPIC))
    assert hd95_of(distances) == pytest.approx(theirs.item(), rel=1e-5)
    for tolerance in (0.5, 1.0, 2.0):
        theirs = compute_surface_dice(
            *one_hot, class_thresholds=[tolerance], spacing=list(ANISOTROPIC)
        )
        assert nsd_of(distances, tolerance) == pytest.approx(theirs.item(), rel=1e-5)


def test_surface_measures_by_hand() -> None:
    # Distances 0, 1, 2 of the row to the voxel, 0 back.
    one = box(slice(2, 3), slice(2, 3), slice(2, 3))
    row = box(slice(2, 3), slice(2, 3), slice(2, 5))
    found = surface_distances(one, row, (1.0, 1.0, 1.0))
    assert hd95_of(found) == pytest.approx(1.9)  # 95 % of the way through 0, 1, 2
    assert nsd_of(found, 1.0) == pytest.approx(3 / 4)
    assert nsd_of(found, 0.5) == pytest.approx(2 / 4)


def test_surface_measures_of_empty_masks() -> None:
    some, empty = box(slice(2, 3), slice(2, 3), slice(2, 3)), np.zeros((6, 6, 6), dtype=bool)
    for masks in ((some, empty), (empty, some)):
        found = surface_distances(*masks, (1.0, 1.0, 1.0))
        assert math.isnan(assd_of(found))
        assert math.isnan(hd95_of(found))
        assert nsd_of(found) == 0
    found = surface_distances(empty, empty, (1.0, 1.0, 1.0))
    assert math.isnan(hd95_of(found))
    assert math.isnan(nsd_of(found))


def test_axes_of_axis_aligned_bars_are_exact() -> None:
    bar = box(slice(2, 3), slice(2, 3), slice(1, 6))
    assert axes_mm(bar, (3.0, 0.5, 2.0)) == pytest.approx((0.5, 10.0))
    voxel = box(slice(0, 1), slice(3, 4), slice(3, 4))
    assert axes_mm(voxel, (3.0, 0.5, 2.0)) == pytest.approx((0.5, 2.0))


@pytest.mark.parametrize("angle", [0.0, 0.5, 1.1])
def test_axes_of_an_ellipsoid(angle: float) -> None:
    spacing = (3.0, 0.8, 0.7)
    shape = (15, 61, 65)
    z, y, x = (
        (np.arange(n) - n // 2).reshape(-1, *[1] * (2 - i)) * s
        for i, (n, s) in enumerate(zip(shape, spacing, strict=True))
    )
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    ellipsoid = (z / 15) ** 2 + (across / 6) ** 2 + (along / 11) ** 2 <= 1
    short, long = axes_mm(ellipsoid, spacing)
    # Sampling moves an outline by up to half a pixel on either side, and turns the longest line.
    assert short == pytest.approx(12, abs=1.0)
    assert long == pytest.approx(22, abs=0.8)


def test_axes_are_measured_in_the_slice_with_the_largest_section() -> None:
    mask = box(slice(0, 1), slice(0, 1), slice(0, 8)) | box(slice(1, 2), slice(0, 3), slice(0, 4))
    short, long = axes_mm(mask, (1.0, 1.0, 1.0))  # 12 voxels in slice 1 beat 8 in slice 0
    # Edge middles of 3 x 4 pixels: the diagonals of 2 x 4 are the longest lines.
    assert long == pytest.approx(math.hypot(2, 4))
    assert short < long < 8


def test_nodes_touching_at_a_corner_are_one_and_instances_stay_apart() -> None:
    label = np.zeros(SHAPE, dtype=np.uint16)
    label[0, 0, 0], label[1, 1, 1], label[4, 4, 4] = 3, 7, 7
    assert label_nodes(label, "binary").max() == 2
    nodes = measure_nodes(
        "c", label_nodes(label, "instances"), label == 7, Grid(SHAPE, (1, 1, 1)), min_overlap=0.5
    )
    assert [(n.node, n.voxels, n.overlap) for n in nodes] == [(3, 1, 0.0), (7, 2, 1.0)]


def test_node_row_counted_by_hand() -> None:
    grid = Grid(SHAPE, (2.0, 1.0, 1.0), (100.0, 200.0, 300.0))
    node = box(slice(1, 3), slice(2, 4), slice(4, 6))  # 8 voxels, centre (1.5, 2.5, 4.5)
    prediction = box(slice(1, 2), slice(2, 3), slice(4, 6))  # 2 of them
    (row,) = measure_nodes(
        "c", label_nodes(node, "binary"), prediction, grid, min_overlap=0.25,
        annotation=box(slice(1, 2)),  # 4 of them
    )  # fmt: skip
    assert row.volume_mm3 == 16
    assert (row.centroid_x_mm, row.centroid_y_mm, row.centroid_z_mm) == (104.5, 202.5, 303.0)
    assert (row.overlap, row.detected, row.annotated) == (0.25, True, True)
    (strict,) = measure_nodes(
        "c", label_nodes(node, "binary"), prediction, grid, min_overlap=0.26,
        annotation=box(slice(1, 2), slice(2, 3)),  # 2 of them
    )  # fmt: skip
    assert (strict.detected, strict.annotated) == (False, False)


def test_false_positives_are_components_that_touch_no_reference() -> None:
    reference = box(slice(0, 2), slice(0, 2), slice(0, 2))
    prediction = box(slice(1, 4), slice(1, 2), slice(1, 2))
    assert false_positives(prediction, reference)[1].tolist() == []
    prediction[5, 5, 5] = prediction[5, 0, 7] = True
    pieces, wrong = false_positives(prediction, reference)
    assert wrong.tolist() == [2, 3]
    assert np.argwhere(np.isin(pieces, wrong)).tolist() == [[5, 0, 7], [5, 5, 5]]
    assert len(false_positives(prediction, empty())[1]) == 3
    assert len(false_positives(empty(), reference)[1]) == 0


def row(case: str, dsc: float, distance: float, reference: float, prediction: float) -> CaseMetrics:
    nan = math.nan
    return CaseMetrics(case, dsc, nan, nan, distance, nan, nan, nan, reference, prediction, 0, 0, 1)


def test_missing_distances_get_the_largest_and_are_counted() -> None:
    nan = math.nan
    table = metrics_table(
        [
            row("good", 0.8, 2.0, 5, 5),
            row("poor", 0.4, 9.0, 5, 5),
            row("missed", 0.0, nan, 5, 0),
            row("invented", 0.0, nan, 0, 5),
            row("rightly empty", nan, nan, 0, 0),
        ]
    )
    assert table["assd_filled_mm"].tolist()[:4] == [2, 9, 9, 9]
    assert math.isnan(table["assd_filled_mm"].iloc[4])
    summary = summarise(table, nodes_table([]), n_failed=7)
    assert summary.cases == CaseCounts(
        n=5, n_missing=1, n_empty_reference=2, n_both_empty=1, n_failed=7
    )
    scores = summary.metrics.dice
    assert (scores.n, scores.n_undefined, scores.n_missing) == (4, 1, 1)
    assert scores.mean == pytest.approx(0.3)
    assert scores.sd == pytest.approx(math.sqrt((0.25 + 0.01 + 0.09 + 0.09) / 4))
    assert (scores.q25, scores.median, scores.q75) == pytest.approx((0, 0.2, 0.5))
    assert summary.metrics.assd_mm.mean == 5.5
    assert summary.metrics.assd_filled_mm.mean == 29 / 4
    assert summary.metrics.recall.mean is None


def test_all_predictions_empty_leaves_the_filled_distance_undefined() -> None:
    table = metrics_table([row("a", 0.0, math.nan, 5, 0)])
    distances = summarise(table, nodes_table([]), 0).metrics.assd_filled_mm
    assert (distances.mean, distances.n, distances.n_missing) == (None, 0, 1)


def test_nodes_are_summed_up_by_annotation_and_size() -> None:
    grid = Grid(SHAPE, (1.0, 1.0, 1.0))
    label = np.zeros(SHAPE, dtype=np.uint16)
    label[0, 0, 0:2], label[2, 0:6, 0:6], label[5, 5, 0:4] = 1, 2, 3
    prediction = (label == 2) | box(slice(5, 6), slice(5, 6), slice(0, 1))
    rows = measure_nodes("c", label, prediction, grid, min_overlap=0.5, annotation=label == 2)
    summary = summarise(metrics_table([row("c", 1, 1, 1, 1)]), nodes_table(rows), 0).nodes
    assert (summary.n, summary.n_detected) == (3, 1)
    assert summary.annotated == Detection(n=1, n_detected=1, detection_recall=1.0)
    never = summary.never_annotated
    assert (never.n, never.n_detected, never.detection_recall) == (2, 0, 0.0)
    assert never.voxel_recall == pytest.approx(1 / 6)
    assert [(b.low, b.high, b.n, b.n_detected) for b in summary.by_short_axis_mm] == [
        (0, 5, 2, 0), (5, 10, 1, 1), (10, 15, 0, 0), (15, None, 0, 0),
    ]  # fmt: skip
    unknown = summarise(
        metrics_table([row("c", 1, 1, 1, 1)]),
        nodes_table(measure_nodes("c", label, prediction, grid, min_overlap=0.5)),
        0,
    ).nodes
    assert unknown.never_annotated.n == 0
    assert unknown.annotation_unknown == 3


def test_a_node_of_a_limits_size_belongs_to_the_bin_that_begins_there() -> None:
    rows = [ReferenceNode("c", n, 1, 1.0, mm, 30.0, 0.0, 0.0, 0.0, 1.0, True, None)
            for n, mm in enumerate((4.999, 5.0, 10.0, 14.999, 15.0, 80.0))]  # fmt: skip
    summary = summarise(metrics_table([row("c", 1, 1, 1, 1)]), nodes_table(rows), 0)
    assert [b.n for b in summary.nodes.by_short_axis_mm] == [1, 1, 2, 2]
