"""`ckpt_path=last` is the run that was meant, wherever the configuration puts it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lnq.config.composition import Arguments, compose
from lnq.errors import UsageError
from lnq.run_folder import RunFolder
from lnq.runs.last_run import with_last_run


def begun(folder: Path, seconds: int) -> Path:
    """A run's folder with a checkpoint of that age."""
    checkpoint = RunFolder(folder).checkpoint
    checkpoint.parent.mkdir(parents=True)
    checkpoint.touch()
    os.utime(checkpoint, (seconds, seconds))
    return folder


def resumed(*given: str) -> tuple[str, str]:
    """Folder and checkpoint that a command line comes to."""
    argv = [*given, "ckpt_path=last"]
    before = list(argv)
    (overrides,) = Arguments.parse(with_last_run(argv)).jobs()
    assert argv == before
    cfg = compose("train", overrides)
    return cfg.run_dir, cfg.ckpt_path


@pytest.mark.parametrize("given", [["+experiment=table1/a"], ["+experiment=dbdmp", "name=mine"]])
@pytest.mark.slow
def test_without_a_folder_it_is_the_newest_run_of_that_name(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LNQ_OUTPUTS", str(tmp_path))
    runs = tmp_path / "train" / compose("train", given).name
    begun(runs / "b", 1)
    begun(runs / "a", 2)
    begun(tmp_path / "train" / "another" / "c", 3)
    (runs / "d").mkdir()
    assert resumed(*given) == (str(runs / "a"), str(RunFolder(runs / "a").checkpoint))
    moved = begun(tmp_path / "moved" / "train" / runs.name / "m", 1)
    assert resumed(*given, f"paths.outputs={tmp_path}/moved")[0] == str(moved)


def test_a_folder_that_is_given_is_taken_whatever_it_is_called(tmp_path: Path) -> None:
    folder = tmp_path / "it's, [mine]"
    quoted = str(folder).replace("'", r"\'")
    expected = (str(folder), str(RunFolder(folder).checkpoint))
    assert resumed("+experiment=dbdmp", f"run_dir='{quoted}'") == expected


def test_of_a_sweep_it_is_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="which run of the sweep"):
        with_last_run(["-m", "seed=0,1", "ckpt_path=last"])
