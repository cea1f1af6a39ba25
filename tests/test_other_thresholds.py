"""What masks would measure had they been cut elsewhere: `evaluate thresholds=true`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from lnq import evaluate
from lnq.errors import CaseError, UsageError
from lnq.evaluation import read_evaluation
from lnq.evaluation.other_thresholds import (
    OTHER_THRESHOLDS,
    CutMeasures,
    measure_cuts,
    other_thresholds,
    thresholds_table,
)
from lnq.runs.recutting import recut
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

GRID = Grid((12, 12, 12), (2.5, 2.0, 2.0))  # voxels of 10 mm³
POST = {
    "_target_": "lnq.inference.post_processing.PostProcessing", "border": "scan",
    "border_voxels": 3, "border_share": 0.5, "hu_window": [-54.0, 235.5], "min_volume_mm3": 10.0,
}  # fmt: skip
NODE, OTHER = np.s_[5:7, 5:7, 5:7], np.s_[5:7, 8, 5]


def folder(place: Path, probability: np.ndarray, *, hu: np.ndarray | None = None) -> Path:
    """What `predict save_probabilities=true` leaves of one scan, cut at 0.5."""
    image = np.full(GRID.size, 50, np.int16) if hu is None else hu
    image[0, 0, 0] = 40  # a scan of one value is none
    write_volume(Volume(image, GRID), place / "scans" / "s.nrrd")
    masks = place / "predictions"
    write_volume(Volume(probability.astype(np.float32), GRID), masks / "probabilities" / "s.nrrd")
    write_volume(Volume((probability > 0.5).astype(np.uint8), GRID), masks / "s.nrrd")
    case = {"case": "s", "image": str(place / "scans" / "s.nrrd"), "mask": "s.nrrd"}
    (masks / "manifest.json").write_text(
        json.dumps({"config": {"postprocess": POST}, "cases": [case]})
    )
    reference = np.zeros(GRID.size, np.uint8)
    reference[NODE] = 1
    write_volume(Volume(reference, GRID), place / "references" / "s.nrrd")
    return masks


def volume(**values: float) -> np.ndarray:
    """Zeros but for the places of that name."""
    probability = np.zeros(GRID.size)
    for name, value in values.items():
        probability[{"node": NODE, "other": OTHER}[name]] = value
    return probability


def test_each_mask_is_post_processed_as_predict_does(tmp_path: Path) -> None:
    probability = volume(node=0.9, other=0.4)
    probability[1, 6, 6] = 0.95  # a lone voxel in the border
    probability[9, 9, 9] = 0.3  # of 10 mm³, which goes
    hu = np.full(GRID.size, 50, np.int16)
    hu[5, 5, 5] = 500  # no node's value
    cut = recut(folder(tmp_path, probability, hu=hu))(tmp_path / "predictions" / "s.nrrd")
    node = np.zeros(GRID.size, bool)
    node[NODE] = True
    node[5, 5, 5] = False
    assert np.array_equal(cut(0.5), node)
    both = node.copy()
    both[OTHER] = True
    assert np.array_equal(cut(0.2), both)
    assert not cut(0.92).any()


def test_measures_by_hand() -> None:
    probability = np.zeros((1, 1, 8))
    probability[0, 0] = [0.9, 0.6, 0, 0.6, 0, 0.2, 0, 0]
    numbered = np.array([[[1, 1, 0, 0, 0, 2, 2, 0]]])
    measured = measure_cuts(lambda t: probability > t, numbered, 0.5)
    at = {round(float(t), 4): i for i, t in enumerate(OTHER_THRESHOLDS)}
    half, low, high = at[0.5], at[0.1192], at[0.8808]
    # At 0.5 three voxels, two of them right, of four: 2 * 2 / (3 + 4).
    assert measured.dice[[low, half, high]] == pytest.approx([6 / 8, 4 / 7, 2 / 5])
    assert measured.nodes_detected[[low, half, high]].tolist() == [2, 1, 1]
    assert measured.false_positives[[low, half, high]].tolist() == [1, 1, 0]


def test_cases_together() -> None:
    number = len(OTHER_THRESHOLDS)
    defined = CutMeasures(np.linspace(0, 0.5, number), np.ones(number), np.zeros(number))
    empty = CutMeasures(np.full(number, np.nan), np.zeros(number), np.full(number, 2.0))
    table = thresholds_table([defined, empty])
    assert table["dice_mean"].tolist() == pytest.approx(defined.dice.tolist())
    assert (table["nodes_detected"] == 1).all()
    assert (table["false_positives_per_case"] == 1).all()
    short = other_thresholds(table)
    assert short is not None
    assert (short.best_dice, short.best_threshold) == (0.5, OTHER_THRESHOLDS[-1])
    assert short.dice_at_half == table.loc[table["threshold"] == 0.5, "dice_mean"].item()


def test_where_nothing_is_marked_and_nothing_found() -> None:
    """Cases whose masks and references are all empty have no DSC, at some thresholds or at all."""
    number = len(OTHER_THRESHOLDS)
    never = CutMeasures(np.full(number, np.nan), np.zeros(number), np.zeros(number))
    assert other_thresholds(thresholds_table([never])) is None
    low = CutMeasures(np.where(OTHER_THRESHOLDS < 0.3, 0.0, np.nan), *[np.zeros(number)] * 2)
    short = other_thresholds(thresholds_table([low]))
    assert short is not None
    assert (short.dice_at_half, short.best_dice) == (None, 0.0)


def test_of_equal_thresholds_the_nearest_to_a_half() -> None:
    number = len(OTHER_THRESHOLDS)
    flat = CutMeasures(np.full(number, 0.25), np.ones(number), np.zeros(number))
    short = other_thresholds(thresholds_table([flat]))
    assert short is not None
    assert short.best_threshold == 0.5


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as stop:
        evaluate.main([str(argument) for argument in arguments])
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_the_command_says_it_and_keeps_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    masks = folder(tmp_path, volume(node=0.9, other=0.55))
    given = (f"predictions={masks}", f"references={tmp_path}/references", f"output={tmp_path}/e")
    assert run(*given, "thresholds=true") == 0
    # 0.5 has two voxels too many: 2 * 8 / (10 + 8).
    assert "DSC 0.889 at 0.5; at its best threshold, 0.622, 1.000" in capsys.readouterr().out
    record = read_evaluation(tmp_path / "e")
    assert record.summary.other_thresholds is not None
    assert record.summary.other_thresholds.best_dice == 1
    assert record.thresholds is not None
    assert list(record.thresholds["threshold"]) == pytest.approx(OTHER_THRESHOLDS, rel=1e-6)
    # Without being asked, and then nothing of it stays.
    assert run(*given) == 0
    assert not (tmp_path / "e" / "thresholds.csv").exists()
    assert read_evaluation(tmp_path / "e").thresholds is None


def _no_probabilities(masks: Path) -> None:
    for file in (masks / "probabilities").iterdir():
        file.unlink()
    (masks / "probabilities").rmdir()


def _crop(masks: Path) -> None:
    manifest = json.loads((masks / "manifest.json").read_text())
    manifest["config"]["postprocess"]["border"] = "crop"
    (masks / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_no_probabilities, "there are no probabilities"),
        (_crop, "border of the lung crop"),
        (lambda masks: (masks / "manifest.json").write_text("{}"), "is not known"),
    ],
    ids=["no probabilities", "crop", "another program"],
)
def test_masks_that_cannot_be_made_anew(
    spoil: Callable[[Path], object], says: str, tmp_path: Path
) -> None:
    masks = folder(tmp_path, volume(node=0.9))
    spoil(masks)
    with pytest.raises(UsageError, match=says):
        recut(masks)


def test_a_case_whose_probabilities_are_none(tmp_path: Path) -> None:
    masks = folder(tmp_path, volume(node=0.9))
    with pytest.raises(CaseError, match="does not know this mask"):
        recut(masks)(masks / "t.nrrd")
    write_volume(Volume(np.full(GRID.size, 1.5, np.float32), GRID), masks / "probabilities/s.nrrd")
    with pytest.raises(CaseError, match="these are no probabilities"):
        recut(masks)(masks / "s.nrrd")


def test_the_table_of_thresholds_is_hashed(tmp_path: Path) -> None:
    masks = folder(tmp_path, volume(node=0.9))
    given = (f"predictions={masks}", f"references={tmp_path}/references", f"output={tmp_path}/e")
    assert run(*given, "thresholds=true") == 0
    table = pd.read_csv(tmp_path / "e" / "thresholds.csv")
    table["dice_mean"] = 1.0
    table.to_csv(tmp_path / "e" / "thresholds.csv", index=False)
    with pytest.raises(UsageError, match=r"thresholds\.csv is not the one"):
        read_evaluation(tmp_path / "e")
