"""The table of found nodes: counted by hand, and the same however the scan is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from support.synthetic_chest import GRID, chest, ellipsoid
from torch import Tensor

from lnq.data.preparation.preprocessing import Preprocessing
from lnq.evaluation import label_nodes, measure_nodes
from lnq.inference.found_nodes import found_nodes
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Prediction, Predictor
from lnq.inference.sliding_window import SlidingWindow
from lnq.node_shape import measure_shape
from lnq.predictions import write_nodes
from lnq.volume import Array, Grid, Volume, reorient


def prediction(mask: Array, probability: float, grid: Grid, aux: Volume | None) -> Prediction:
    return Prediction(
        Volume(mask.astype(np.uint8), grid),
        Volume(np.full(grid.size, probability, np.float32), grid),
        (),
        aux,
    )


def test_a_table_counted_by_hand(tmp_path: Path) -> None:
    grid = Grid((8, 10, 12), (2.0, 1.0, 1.0), (100.0, 200.0, 300.0))
    mask = np.zeros(grid.size, bool)
    mask[1, 1, 1] = mask[2, 2, 2] = True  # two that share a corner are one node
    mask[4:6, 2:4, 4:8] = True  # 16 voxels, centre (4.5, 2.5, 5.5)
    hu = np.full(grid.size, -100, np.int16)
    hu[4, 2:4, 4:8], hu[5, 2:4, 4:8], hu[1, 1, 1], hu[2, 2, 2] = 40, 50, 7, 9
    aux = Volume(np.full(grid.size, 0.5, np.float32), grid)
    aux.array[1, 1, 1] = aux.array[2, 2, 2] = 0.75
    aux.array[5] = 1.0  # above the main branch as far as slice 4 is below it
    large, small = found_nodes(prediction(mask, 0.75, grid, aux), Volume(hu, grid))
    assert (large.voxels, large.volume_mm3) == (16, 32)
    assert (large.centroid_x_mm, large.centroid_y_mm, large.centroid_z_mm) == (105.5, 202.5, 309)
    assert (large.mean_hu, large.mean_probability, large.disagreement) == (45, 0.75, 0.25)
    assert (small.voxels, small.mean_hu, small.disagreement) == (2, 8, 0)
    assert large.long_axis_mm > large.short_axis_mm > 1
    write_nodes(tmp_path / "nodes.csv", [("a", [large, small]), ("none", []), ("b", [small])])
    table = pd.read_csv(tmp_path / "nodes.csv")
    assert list(zip(table["case"], table["node"], strict=True)) == [("a", 1), ("a", 2), ("b", 1)]
    assert list(table.columns) == [
        "case", "node", "voxels", "volume_mm3", "short_axis_mm", "long_axis_mm", "centroid_x_mm",
        "centroid_y_mm", "centroid_z_mm", "mean_hu", "mean_probability", "disagreement",
        "enlarged",
    ]  # fmt: skip
    assert table["mean_hu"].tolist() == [45, 8, 8]


def test_without_the_auxiliary_branch_its_column_is_empty(tmp_path: Path) -> None:
    grid = Grid((4, 4, 4), (2.0, 1.0, 1.0))
    mask = np.ones(grid.size, bool)
    nodes = found_nodes(prediction(mask, 0.75, grid, None), Volume(mask.astype(np.int16), grid))
    write_nodes(tmp_path / "nodes.csv", [("a", nodes)])
    assert pd.read_csv(tmp_path / "nodes.csv")["disagreement"].isna().all()
    write_nodes(tmp_path / "nodes.csv", [("a", [])])
    assert pd.read_csv(tmp_path / "nodes.csv").empty


def test_the_measures_are_those_of_the_evaluation() -> None:
    mask = ellipsoid(GRID, (5, 10, -20), (18, 12, 9)) | ellipsoid(GRID, (60, 0, 30), (10, 10, 14))
    found = found_nodes(prediction(mask, 0.75, GRID, None), chest())
    labels = label_nodes(mask, "binary")
    reference = measure_nodes("a", labels, mask, GRID, min_overlap=0.25)
    assert len(found) == len(reference) == 2
    for one, other in zip(found, sorted(reference, key=lambda n: -n.voxels), strict=True):
        assert one.short_axis_mm == other.short_axis_mm
        assert one.centroid_z_mm == other.centroid_z_mm
        alone = measure_shape(labels == other.node, GRID)
        assert alone.long_axis_mm == other.long_axis_mm == one.long_axis_mm
        assert alone.centroid_x_mm == pytest.approx(other.centroid_x_mm, abs=1e-9)


@pytest.mark.parametrize("orientation", ["RAI", "SLA", "PSR"])
def test_axes_are_those_of_axial_slices_in_every_orientation(orientation: str) -> None:
    mask = ellipsoid(GRID, (5, 10, -20), (30, 12, 9))
    scan = chest()
    turned = [reorient(v, orientation) for v in (Volume(mask.astype(np.uint8), GRID), scan)]
    (upright,) = found_nodes(prediction(mask, 0.75, GRID, None), scan)
    (found,) = found_nodes(prediction(turned[0].array > 0, 0.75, turned[0].grid, None), turned[1])
    assert found.long_axis_mm == pytest.approx(upright.long_axis_mm)
    assert found.short_axis_mm == pytest.approx(upright.short_axis_mm)
    assert found.centroid_y_mm == pytest.approx(upright.centroid_y_mm)
    assert found.mean_hu == upright.mean_hu


@pytest.mark.slow
def test_the_second_branch_changes_no_mask_and_gives_its_difference() -> None:
    asked = []

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        asked.append(len(x))
        main = torch.cat([torch.zeros_like(x), 20 * (x + 2.4)], dim=1)
        return main, main * 0  # an auxiliary branch that never decides: 0.5

    settings = Preprocessing(spacing_mm=GRID.spacing_mm, normalisation="ct")
    keep_all = PostProcessing("none", 3, None, 0.0)
    windows = SlidingWindow((16, 32, 32))
    one, two = (
        Predictor([branches], settings, windows, keep_all)
        for branches in (lambda x: both(x)[:1], both)
    )
    alone, checked = one.predict(chest()), two.predict(chest())
    assert alone.aux_probability is None
    assert np.array_equal(alone.mask.array, checked.mask.array)
    assert np.array_equal(alone.probability.array, checked.probability.array)
    (node, *_) = found_nodes(checked, chest())
    assert node.disagreement == pytest.approx(node.mean_probability - 0.5, abs=1e-4)
    assert found_nodes(alone, chest())[0].disagreement is None
    assert asked
