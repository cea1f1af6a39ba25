"""What makes a function a command: exit codes, sweeps, the entry point."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import lnq.__main__
from lnq.config import command
from lnq.errors import CaseError, ConfigError, LnqError, RunError, UsageError
from lnq.evaluate import EvaluateConfig


def exit_of(actions: Iterator[Any], *arguments: str) -> Any:
    """The exit code of a command whose body does the next of `actions` at each call."""

    @command("evaluate", EvaluateConfig)
    def body(cfg: EvaluateConfig) -> int:
        action = next(actions)
        if isinstance(action, int):
            return action
        raise action

    with pytest.raises(SystemExit) as stop:
        body(["predictions=a", "references=b", *arguments])
    return stop.value.code


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (0, 0), (3, 3), (UsageError("u"), 2), (ConfigError("c"), 2), (CaseError("c"), 3),
        (RunError("r"), 4), (LnqError("l"), 4), (OSError(errno.ENOSPC, "full", "f.npy"), 4),
        (OSError(errno.EROFS, "read-only", "f.npy"), 4), (KeyboardInterrupt(), 130),
        (SystemExit(143), 143),
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.slow
def test_exit_codes(action: Any, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_of(iter([action])) == code
    said = capsys.readouterr().err
    assert "Traceback" not in said
    if isinstance(action, OSError):
        assert "f.npy" in said
        assert len(said.strip().splitlines()) == 1


def test_a_programming_error_shows_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError, match="a bug"):
        exit_of(iter([ZeroDivisionError("a bug")]))


@pytest.mark.slow
def test_a_sweep_goes_on_after_a_failed_job(tmp_path: Path) -> None:
    sweep = ("-m", "min_overlap=0.1,0.2,0.3", f"output={tmp_path}/${{min_overlap}}")
    actions = iter([3, RunError("r"), 0])
    assert exit_of(actions, *sweep) == 4
    assert next(actions, "all done") == "all done"


@pytest.mark.slow
def test_an_interrupt_ends_a_sweep(tmp_path: Path) -> None:
    actions = iter([0, KeyboardInterrupt(), AssertionError("goes on")])
    sweep = ("-m", "min_overlap=0.1,0.2,0.3", f"output={tmp_path}/${{min_overlap}}")
    assert exit_of(actions, *sweep) == 130
    assert isinstance(next(actions), AssertionError)


def test_the_entry_point_names_the_stages(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, code in (([], 0), (["--help"], 0), (["trian"], 2)):
        monkeypatch.setattr(sys, "argv", ["lnq", *arguments])
        with pytest.raises(SystemExit) as stop:
            lnq.__main__.main()
        assert stop.value.code == code
        said = capsys.readouterr()
        assert "lnq train" in (said.err if code else said.out)


def test_the_entry_point_becomes_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    become: list[list[str]] = []
    monkeypatch.setattr(lnq.__main__.os, "execv", lambda path, argv: become.append(argv))
    monkeypatch.setattr(sys, "argv", ["lnq", "train", "+experiment=dbdmp", "-m"])
    lnq.__main__.main()
    assert become == [[sys.executable, "-m", "lnq.train", "+experiment=dbdmp", "-m"]]
