"""FROC: by hand, as MONAI finds it, and from a folder of predictions to the report's curve."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
from monai.metrics.froc import compute_fp_tp_probs_nd, compute_froc_curve_data, compute_froc_score
from numpy.typing import NDArray
from support.stand_ins import StandIn

from lnq.errors import UsageError
from lnq.evaluate import main
from lnq.evaluation import Evaluation, evaluate_folders, label_nodes, read_evaluation
from lnq.evaluation import false_positives as pieces_of
from lnq.evaluation.froc import RATES, Detections, detections, froc_curve, froc_of, piece_scores
from lnq.inference.found_nodes import found_nodes
from lnq.inference.mask_files import Job
from lnq.inference.predictor import Prediction
from lnq.inference.scan_folder import predict_folder
from lnq.inference.segmenter import Segmentation
from lnq.predictions import FoundNode
from lnq.reporting.evaluations import ShownEvaluation
from lnq.reporting.froc_plot import froc_curves
from lnq.reporting.runs import Run
from lnq.reporting.summary_table import summary_rows
from lnq.run_folder import RunFolder
from lnq.volume import Array, Grid, Volume
from lnq.volume_file import write_volume

GRID = Grid((12, 24, 24), (3.0, 1.0, 1.5), (-10.0, 5.0, 40.0))
Mask = NDArray[np.bool_]


def block(*where: tuple[int, int]) -> Mask:
    array = np.zeros(GRID.size, bool)
    array[tuple(slice(*side) for side in where)] = True
    return array


def predicted_nodes(mask: Mask, probability: Array) -> list[FoundNode]:
    """As `predict` finds them."""
    volumes = (Volume(mask.astype(np.uint8), GRID), Volume(probability.astype(np.float32), GRID))
    return found_nodes(Prediction(*volumes, ()), Volume(np.zeros(GRID.size, np.int16), GRID))


def detected(reference: Mask, mask: Mask, probability: Array, min_overlap: float) -> Detections:
    pieces, wrong = pieces_of(mask, reference)
    scores = piece_scores(pieces, GRID, predicted_nodes(mask, probability))
    assert scores is not None
    return detections(label_nodes(reference, "binary"), pieces, wrong, scores, min_overlap)


def curve_of(*cases: Detections) -> tuple[list[float], float]:
    summary = froc_of(froc_curve(cases), cases)
    return [point.sensitivity for point in summary.at], summary.score


def test_by_hand() -> None:
    node = block((2, 4), (2, 6), (2, 12))  # 80 voxels
    half, other = block((2, 4), (2, 6), (2, 7)), block((2, 4), (2, 6), (9, 12))  # 40 and 24
    false, brushing = block((8, 10), (2, 4), (2, 4)), block((7, 10), (14, 18), (14, 18))
    second = block((6, 8), (17, 23), (14, 18))  # 48 voxels, of which the piece holds 4
    probability = 0.9 * half + 0.7 * other + 0.6 * false + 0.8 * brushing
    mask = half | other | false | brushing
    found = detected(node | second, mask, probability, 0.25)
    # The first piece alone does; the one that brushes a node detects none and is not false either.
    assert found.nodes == pytest.approx((0.9, 0))
    assert found.false_positives == pytest.approx((0.6,))
    # Half of the node lies in one piece; for more, both are needed.
    assert detected(node, mask, probability, 0.5).nodes == pytest.approx((0.9,))
    assert detected(node, mask, probability, 0.51).nodes == pytest.approx((0.7,))
    assert detected(node, mask, probability, 0.81).nodes == (0,)


def test_the_curve_by_hand() -> None:
    cases = [Detections((0.9, 0.0, 0.7), (0.8,)), Detections((), (0.6, 0.75))]
    curve = froc_curve(cases)
    assert list(curve.itertuples(index=False, name=None)) == [
        pytest.approx(pair)
        for pair in ((1.5, 2 / 3), (1, 2 / 3), (1, 1 / 3), (0.5, 1 / 3), (0, 1 / 3), (0, 0))
    ]
    at, score = curve_of(*cases)
    assert at == pytest.approx([1 / 3, 1 / 3, 1 / 3, 2 / 3, 2 / 3, 2 / 3, 2 / 3])
    assert score == pytest.approx(np.mean(at))


def test_a_perfect_mask_has_a_perfect_curve() -> None:
    # MONAI's own curve, given no missed node, leaves out the lowest score and ends at 0.
    assert curve_of(Detections((0.9,), ())) == ([1.0] * len(RATES), 1.0)
    assert curve_of(Detections((0.9, 0.9), (0.9,)))[0][3:] == [1.0] * 4


def test_it_is_monai_s_where_pieces_are_points() -> None:
    rng = np.random.default_rng(3)
    ours, fp_probs, tp_probs = list[Detections](), list[Array](), list[Array]()
    for _ in range(5):
        # Cubes on a raster: some are nodes, some are predicted, with probabilities of their own.
        corners = [(z, y, x) for z in (1, 5, 9) for y in (2, 9, 16) for x in (2, 9, 16)]
        cubes = [block(*((c, c + 2) for c in corner)) for corner in corners]
        is_node, is_predicted = rng.random((2, len(cubes))) < [[0.4], [0.6]]
        chances = rng.uniform(0.5, 1, len(cubes)).round(3)
        reference, mask = (
            np.any([c for c, chosen in zip(cubes, which, strict=True) if chosen], axis=0)
            for which in (is_node, is_predicted)
        )
        probability = np.sum([c * p for c, p in zip(cubes, chances, strict=True)], axis=0)
        ours.append(detected(reference, mask, probability, 0.25))
        false, true, _ = compute_fp_tp_probs_nd(
            chances[is_predicted], np.array(corners)[is_predicted], label_nodes(reference, "binary")
        )
        fp_probs.append(np.asarray(false))
        tp_probs.append(np.asarray(true))
        assert sorted(ours[-1].false_positives) == pytest.approx(sorted(false))
        assert sorted(ours[-1].nodes) == pytest.approx(sorted(true))
    true = np.concatenate(tp_probs)
    rates, sensitivity = compute_froc_curve_data(np.concatenate(fp_probs), true, len(true), 5)
    at, score = curve_of(*ours)
    assert score == pytest.approx(compute_froc_score(rates, sensitivity, RATES))
    assert 0 < score < 1
    assert at == pytest.approx(np.interp(RATES, rates[::-1], sensitivity[::-1]))


def test_pieces_are_told_by_place_and_size() -> None:
    shell = block((1, 8), (1, 12), (1, 12)) & ~block((2, 7), (2, 11), (2, 11))
    kernel = block((3, 6), (4, 9), (4, 9))  # of the same middle
    probability = 0.6 * shell + 0.9 * kernel
    nodes = predicted_nodes(shell | kernel, probability)
    pieces, _ = pieces_of(shell | kernel, shell)
    scores = piece_scores(pieces, GRID, nodes[::-1])
    assert scores is not None
    assert scores[pieces[4, 6, 6]] == pytest.approx(0.9)
    assert scores[pieces[1, 1, 1]] == pytest.approx(0.6)
    moved, smaller = np.roll(pieces, 1, axis=2), np.where(pieces == 1, pieces, 2 * kernel)
    smaller[3, 4, 4] = 0
    assert piece_scores(moved, GRID, nodes) is None
    assert piece_scores(smaller, GRID, nodes) is None
    assert piece_scores(pieces * (pieces == 1), GRID, nodes) is None
    assert piece_scores(0 * pieces, GRID, []) is not None


NODE, SECOND = block((2, 5), (2, 8), (2, 8)), block((7, 10), (14, 18), (14, 20))
FALSE = block((1, 3), (16, 20), (2, 6))
CASES = {
    "a": (NODE | SECOND, NODE | FALSE, 0.9 * NODE + 0.7 * FALSE),
    "b": (NODE, NODE, 0.6 * NODE),
    "c": (0 * NODE > 0, FALSE, 0.8 * FALSE),
}
"""Reference, mask and probability."""


@pytest.fixture
def predict(tmp_path: Path) -> Callable[..., Path]:
    """`predict(cases)` leaves references and a folder of predictions, which it gives."""

    def run(cases: Mapping[str, tuple[Mask, Mask, Array]]) -> Path:
        output = tmp_path / "predictions"

        def find(name: str) -> Segmentation:
            _, mask, probability = cases[name]
            volumes = (
                Volume(mask.astype(np.uint8), GRID), Volume(probability.astype(np.float32), GRID)
            )  # fmt: skip
            return Segmentation(*volumes, tuple(predicted_nodes(mask, probability)), ())

        for name, (reference, _, _) in cases.items():
            for folder in ("scans", "references"):
                label = Volume(reference.astype(np.uint8), GRID)
                write_volume(label, tmp_path / folder / f"{name}.nrrd")
        jobs = [Job(name, tmp_path / f"scans/{name}.nrrd", f"{name}.nrrd") for name in cases]
        predict_folder(StandIn(find), jobs, output, config={}, say=lambda _: None)
        return output

    return run


def evaluate(predictions: Path) -> Evaluation:
    parent = predictions.parent
    return evaluate_folders(
        predictions, parent / "references", parent / "evaluation", config={},
        reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip


def test_from_predictions_to_the_tables(predict: Callable[..., Path]) -> None:
    predictions = predict(CASES)
    result = evaluate(predictions)
    assert result.notes == []
    froc, nodes = result.summary.froc, result.summary.nodes
    assert froc is not None
    assert (froc.num_scans, froc.num_nodes) == (3, 3)
    record = read_evaluation(predictions.parent / "evaluation")
    assert record.summary.froc == froc
    assert record.froc is not None
    # The curve begins at the mask, as the other tables count it, and ends at none.
    assert record.froc.iloc[0].tolist() == pytest.approx(
        [nodes.false_positives_per_case, nodes.detection_recall]
    )
    assert record.froc.iloc[-1].tolist() == [0, 0]
    # 0.9 found; 0.8 and 0.7 false, a third of a false positive a scan each; 0.6 found.
    assert froc.at[0].sensitivity == froc.at[1].sensitivity == pytest.approx(1 / 3)
    assert froc.at[3].sensitivity == pytest.approx(2 / 3)
    for file in (predictions / "a.nrrd", predictions / "b.nrrd"):
        sitk.WriteImage(sitk.DICOMOrient(sitk.ReadImage(file), "SAR"), file)
    assert evaluate(predictions).summary.froc == froc


def test_no_curve_is_drawn_of_other_masks(predict: Callable[..., Path]) -> None:
    predictions = predict(CASES)
    mask = sitk.ReadImage(predictions / "b.nrrd")
    mask[3, 3, 3] = 0
    sitk.WriteImage(mask, predictions / "b.nrrd")
    result = evaluate(predictions)
    assert result.summary.froc is None
    assert result.notes == ["no FROC: nodes.csv knows nothing of 1 masks: b.nrrd"]
    assert not (predictions.parent / "evaluation" / "froc.csv").exists()
    assert read_evaluation(predictions.parent / "evaluation").froc is None


def test_what_an_earlier_prediction_left_is_told(predict: Callable[..., Path]) -> None:
    predict(CASES)
    predictions = predict({name: CASES[name] for name in "ac"})
    result = evaluate(predictions)
    assert result.summary.cases.n == 3
    assert result.notes == ["no FROC: nodes.csv knows nothing of 1 masks: b.nrrd"]


@pytest.mark.parametrize(
    ("name", "old", "new"), [("nodes.csv", "0.9", "0.5"), ("manifest.json", '"b.nrrd"', "3"),
                             ("manifest.json", "nodes_sha256", "x")],
)  # fmt: skip
def test_a_changed_table_is_not_used(
    predict: Callable[..., Path], name: str, old: str, new: str
) -> None:
    predictions = predict(CASES)
    content = (predictions / name).read_text()
    assert old in content
    (predictions / name).write_text(content.replace(old, new))
    (note,) = evaluate(predictions).notes
    assert note.startswith("no FROC: the table of nodes cannot be used")
    assert "Run lnq.predict again" in note


def test_masks_of_another_program_have_no_curve_and_no_note(predict: Callable[..., Path]) -> None:
    predictions = predict(CASES)
    for name in ("nodes.csv", "manifest.json"):
        (predictions / name).unlink()
    result = evaluate(predictions)
    assert (result.summary.froc, result.notes) == (None, [])


def test_a_damaged_curve_is_refused(predict: Callable[..., Path]) -> None:
    predictions = predict(CASES)
    evaluate(predictions)
    place = predictions.parent / "evaluation"
    pd.read_csv(place / "froc.csv").iloc[1:].to_csv(place / "froc.csv", index=False)
    with pytest.raises(UsageError, match=r"froc\.csv is not the one that the manifest"):
        read_evaluation(place)
    assert json.loads((place / "summary.json").read_text())["froc"]["num_scans"] == 3


def test_the_report_draws_it(predict: Callable[..., Path], tmp_path: Path) -> None:
    predictions = predict(CASES)
    evaluate(predictions)
    record = read_evaluation(predictions.parent / "evaluation")
    runs = [
        Run(
            name,
            RunFolder(tmp_path),
            {},
            None,
            None,
            ShownEvaluation(**told, predicted={}, scans={}),
        )
        for name, told in (
            ("with", vars(record)),
            (
                "without",
                {**vars(record), "froc": None, "summary": replace(record.summary, froc=None)},
            ),
        )
    ]
    assert froc_curves(runs[1:]) == []
    (plot,) = froc_curves(runs)
    assert plot.title == "Nodes found (FROC)"
    drawn = plot.svg.count("<path")
    (other,) = froc_curves([runs[0], runs[0]])
    assert other.svg.count("<path") > drawn
    (row,) = (row for row in summary_rows(runs) if row.name == "FROC score")
    froc = record.summary.froc
    assert froc is not None
    assert row.cells[0][0] == f"{froc.score:.3f}"
    assert row.cells[0][1].startswith("33, 33, ")
    assert row.cells[1] == ("–", "")


def test_the_command_says_it(
    predict: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = predict(CASES)
    with pytest.raises(SystemExit) as stop:
        main([f"predictions={predictions}", f"references={tmp_path}/references"])
    assert stop.value.code == 0
    assert "0.33, 0.33, 0.33, 0.67, 0.67, 0.67, 0.67 of the nodes at 1/8, 1/4, " in (
        capsys.readouterr().out
    )
