"""Several networks as one: their probabilities are averaged, then cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

import lnq
from lnq import predict
from lnq.errors import UsageError
from lnq.files import read_json, sha256
from lnq.inference.predictor import above
from lnq.run_folder import RunFolder
from lnq.volume_file import write_volume

PATCH = (16, 32, 32)
SPACING = {"spacing_mm": [10.0, 8.0, 8.0]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    return [untrained_run(folder / f"seed{n}", PATCH, SPACING, seed=n) for n in range(3)]


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "scan.nrrd"
    write_volume(chest_with_spine(), path)
    return path


def segmented(runs: Any, scan: Path, **options: Any) -> lnq.Segmentation:
    return lnq.Segmenter.load(runs, "cpu", postprocess=None, **options).segment(scan)


@pytest.mark.slow
def test_probabilities_are_averaged_before_the_cut(runs: list[Path], scan: Path) -> None:
    alone = [segmented(run, scan) for run in runs]
    together = segmented(runs, scan)
    mean = np.mean([one.probability_volume.array for one in alone], axis=0)
    assert np.allclose(together.probability_volume.array, mean, atol=1e-6)
    cut = above(together.probability_volume.array, 0.5)
    assert np.array_equal(together.mask_volume.array, cut)
    votes = np.sum([one.mask_volume.array for one in alone], axis=0)
    assert np.any(cut != (votes >= 2))  # otherwise a vote would pass, too
    assert together.nodes


def test_a_list_of_one_is_that_one(runs: list[Path], scan: Path) -> None:
    one, listed = segmented(str(runs[0]), scan), segmented([runs[0]], scan)
    assert np.array_equal(one.probability_volume.array, listed.probability_volume.array)
    assert one.nodes == listed.nodes


def test_windows_are_counted_over_all_networks(runs: list[Path], scan: Path) -> None:
    told: list[tuple[int, int]] = []
    lnq.Segmenter.load(runs, "cpu", batch_size=1).segment(scan, lambda *n: told.append(n))
    assert told == [(number, len(told)) for number in range(1, len(told) + 1)]
    assert len(told) % len(runs) == 0


@pytest.mark.slow
def test_auxiliary_branches_are_averaged_too(runs: list[Path], scan: Path) -> None:
    volume = chest_with_spine()
    together, *alone = (
        lnq.Segmenter.load(given, "cpu", disagreement=True).predictor.predict(volume)
        for given in (runs, *runs)
    )
    of_each = [one.aux_probability.array for one in alone if one.aux_probability is not None]
    assert together.aux_probability is not None
    assert np.allclose(together.aux_probability.array, np.mean(of_each, axis=0), atol=1e-6)
    plain = segmented(runs, scan).probability_volume.array
    assert np.array_equal(together.probability.array, plain)


def called(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as stop:
        predict.main([*arguments, "device=cpu", "postprocess=none"])
    return stop.value.code


@pytest.mark.slow
def test_the_command_records_every_checkpoint(runs: list[Path], scan: Path, tmp_path: Path) -> None:
    listed, output = f"checkpoint=[{','.join(map(str, runs))}]", tmp_path / "out"
    assert called(listed, f"input={scan}", f"output={output}") == 0
    written = sitk.GetArrayFromImage(sitk.ReadImage(output / "scan.nrrd"))
    assert np.array_equal(written, segmented(runs, scan).mask_volume.array)
    files = [RunFolder(run).checkpoint for run in runs]
    expected = [{"path": str(file), "sha256": sha256(file)} for file in files]
    assert read_json(output / "manifest.json")["checkpoints"] == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "more", "told"),
    [
        (2, (), "where shall the masks go?: several checkpoints"),
        (0, ("output=out",), "no checkpoint. Give one, or several"),
    ],
)
def test_what_the_command_refuses(
    number: int, more: tuple[str, ...], told: str, runs: list[Path], scan: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    listed = f"checkpoint=[{','.join(map(str, runs[:number]))}]"
    assert called(listed, f"input={scan}", *more) == 2
    assert told in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("patch", "preprocessing", "told"),
    [
        ((16, 32, 64), SPACING, r"patch_size=\[16, 32, 64\] instead of \[16, 32, 32\]"),
        (PATCH, {"spacing_mm": [10.0, 8.0, 4.0]}, r"spacing_mm=\[10.0, 8.0, 4.0\] instead of"),
        (PATCH, {**SPACING, "normalisation": "ct"}, "normalisation=ct instead of zscore"),
    ],
)
def test_networks_that_see_otherwise_are_refused(
    patch: tuple[int, int, int], preprocessing: dict[str, Any], told: str, runs: list[Path],
    tmp_path: Path,
) -> None:  # fmt: skip
    other = untrained_run(tmp_path / "other", patch, preprocessing, seed=7)
    with pytest.raises(UsageError, match=told) as refused:
        lnq.Segmenter.load([runs[0], runs[1], other], "cpu")
    assert str(other) in str(refused.value)


def test_versions_that_wrote_the_settings_do_not_matter(runs: list[Path], tmp_path: Path) -> None:
    old = untrained_run(tmp_path / "old", PATCH, {**SPACING, "algorithm": 1}, seed=7)
    assert len(lnq.Segmenter.load([runs[0], old], "cpu").checkpoints) == 2


def test_a_network_counts_once(runs: list[Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy.ckpt"
    copy.write_bytes(RunFolder(runs[0]).checkpoint.read_bytes())
    with pytest.raises(UsageError, match=r"given twice.*copy\.ckpt has the same content"):
        lnq.Segmenter.load([runs[0], runs[1], copy], "cpu")
