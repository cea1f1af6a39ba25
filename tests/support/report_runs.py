"""Run folders as train, predict and evaluate leave them, for tests of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from lnq.evaluation import evaluate_folders
from lnq.report import main
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((8, 20, 24), (3.0, 1.5, 1.5), (-10.0, 5.0, 40.0))
EVIL = '<script>alert(1) & "onload="x'
LOGGED = """epoch,step,cpu_percent,train/loss,train/lambda_p,train/lr,val/dice
,0,80,,,,
0,0,,3.0,0.01,0.01,
0,1,,5.0,0.01,0.01,
,2,90,,,,
1,2,,2.0,0.02,0.005,
1,3,,,,,0.5
"""


def block(*where: slice) -> Array:
    array = np.zeros(GRID.size, dtype=np.uint8)
    array[where] = 1
    return array


LARGE = block(slice(1, 5), slice(3, 10), slice(3, 10))
SMALL = block(slice(5, 7), slice(14, 18), slice(14, 18))
FALSE = block(slice(1, 3), slice(14, 18), slice(2, 5))


def save(path: Path, array: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(Volume(array, GRID)), path)
    return path


def make_run(
    folder: Path, cases: dict[str, tuple[Array, Array]], *, name: str = "run",
    annotated: Array | None = None,
) -> Path:  # fmt: skip
    """A run folder with predictions and an evaluation, cases given as (reference, prediction).

    `annotated` is the partial label of every case, if any.
    """
    run = folder / name
    run.mkdir(parents=True)
    record: dict[str, Any] = {
        "stage": "train", "command": ["train.py", "+experiment=dbdmp"],
        "config": {"name": "x", "seed": 0},
        "created": "2026-01-01T00:00:00+00:00", "finished": "2026-01-02T00:00:00+00:00",
        "git_commit": "abc1234", "versions": {"lnq": "0"},
    }  # fmt: skip
    (run / "manifest.json").write_text(json.dumps(record))
    (run / "config.yaml").write_text(f"seed: 0\nnote: {EVIL}\n")
    (run / "curves.csv").write_text(LOGGED)
    entries = []
    noise = np.random.default_rng(0).integers(-100, 150, GRID.size, dtype=np.int16)
    for case, (reference, prediction) in cases.items():
        image = save(folder / "scans" / f"{case}-ct.nrrd", noise)
        save(folder / "references" / f"{case}-seg.nrrd", reference)
        save(run / "predictions" / image.name, prediction)
        if annotated is not None:
            save(folder / "annotations" / f"{case}-seg.nrrd", annotated)
        entries.append({"case": case, "image": str(image), "mask": image.name})
    (run / "predictions" / "manifest.json").write_text(json.dumps({"cases": entries}))
    evaluate_folders(
        run / "predictions", folder / "references", run / "evaluation",
        config={"reference_kind": "binary", "min_overlap": 0.25}, reference_kind="binary",
        min_overlap=0.25, annotations=None if annotated is None else folder / "annotations",
    )  # fmt: skip
    return run


def report(*arguments: str) -> int:
    """Runs the command in this process and gives its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def example_run(folder: Path) -> Path:
    """A run of three cases: a perfect one, one with errors and a hostile name, an empty one."""
    cases = {
        "good": (LARGE | SMALL, LARGE | SMALL),
        EVIL: (LARGE | SMALL, LARGE | FALSE),
        "empty": (0 * LARGE, 0 * LARGE),
    }
    return make_run(folder, cases, annotated=LARGE)
