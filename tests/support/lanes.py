"""What a test costs is written on it: `process`, `training`, `slow`; without a mark it is quick.

`make quick` leaves the marked tests out. So that nothing slips in, and none is left out for
nothing, marks are held to what happens: a test without any fails where it starts a process or
trains, or where it takes long, and one marked `process` or `training` that does neither fails at
its end. A fixture that tests share counts for each of them, whichever came first.

In quick tests a warning is an error (pyproject.toml lists the exceptions). Marked ones show theirs:
what libraries say while they train or start processes depends on the machine.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections import defaultdict
from collections.abc import Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

WATCHED = {"process": "starts a process", "training": "trains"}
HEAVY = frozenset({*WATCHED, "slow"})
QUICK_SECONDS = 10.0
"""CPU time that no quick test comes near: most take a tenth of a second."""

TOOLS = {"git", "fc-list", "uname", "wandb-core"}
"""What manifests and libraries start in passing, some of it once a machine or once a process."""


class Watch:
    """What the present test may do, and did."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.marks: frozenset[str] = HEAVY  # between tests
        self.done: set[str] = set()
        self.by_fixture: dict[tuple[str, str], set[str]] = defaultdict(set)

    def begin(self, item: pytest.Item) -> None:
        self.marks = HEAVY.intersection(mark.name for mark in item.iter_markers())
        self.done = set()

    def note(self, kind: str) -> None:
        if os.getpid() != self.pid:
            return  # in a child that was forked
        self.done.add(kind)
        if not self.marks:
            pytest.fail(f"this test {WATCHED[kind]}: mark it `{kind}`")

    def shared_by(self, item: pytest.Item) -> set[str]:
        """What fixtures that the test shares with others did for whoever came first."""
        names = getattr(item, "fixturenames", ())
        return {
            kind
            for (place, name), kinds in self.by_fixture.items()
            if name in names and item.nodeid.startswith(place)
            for kind in kinds
        }


watch = Watch()


def _hear(event: str, given: tuple[Any, ...]) -> None:
    if event == "subprocess.Popen":
        command = given[1]
        program = command.split()[0] if isinstance(command, str) else os.fspath(command[0])
        if Path(program).name not in TOOLS:
            watch.note("process")
    elif event in ("os.fork", "os.forkpty", "os.posix_spawn", "os.system"):
        watch.note("process")


def _watched(function: Any, kind: str) -> Any:
    def noted(*arguments: Any, **options: Any) -> Any:
        watch.note(kind)
        return function(*arguments, **options)

    noted.__wrapped__ = function
    return noted


def _watch_trainers() -> None:
    """Once Lightning is there; importing it for a test of files alone would take seconds."""
    if "training" in watch.marks:
        importlib.import_module("pytorch_lightning")
    if module := sys.modules.get("pytorch_lightning"):
        fit = getattr(getattr(module, "Trainer", None), "fit", None)
        if fit is not None and not hasattr(fit, "__wrapped__"):
            module.Trainer.fit = _watched(fit, "training")


def pytest_configure(config: pytest.Config) -> None:
    sys.addaudithook(_hear)
    BaseProcess.start = _watched(BaseProcess.start, "process")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HEAVY.intersection(mark.name for mark in item.iter_markers()):
            item.add_marker(pytest.mark.filterwarnings("default"), append=False)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[Any]) -> Generator[None, object, object]:
    if fixturedef.scope == "function":
        return (yield)
    before, watch.done = watch.done, set()
    try:
        return (yield)
    finally:
        watch.by_fixture[fixturedef.baseid, fixturedef.argname] |= watch.done
        watch.done |= before


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    watch.begin(item)
    _watch_trainers()
    try:
        return (yield)
    finally:
        watch.marks = HEAVY


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    _watch_trainers()
    begun = time.process_time()
    result = yield  # raises where the test fails or is skipped
    seconds = time.process_time() - begun
    done = watch.done | watch.shared_by(item)
    idle = watch.marks & WATCHED.keys()
    if done and not watch.marks:
        pytest.fail(f"a fixture of this test {WATCHED[min(done)]}: mark it `{min(done)}`")
    if idle and not done:
        pytest.fail(f"this test is marked {', '.join(sorted(idle))}, and does neither")
    if seconds > QUICK_SECONDS and not watch.marks:
        pytest.fail(f"this test took {seconds:.0f} s of CPU time: mark it `slow`, or make it quick")
    return result
