"""Processes that cut patches: they end with the training, not before, and never in silence."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType
from typing import Any

SHARED = Path("/dev/shm")
SMALL = 1 << 30
"""Bytes of shared memory that a container may have to be given more than."""


def begin(_: int) -> None:
    """Called by torch's loader in a new worker.

    A signal to the whole process group, as schedulers and terminals send it, is the training's to
    answer: it ends its step and saves, for which it needs patches. A second SIGTERM ends a worker.
    What cannot be sent, for lack of shared memory, say, is lost in a thread of the queue's: the
    training would wait for it for ever, so the worker dies of it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _let_pass)
    Queue._on_queue_feeder_error = staticmethod(_die)  # type: ignore[attr-defined]


def shortage() -> str | None:
    """That there is little shared memory here, through which workers send patches."""
    try:
        total = shutil.disk_usage(SHARED).total
    except OSError:
        return None
    if total >= SMALL:
        return None
    return f"{SHARED} has {total >> 20} MB: give a container more (docker run --shm-size=2g)"


def _let_pass(signum: int, frame: FrameType | None) -> None:
    signal.signal(signum, signal.SIG_DFL)


def _die(error: BaseException, _: Any) -> None:
    line = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    sys.stderr.write(f"a patch could not be sent to the training: {line}\n")
    sys.stderr.flush()
    os._exit(1)
