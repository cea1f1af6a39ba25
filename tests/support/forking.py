"""The process that `support.forked` forks from: `python forking.py SOCKET`."""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import sys
import types
from pathlib import Path
from typing import Any


def serve(control: socket.socket) -> dict[str, Any] | None:
    """Forks for each request; returns what to become in the forked, None at the end of all."""
    while True:
        begin, ends, _, _ = socket.recv_fds(control, 4, 4)
        if not begin:
            return None
        size, told = int.from_bytes(begin, "big"), b""
        while len(told) < size:
            told += control.recv(size - len(told))
        if os.fork() == 0:
            control.close()
            become = _begin(json.loads(told), *ends)
            if become is not None:
                return become
        for end in ends:
            os.close(end)


def _begin(
    told: dict[str, Any], out: int, errors: int, tell_begun: int, tell_ended: int
) -> dict[str, Any] | None:
    """One that waits and tells the exit code, and its child, which returns."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    child = os.fork()
    if child:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a group's signals are meant for the child
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.write(tell_begun, f"{child}\n".encode())
        for end in (out, errors, tell_begun):
            os.close(end)
        _, status = os.waitpid(child, 0)
        os.write(tell_ended, f"{os.waitstatus_to_exitcode(status)}\n".encode())
        os._exit(0)
    if told["session"]:
        os.setsid()
    os.dup2(out, 1)
    os.dup2(errors, 2)
    for end in {out, errors, tell_begun, tell_ended} - {1, 2}:
        os.close(end)
    return told


def become(told: dict[str, Any]) -> None:
    """Runs as the interpreter would with those arguments."""
    # As it opens them at its beginning.
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", encoding="utf-8", closefd=False)
    sys.stderr = sys.__stderr__ = os.fdopen(
        2, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
    )
    os.chdir(told["cwd"])
    os.environ.clear()
    os.environ.update(told["environment"])
    kind, *rest = told["arguments"]
    if kind == "-m":
        module, *given = rest
        sys.argv = [module, *given]
        sys.path.insert(0, told["cwd"])
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        return
    sys.argv = [kind, *(rest[1:] if kind == "-c" else rest)]
    sys.path.insert(0, "" if kind == "-c" else str(Path(kind).resolve().parent))
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    code = rest[0] if kind == "-c" else Path(kind).read_text()
    if kind != "-c":
        main.__file__ = kind  # processes that it spawns run it again
    exec(compile(code, "<string>" if kind == "-c" else kind, "exec"), main.__dict__)


if __name__ == "__main__":
    del sys.path[0]  # the folder of this file
    gc.collect()
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # those that wait are not waited for
    signal.signal(signal.SIGINT, signal.default_int_handler)
    told = serve(socket.socket(fileno=int(sys.argv[1])))
    if told is not None:
        become(told)
