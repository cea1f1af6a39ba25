"""Disks that fill up, memory that runs out, files that mean harm."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from lnq.errors import UsageError

OUT_OF_MEMORY = (
    MemoryError("Unable to allocate 656. MiB for an array"),
    RuntimeError("Exception thrown in SimpleITK ...\nFailed to allocate memory for image."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory"
    ),
    RuntimeError("std::bad_alloc"),
)
"""As numpy, ITK and torch say it."""


def fill_disk_under(path: Path) -> None:
    """The next atomic write of a file meets a device that is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{os.getpid()}.tmp.{path.name}").symlink_to("/dev/full")


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.marker,)


def refused(call: Callable[[Path], object], path: Path) -> str:
    """The message with which `call` refuses `path`: a user's mistake, naming the file."""
    with pytest.raises(UsageError) as caught:
        call(path)
    message = str(caught.value)
    assert caught.value.exit_code == 2
    assert path.name in message
    assert "\n" not in message
    return message
