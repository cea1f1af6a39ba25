"""Which runs a report takes, what it says of missing parts, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from support.report_page import Page
from support.report_runs import LARGE, example_run, make_run, report

from lnq.reporting import read_runs, select_runs
from lnq.reporting.case_table import case_table


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_run(tmp_path_factory.mktemp("one"))


@pytest.mark.slow
def test_a_sweep_folder_stands_for_its_runs(run: Path, tmp_path: Path) -> None:
    sweep = tmp_path / "sweep"
    jobs = [make_run(sweep, {"good": (LARGE, LARGE)}, name=f"{i}") for i in range(5)]
    unfinished = sweep / "genesis"
    unfinished.mkdir()
    (unfinished / "manifest.json").write_text((run / "manifest.json").read_text())
    folders, notes = select_runs([sweep])
    assert folders == jobs
    assert notes == ["Left out, since they have no evaluation: genesis."]
    assert report(f"run={sweep}") == 0
    page = Page(sweep / "report.html")
    assert "genesis" in page.text
    # A row a run; of each case the DSC of all; pictures of the two best and two worst.
    assert len(re.findall(r'<th scope="row" class="value">', page.html)) == 5
    assert [len(cells) for cells in case_table(read_runs(jobs)).rows[0][1]] == [1] * 5
    assert "two best and the two worst runs" in page.text


def test_missing_parts_are_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_text((run / "manifest.json").read_text())
    assert report(f"run={bare}") == 0
    told = capsys.readouterr().out
    page = Page(bare / "report.html")
    for part in ("no config.yaml", "no curves.csv", "no evaluation yet"):
        assert part in told
        assert part in page.text
    for part in ("Nothing has been evaluated yet", "no training curves", "no evaluated nodes",
                 "There are no pictures", "left no pictures of pseudo labels"):  # fmt: skip
        assert part in page.text
    assert page.pictures() == []


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n4", "epoch,step\n", "\0\0"])
def test_unreadable_curves_are_said(run: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text((run / "manifest.json").read_text())
    (tmp_path / "curves.csv").write_text(content)
    (read,) = read_runs([tmp_path])
    assert read.curves is None
    assert any("curves" in note for note in read.notes)


@pytest.fixture
def wrong_folders(run: Path, tmp_path: Path) -> dict[str, Path]:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    return {"evaluation": run / "evaluation", "nowhere": tmp_path / "x", "broken": broken,
            "empty": tmp_path}  # fmt: skip


@pytest.mark.parametrize("which", ["evaluation", "nowhere", "broken", "empty"])
def test_a_folder_that_is_no_run_is_refused(
    wrong_folders: dict[str, Path], which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(f"run={wrong_folders[which]}") == 2
    assert "this is no run" in capsys.readouterr().err
    assert not (wrong_folders[which] / "report.html").exists()


def test_an_evaluation_elsewhere_is_used_or_refused(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_text((run / "manifest.json").read_text())
    (read,) = read_runs([bare], [run / "evaluation"])
    assert read.evaluation is not None
    assert len(read.evaluation.metrics) == 3
    assert report(f"run={bare}", f"evaluation={tmp_path}") == 2
    assert report(f"run={bare}", f"evaluation=[{run / 'evaluation'},{bare}]") == 2


def test_an_unfinished_run_is_told(run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(run, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    assert not any("come to its end" in note for note in read_runs([run])[0].notes)
    del manifest["finished"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    assert any("has not come to its end" in note for note in read_runs([run])[0].notes)
