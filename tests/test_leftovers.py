"""A folder of masks says nothing of earlier predictions; an interrupted one says what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.stand_ins import StandIn, masks_by

from lnq.inference.leftovers import remove_leftovers
from lnq.inference.mask_files import Job
from lnq.inference.scan_folder import predict_folder
from lnq.inference.segmenter import Segmentation
from lnq.predictions import NODES, FoundNode
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

GRID = Grid((6, 8, 8), (3.0, 1.0, 1.0))
MASK = Volume(np.zeros(GRID.size, np.uint8), GRID)
NODE = FoundNode(1, 3.0, 1.0, 1.0, 0.0, 0.0, 0.0, 40.0, 0.9, None, False)
Predict = Callable[..., list[str]]


@pytest.fixture
def predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Predict:
    """`predict("a", "b")` writes their masks into `masks`; the lines that are said.

    Args of it: `ending` of masks, `probabilities` and `previews` beside them, and `meanwhile`,
    called with each job when its mask is there.
    """

    def run(
        *names: str, ending: str = ".nrrd", beside: bool = False,
        meanwhile: Callable[[Job], object] = lambda _: None,
    ) -> list[str]:  # fmt: skip
        output = tmp_path / "masks"

        def write(job: Job, output: Path) -> None:
            (output / job.mask_name).write_text("mask")
            if beside:
                for extra in (f"probabilities/{job.probability_name}", f"previews/{job.name}.png"):
                    (output / extra).parent.mkdir(exist_ok=True)
                    (output / extra).write_text("beside")
            meanwhile(job)

        masks_by(monkeypatch, write)
        for name in names:
            write_volume(MASK, tmp_path / f"{name}.nrrd")
        jobs = [
            Job(name, tmp_path / f"{name}.nrrd", name + ending, ending == ".dcm") for name in names
        ]
        said = list[str]()
        segmenter = StandIn(lambda _: Segmentation(MASK, MASK, (NODE,), ()))
        try:
            predict_folder(segmenter, jobs, output, config={}, say=said.append)
        except KeyboardInterrupt:
            said.append("interrupted")
        return said

    return run


def content(folder: Path) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != ".lock"
    )


def listed(folder: Path) -> list[str]:
    return [case["case"] for case in json.loads((folder / "manifest.json").read_text())["cases"]]


def test_what_an_earlier_prediction_left_of_the_same_scan_goes(
    predict: Predict, tmp_path: Path
) -> None:
    masks = tmp_path / "masks"
    predict("a", "b", ending=".dcm", beside=True)
    (masks / "a.nii.gz").write_text("the user's own")
    said = predict("a")
    assert content(masks) == [
        "a.nii.gz", "a.nrrd", "b.dcm", "manifest.json", NODES,
        "previews/b.png", "probabilities/b.nrrd",
    ]  # fmt: skip
    assert listed(masks) == ["a"]
    assert pd.read_csv(masks / NODES)["case"].tolist() == ["a"]
    assert said[-1] == "note: masks of other scans stay in it, listed nowhere: a.nii.gz, b.dcm"
    predict("b")  # whose manifest has gone since
    assert content(masks) == [
        "a.nii.gz", "a.nrrd", "b.dcm", "b.nrrd", "manifest.json", NODES,
    ]  # fmt: skip
    assert not (masks / "probabilities").exists()


def test_a_stranger_s_manifest_removes_nothing_elsewhere(predict: Predict, tmp_path: Path) -> None:
    masks, outside = tmp_path / "masks", tmp_path / "precious.nrrd"
    predict("a")
    outside.write_text("not a mask of ours")
    manifest = json.loads((masks / "manifest.json").read_text())
    for mask in ("../precious.nrrd", str(outside)):
        manifest["cases"][0]["mask"] = mask
        (masks / "manifest.json").write_text(json.dumps(manifest))
        remove_leftovers(masks, [Job("a", tmp_path / "a.nrrd", "a.nrrd")])
        assert outside.exists()
    (masks / "manifest.json").write_text("{")
    remove_leftovers(masks, [Job("a", tmp_path / "a.nrrd", "a.nrrd")])
    assert (masks / "a.nrrd").exists()


def stop_at_b(job: Job) -> None:
    if job.name == "b":
        raise KeyboardInterrupt


def test_an_interrupted_prediction_lists_what_is_done(predict: Predict, tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    predict("a", "b", "c", beside=True)
    said = predict("a", "b", "c", meanwhile=stop_at_b)
    assert content(masks) == ["a.nrrd", "manifest.json", NODES]
    assert listed(masks) == ["a"]
    assert said == [f"1 of 3 scans segmented, 1 nodes -> {masks}", "interrupted"]
