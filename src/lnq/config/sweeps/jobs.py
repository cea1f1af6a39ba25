"""The jobs of a sweep: run, skipped where they are finished, counted at the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lnq.console import console

Launch = Callable[[Sequence[Sequence[str]], int], Sequence[Any]]
"""Hydra's launcher: the overrides of each job and the first one's number -> `JobReturn`s."""


@runtime_checkable
class Resumable(Protocol):
    """The checked configuration of a command whose jobs have folders of their own."""

    run_dir: Path

    def is_finished(self) -> bool:
        """Whether all that the run is to leave stands; refuses a folder of another run."""

    def require_logged(self, metric: str) -> None:
        """Refuses a metric that the run will not log."""


@dataclass(frozen=True)
class SweepJob:
    """One job.

    Attributes:
        name: Its folder in the sweep's.
        overrides: All of its Hydra overrides.
        config: Its checked configuration.
    """

    name: str
    overrides: list[str]
    config: Any

    def is_finished(self) -> bool:
        """Whether there is nothing left to do."""
        return isinstance(self.config, Resumable) and self.config.is_finished()


def run_all(jobs: Sequence[SweepJob], folder: Path, launch: Launch) -> list[int]:
    """Runs the jobs that are not finished; the exit code of each."""
    finished = [job for job in jobs if job.is_finished()]
    left = [job for job in jobs if job not in finished]
    say(f"sweep: {len(jobs)} jobs, in {folder}")
    if finished:
        names = ", ".join(job.name for job in finished)
        say(f"{len(finished)} are finished and skipped: {names}")
    if not left:  # some launchers cannot run nothing
        return []
    codes = [result.return_value for result in launch([job.overrides for job in left], 0)]
    failed = [
        f"{job.name} (exit code {code})" for job, code in zip(left, codes, strict=True) if code
    ]
    if failed:
        say(f"not finished: {', '.join(failed)}; the same command goes on with them")
    return codes


def say(text: str) -> None:
    """Prints a line as it is."""
    console().print(text)
