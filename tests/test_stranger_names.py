"""Names of strangers in our tables and on the terminal: no formula, no escape code."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from rich.table import Table
from support.stand_ins import StandIn

from lnq.console import console
from lnq.doctor import main as doctor
from lnq.errors import CaseError
from lnq.evaluation.mask_folders import evaluate_case
from lnq.evaluation.matching import Match
from lnq.inference.mask_files import Job
from lnq.inference.scan_folder import predict_folder
from lnq.tables import read_table, write_table

NAMES = [
    "=1+1", "+1", "-1", "@SUM(A1)", "'=1", "'quoted", "''", "plain", "a=b", "=cmd|' /C calc'!A0",
]  # fmt: skip
ESCAPES = "\x1b[31mred\x1b]0;title\x07\x9b2J\r\b"


def test_no_cell_is_a_formula_and_all_are_read_as_they_were(tmp_path: Path) -> None:
    table = pd.DataFrame({"case": NAMES, "number": [-1.5 * n for n in range(len(NAMES))]})
    table["dice"] = [None, *table["number"][1:]]
    write_table(tmp_path / "t.csv", table)
    first = pd.read_csv(tmp_path / "t.csv", dtype=str)["case"]
    assert not first.str.startswith(("=", "+", "-", "@", "\t", "\r")).any()
    assert_frame_equal(read_table(tmp_path / "t.csv", ["dice"]), table, check_dtype=False)


@pytest.mark.parametrize("whole", [True, False], ids=["text", "table"])
def test_no_escape_code_reaches_the_terminal(
    capsys: pytest.CaptureFixture[str], whole: bool
) -> None:
    table = Table("name")
    table.add_row(ESCAPES)
    console().print(f"first\n{ESCAPES}" if whole else table)
    said = capsys.readouterr().out
    assert "\\x1b[31mred" in said
    assert all(character.isprintable() or character == "\n" for character in said)


def test_names_with_control_characters_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a\x1b[31m.nrrd"
    unused = StandIn(lambda name: pytest.fail(f"{name} was used"))
    said, jobs = list[str](), [Job("a", path, "a.nrrd")]
    code = predict_folder(unused, jobs, tmp_path / "out", config={}, say=said.append)
    assert code == 3
    assert "control characters" in said[0]
    with pytest.raises(CaseError, match="control characters"):
        evaluate_case(Match("a", path, path, None), "binary", 0.5)


@pytest.mark.parametrize("given", [True, False], ids=["argument", "working folder"])
def test_folders_that_are_not_utf_8_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: bool
) -> None:
    """SimpleITK would end the whole process when it writes there."""
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xfc"))
    odd.mkdir()
    if not given:
        monkeypatch.chdir(odd)
    with pytest.raises(SystemExit) as stop:
        doctor([f"data.root={odd if given else tmp_path}"])
    assert stop.value.code == 2
    assert "not UTF-8" in capsys.readouterr().err
