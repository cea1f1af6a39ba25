"""Files that change or vanish while a command uses them: what is recorded is what was used."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import OUT_OF_MEMORY
from support.stand_ins import StandIn, masks_by

from lnq.data.readers import content_hash
from lnq.evaluation import evaluate_folders
from lnq.inference.mask_files import Job
from lnq.inference.scan_folder import predict_folder
from lnq.inference.segmenter import Segmentation
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

GRID = Grid((6, 8, 8), (3.0, 1.0, 1.0))
MASK = Volume(np.zeros(GRID.size, np.uint8), GRID)


def scan(path: Path, value: int = 0) -> Path:
    write_volume(Volume(np.arange(384, dtype=np.int16).reshape(GRID.size) + value, GRID), path)
    return path


@pytest.fixture
def predicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, dict[str, Any], list[str]]]:
    """`predicted(meanwhile)` predicts two scans; exit code, manifest, and what failed.

    `meanwhile(job, output)` is called when a scan has been read and its mask written.
    """

    def run(meanwhile: Callable[[Job, Path], object]) -> tuple[int, dict[str, Any], list[str]]:
        def write(job: Job, output: Path) -> None:
            write_volume(MASK, output / job.mask_name)
            meanwhile(job, output)

        masks_by(monkeypatch, write)
        jobs = [Job(name, scan(tmp_path / f"{name}.nrrd"), f"{name}.nrrd") for name in "ab"]
        segmenter = StandIn(lambda _: Segmentation(MASK, MASK, (), ()))
        output = tmp_path / "masks"
        code = predict_folder(segmenter, jobs, output, config={}, say=lambda _: None)
        manifest = json.loads((output / "manifest.json").read_text())
        failures = output / "failures.json"
        failed = json.loads(failures.read_text()) if failures.exists() else []
        return code, manifest, [f"{one['case']}: {one['what']}" for one in failed]

    return run


def test_the_hashes_are_of_what_was_used(
    predicted: Callable[..., tuple[int, dict[str, Any], list[str]]], tmp_path: Path
) -> None:
    code, manifest, failed = predicted(lambda *_: None)  # the checkpoint has gone since
    assert (code, failed) == (0, [])
    assert [one["sha256"] for one in manifest["checkpoints"]] == ["the loaded one's"]
    assert [one["image_sha256"] for one in manifest["cases"]] == [
        content_hash(tmp_path / f"{name}.nrrd") for name in "ab"
    ]


def vanish(job: Job, _: Path) -> None:
    if job.name == "a":
        job.image.unlink()


def change(job: Job, _: Path) -> None:
    if job.name == "a":
        scan(job.image, 1)


def lose_masks(job: Job, output: Path) -> None:
    if job.name == "b":
        (output / "a.nrrd").unlink()


@pytest.mark.parametrize(
    ("meanwhile", "told"),
    [(vanish, "cannot"), (change, "the file changed while it was used"),
     (lose_masks, "the mask is gone")],
)  # fmt: skip
def test_what_changes_or_vanishes_fails_alone(
    predicted: Callable[..., tuple[int, dict[str, Any], list[str]]], tmp_path: Path,
    meanwhile: Callable[[Job, Path], object], told: str,
) -> None:  # fmt: skip
    code, manifest, failed = predicted(meanwhile)
    assert code == 3
    (entry,) = failed
    assert entry.startswith("a: ")
    assert told in entry or "missing" in entry or "no such" in entry
    assert [one["case"] for one in manifest["cases"]] == ["b"]
    assert not (tmp_path / "masks" / "a.nrrd").exists()


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_too_little_memory_in_evaluate_is_one_case_s_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    for folder in ("p", "r"):
        for name in "ab":
            (tmp_path / folder).mkdir(exist_ok=True)
            write_volume(MASK, tmp_path / folder / f"{name}.nrrd")
    original = evaluate_folders.__globals__["evaluate_case"]

    def hungry(match: Any, *rest: Any) -> Any:
        if match.case == "a":
            raise error
        return original(match, *rest)

    monkeypatch.setitem(evaluate_folders.__globals__, "evaluate_case", hungry)
    found = evaluate_folders(
        tmp_path / "p", tmp_path / "r", tmp_path / "e", config={}, reference_kind="binary",
        min_overlap=0.25,
    )  # fmt: skip
    assert found.exit_code == 3
    assert [one["case"] for one in found.failures] == ["a"]
    assert "not enough memory" in str(found.failures[0]["what"])
