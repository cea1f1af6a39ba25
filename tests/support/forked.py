"""Processes of their own that have everything imported: forked from one that does nothing else.

A process that a test starts would import for seconds what the test's own one has long imported.
Here one process a session imports it and forks for each that is asked for. What it forks becomes
`python -m MODULE`, `python -c CODE` or `python SCRIPT`, with arguments, folder, environment and
streams of its own, default signals, and the interpreter's own end: exit code, handlers, flushing.
What the interpreter reads when it begins, as PYTHONIOENCODING, is not seen, nor are the variables
that libraries read when they are imported; tests of those start a real process.

`start` and `run` are `subprocess.Popen` and `subprocess.run` as far as tests need them.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from support.lanes import watch

SERVER = Path(__file__).with_name("forking.py")


class Forked:
    """A process that was forked, with what it writes.

    Attributes:
        pid: Its id.
        returncode: Its exit code, once it is known; less than 0 for the signal that ended it.
        stdout: What it writes, to be read while it runs; None where it is given.
        stderr: What it wrote of errors, complete once it has ended.
    """

    def __init__(self, pid: int, ended: IO[str], stdout: IO[str] | None, stderr: IO[str]) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.stdout = stdout
        self.stderr = stderr
        self._ended = ended

    def send_signal(self, sent: int) -> None:
        """Sends it a signal."""
        os.kill(self.pid, sent)

    def wait(self, timeout: float) -> int:
        """Waits for its end; its exit code.

        Raises:
            TimeoutExpired: It did not end within so many seconds, and was killed.
        """
        if self.returncode is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                self.send_signal(signal.SIGKILL)
                raise subprocess.TimeoutExpired([str(self.pid)], timeout)
            self.returncode = int(self._ended.readline())
            self._ended.close()
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Waits for its end; what it wrote since, and its errors."""
        deadline, written = time.monotonic() + timeout, b""
        if self.stdout is not None:
            # Whoever holds the stream open beyond its end is waited for, as with a real one.
            while select.select([self.stdout], [], [], max(0.0, deadline - time.monotonic()))[0]:
                part = os.read(self.stdout.fileno(), 1 << 16)
                if not part:
                    break
                written += part
            self.stdout.close()
        self.wait(max(0.0, deadline - time.monotonic()))
        self.stderr.seek(0)
        errors = self.stderr.read()
        self.stderr.close()
        return written.decode(), errors


def start(
    command: Sequence[str | os.PathLike[str]], *, stdout: int | None = None,
    cwd: str | os.PathLike[str] | None = None, env: Mapping[str, str] | None = None,
    start_new_session: bool = False,
) -> Forked:  # fmt: skip
    """Starts `[sys.executable, "-m", MODULE, ...]`, or `-c`, or a script, with everything imported.

    Args:
        command: As for `subprocess.Popen`.
        stdout: A descriptor to write to; a pipe where it is left out.
        cwd: Its folder.
        env: Its environment.
        start_new_session: Whether it leads a session and group of its own.
    """
    watch.note("process")
    program, *arguments = map(os.fspath, command)
    assert program == sys.executable
    assert arguments[0] in ("-m", "-c") or not arguments[0].startswith("-")
    told = {"arguments": arguments, "cwd": os.fspath(cwd or Path.cwd()),
            "environment": dict(os.environ if env is None else env),
            "session": start_new_session}  # fmt: skip
    begun, tell_begun = os.pipe()
    ended, tell_ended = os.pipe()
    reading, writing = (None, stdout) if stdout is not None else os.pipe()
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (read once the process has ended)
    server = _server()
    request = json.dumps(told).encode()
    ends = [writing, errors.fileno(), tell_begun, tell_ended]
    socket.send_fds(server, [len(request).to_bytes(4, "big")], ends)
    server.sendall(request)
    for end in (tell_begun, tell_ended, *([writing] if stdout is None else [])):
        os.close(end)
    with os.fdopen(begun) as told_pid:
        pid = int(told_pid.readline())
    output = None if reading is None else os.fdopen(reading, "r", buffering=1)
    return Forked(pid, os.fdopen(ended), output, errors)


def run(
    command: Sequence[str | os.PathLike[str]], *, timeout: float = 120, check: bool = False,
    stdout: int | None = None, cwd: str | os.PathLike[str] | None = None,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:  # fmt: skip
    """`start`, and waits for its end."""
    process = start(command, stdout=stdout, cwd=cwd, env=env)
    out, errors = process.communicate(timeout)
    assert process.returncode is not None
    done = subprocess.CompletedProcess(list(command), process.returncode, out, errors)
    if check:
        done.check_returncode()
    return done


@functools.cache
def _server() -> socket.socket:
    """The process that forks; it ends with this one."""
    ours, theirs = socket.socketpair()
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    process = subprocess.Popen(
        [sys.executable, SERVER, str(theirs.fileno())], pass_fds=[theirs.fileno()],
        stdin=subprocess.DEVNULL,
        env={**os.environ, **threads, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(timeout=20)

    atexit.register(end)
    return ours
