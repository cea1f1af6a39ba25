"""Ctrl-C: every command that works case by case says what stands and how to go on."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from support.untrained import untrained_run

from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

STAY = "to go on, give the same command again: cases that are done stay"
GRID = Grid((6, 8, 8), (3.0, 1.0, 1.0))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A scan with its label, in folders that every command here takes."""
    write_volume(Volume(np.zeros(GRID.size, np.int16), GRID), tmp_path / "images" / "s.nrrd")
    write_volume(Volume(np.zeros(GRID.size, np.uint8), GRID), tmp_path / "labels" / "s.nrrd")
    (tmp_path / "cases.csv").write_text(
        "id,image,label,supervision,split,group\ns,images/s.nrrd,labels/s.nrrd,full,train,s\n"
    )
    untrained_run(tmp_path / "run", (16, 32, 32), {"spacing_mm": [10.0, 8.0, 8.0]})
    return tmp_path


@pytest.mark.parametrize(
    ("stage", "arguments", "work", "told"),
    [
        ("preprocess", ["data.root={0}", "num_workers=0"], "build_store", STAY),
        ("export", ["data.root={0}", "output={0}/raw"], "export_cases", STAY),
        ("predict", ["checkpoint={0}/run", "input={0}/images", "output={0}/masks", "device=cpu"],
         "predict_folder", "listed in manifest.json; the same command begins again"),
        ("evaluate", ["predictions={0}/labels", "references={0}/labels", "output={0}/measures"],
         "evaluate_folders", "no table was written; the same command begins again"),
    ],
)  # fmt: skip
def test_ctrl_c_is_answered_with_how_to_go_on(
    stage: str, arguments: list[str], work: str, told: str, data: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def interrupted(*_: object, **__: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"lnq.{stage}.{work}", interrupted)
    with pytest.raises(SystemExit) as stop:
        import_module(f"lnq.{stage}").main(
            [*(one.format(data) for one in arguments), f"paths.outputs={data}/outputs"]
        )
    assert stop.value.code == 130
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "interrupted"
    assert told in said[-2]
