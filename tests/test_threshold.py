"""Which threshold masks are cut at, who said so, and that it stands in every record."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from support.calibrations import CALIBRATED, RESTS, calibrated
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

import lnq
from lnq import evaluate, predict
from lnq.errors import UsageError
from lnq.files import read_json, sha256
from lnq.inference.predictor import above
from lnq.inference.threshold import choose_threshold
from lnq.networks.transfer import Checkpoint, read_checkpoint
from lnq.predictions import Threshold, threshold_of
from lnq.run_folder import RunFolder
from lnq.volume_file import write_volume

PATCH, SPACING = (16, 32, 32), {"spacing_mm": [10.0, 8.0, 8.0]}


def own(run: Path) -> Path:
    """The run, with a calibration of its last checkpoint."""
    return calibrated(run, sha256(RunFolder(run).checkpoint))


def make_run(folder: Path, seed: int = 0) -> Path:
    return untrained_run(folder, PATCH, SPACING, seed=seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own(make_run(tmp_path_factory.mktemp("runs") / "run"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "plain", seed=1)


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "scan.nrrd"
    write_volume(chest_with_spine(), path)
    return path


def loaded(*places: Path) -> list[Checkpoint]:
    return [read_checkpoint(place) for place in places]


def test_auto_is_the_calibration_of_this_very_checkpoint(run: Path) -> None:
    for place in (run, RunFolder(run).checkpoint):
        assert choose_threshold("auto", loaded(place)) == Threshold(
            CALIBRATED, "calibration", RESTS
        )


def test_a_number_is_taken_as_it_is(run: Path) -> None:
    assert choose_threshold(0.3, loaded(run)) == Threshold(0.3, "given", "as given")


def test_without_a_calibration_it_is_a_half(plain: Path, tmp_path: Path, run: Path) -> None:
    none = Threshold(0.5, "default", "the network has no calibration")
    assert choose_threshold("auto", loaded(plain)) == none
    elsewhere = tmp_path / "last.ckpt"  # beside no run's files
    elsewhere.write_bytes(RunFolder(run).checkpoint.read_bytes())
    assert choose_threshold("auto", loaded(elsewhere)) == none


def test_a_calibration_of_another_checkpoint_does_not_count(tmp_path: Path) -> None:
    run = calibrated(make_run(tmp_path / "run"), "0" * 64)
    threshold = choose_threshold("auto", loaded(run))
    assert (threshold.value, threshold.source) == (0.5, "default")
    assert "calibration.json is of another checkpoint; run lnq.calibrate again" in threshold.why


def test_several_networks_have_none_in_common(run: Path, plain: Path) -> None:
    threshold = choose_threshold("auto", loaded(run, plain))
    assert (threshold.value, threshold.source) == (0.5, "default")
    assert choose_threshold(0.4, loaded(run, plain)).value == 0.4


def test_a_changed_calibration_is_not_believed(tmp_path: Path) -> None:
    run = own(make_run(tmp_path / "run"))
    file = RunFolder(run).calibration
    file.write_text(file.read_text().replace(str(CALIBRATED), "0.9"))
    with pytest.raises(UsageError, match="the run's calibration is damaged"):
        lnq.Segmenter.load(run, "cpu")
    assert lnq.Segmenter.load(run, "cpu", threshold=0.5).threshold.value == 0.5


@pytest.mark.parametrize("given", [0.0, 1.0, -0.5, 2, "half", float("nan"), None])
def test_what_is_no_threshold_is_refused(run: Path, given: Any) -> None:
    with pytest.raises(UsageError, match="no such threshold"):
        lnq.Segmenter.load(run, "cpu", threshold=given)


@pytest.mark.slow
def test_the_mask_is_cut_there_and_the_rest_stays(run: Path, scan: Path) -> None:
    by_calibration, at_half = (
        lnq.Segmenter.load(run, "cpu", postprocess=None, threshold=t).segment(scan)
        for t in ("auto", 0.5)
    )
    probability = by_calibration.probability_volume.array
    assert np.array_equal(probability, at_half.probability_volume.array)
    cut = above(probability, CALIBRATED)
    assert np.array_equal(by_calibration.mask_volume.array, cut)
    assert 0 < cut.sum() < at_half.mask_volume.array.sum()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "value", "source"),
    [([], CALIBRATED, "calibration"), (["threshold=0.5"], 0.5, "given")],
)
def test_predict_says_it_and_evaluate_says_it_again(
    given: list[str], value: float, source: str, run: Path, scan: Path, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as stop:
        predict.main([f"checkpoint={run}", f"input={scan}", f"output={out}", "device=cpu",
                      "postprocess=none", "previews=false", *given])  # fmt: skip
    assert stop.value.code == 0
    why = RESTS if source == "calibration" else "as given"
    assert f"threshold {value:g}: {why}\n" in capsys.readouterr().out
    manifest = read_json(out / "manifest.json")
    assert manifest["threshold"] == {"value": value, "source": source, "why": why}
    assert threshold_of(manifest) == Threshold(value, source, why)  # type: ignore[arg-type]
    probability = lnq.Segmenter.load(run, "cpu").segment(scan).probability_volume.array
    written = sitk.GetArrayFromImage(sitk.ReadImage(out / "scan.nrrd"))
    assert np.array_equal(written, above(probability, value))
    with pytest.raises(SystemExit) as stop:
        evaluate.main([f"predictions={out}", f"references={out}", f"output={tmp_path / 'e'}"])
    assert stop.value.code == 0
    assert f"the masks were cut at threshold {value:g}: {why}" in capsys.readouterr().out
    assert read_json(tmp_path / "e" / "manifest.json")["threshold"]["value"] == value


@pytest.mark.parametrize("given", ["0", "1", "half", "null"])
def test_the_command_refuses_what_is_no_threshold(
    given: str, run: Path, scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        predict.main([f"checkpoint={run}", f"input={scan}", f"threshold={given}"])
    assert stop.value.code == 2
    assert "threshold" in capsys.readouterr().err


@pytest.mark.parametrize("said", [{"threshold": {"value": 2}}, {"threshold": "high"}])
def test_a_manifest_that_says_something_else(said: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        threshold_of(said)
    assert threshold_of({}) is None
