"""`lnq.train` up to its checked configuration, and what it refuses: fixtures of all tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from lnq.runs.configuration import TrainConfig


@pytest.fixture
def refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    train: Callable[..., int],
) -> Callable[..., str]:
    """`refused(*arguments)` runs lnq.train, which must refuse and write nothing; what it said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> str:
        before = sorted(tmp_path.rglob("*"))
        assert train(*arguments) == 2
        assert sorted(tmp_path.rglob("*")) == before
        said = capsys.readouterr()
        assert said.out == ""
        assert "Traceback" not in said.err
        assert said.err.startswith("error:")
        return said.err

    return run


def composed_jobs(*arguments: str) -> list[TrainConfig]:
    """The checked configuration of each job that `lnq.train` would run."""
    from lnq.config import command
    from lnq.train import GIVEN, TrainConfig

    seen: list[TrainConfig] = []

    @command("train", TrainConfig, given=GIVEN)
    def record(cfg: TrainConfig) -> int:
        seen.append(cfg)
        return 0

    with pytest.raises(SystemExit) as stop:
        record(list(arguments))
    assert not stop.value.code
    return seen


@pytest.fixture
def composed() -> Callable[..., list[TrainConfig]]:
    """`composed(*arguments)` is `composed_jobs`."""
    return composed_jobs
