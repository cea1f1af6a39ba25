"""The lanes: every example is run, and what a test is marked with is what it does."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support import REPOSITORY

SETTINGS = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["tool"]["pytest"][
    "ini_options"
]


def test_every_example_in_a_docstring_is_run() -> None:
    run = [REPOSITORY / path for path in SETTINGS["testpaths"]]
    examples = [p for p in (REPOSITORY / "src").rglob("*.py") if ">>> " in p.read_text()]
    assert examples
    assert [p for p in examples if not any(p.is_relative_to(place) for place in run)] == []


TESTS = """
import subprocess, sys, warnings, pytest
import pytorch_lightning as pl

@pytest.fixture(scope="module")
def shared():
    subprocess.run([sys.executable, "-c", ""], check=True)

def test_unmarked(): subprocess.run([sys.executable, "-c", ""], check=True)
def test_trains(): pl.Trainer.fit(None, None)
def test_forks(): __import__("os").waitpid(__import__("os").fork() or __import__("os")._exit(0), 0)
@pytest.mark.process
def test_uses(shared): pass
def test_uses_unmarked(shared): pass
@pytest.mark.training
def test_idle(): pass
@pytest.mark.process
def test_marked(): subprocess.run([sys.executable, "-c", ""], check=True)
def test_quick(): pass
def test_warns(): warnings.warn("x")
@pytest.mark.slow
def test_warns_slowly(): warnings.warn("x")
"""


@pytest.mark.process
def test_marks_are_held_to_what_tests_do(tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nfilterwarnings = error\nmarkers =\n process\n training\n slow\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rA", "-p", "support.lanes", "-p", "no:xdist"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    ended = dict(re.findall(r"^(?:FAILED|PASSED) \S+::(\w+)(.*)$", done.stdout, re.M))
    passed = {name for name, why in ended.items() if not why}
    assert passed == {"test_uses", "test_marked", "test_quick", "test_warns_slowly"}
    assert "test_unmarked" in ended
    assert "this test starts a process: mark it" in done.stdout
    assert "this test trains: mark it `training`" in done.stdout
    assert "a fixture of this test starts a process" in ended["test_uses_unmarked"]
    assert "marked training, and does neither" in ended["test_idle"]
    assert {"test_trains", "test_forks"} <= ended.keys()
