"""A lock that ends with its process, on disks that have locks and on those that have none."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

OWNER = ".owner"
"""Suffix of the file that names who holds a lock, on a disk without locks of its own."""


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Holds a lock while the block runs.

    It is the operating system's, which a kill frees. Where the disk has none, as network disks
    often, it is a file beside that names machine, process and its beginning: who finds it sees
    whether that process still lives, and takes over if not.

    Args:
        path: The lock's file; made if it is not there, never followed as a link, never emptied.

    Raises:
        BlockingIOError: Another process holds it; says which, where that is known.
        OSError: The file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
    _handles.add(handle)
    owner = None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # the disk has no locks
            owner = _own(path.with_name(path.name + OWNER))
        yield
    finally:
        if owner is not None:
            owner.unlink(missing_ok=True)
        _handles.discard(handle)
        os.close(handle)


def _own(path: Path) -> Path:
    """Makes the owner's file, in place of one whose process has ended.

    Raises:
        BlockingIOError: Its process lives, or may live.
    """
    with suppress(FileExistsError):
        return _written(path)
    before = path.read_bytes()
    if _may_live(before):
        raise BlockingIOError(f"{_told(before)}; if that has ended, remove {path}")
    # Two may find it dead at once: each moves what it finds, and sees whether that was the dead's.
    moved = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        path.rename(moved)
        if moved.read_bytes() != before:
            os.link(moved, path)
            raise BlockingIOError("another process took it over just now")
        return _written(path)
    except (FileNotFoundError, FileExistsError) as error:
        raise BlockingIOError("another process took it over just now") from error
    finally:
        moved.unlink(missing_ok=True)


def _written(path: Path) -> Path:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
    with os.fdopen(handle, "w") as file:
        json.dump(_identity(os.getpid()), file)
    return path


def _identity(pid: int) -> dict[str, Any]:
    """Machine, boot and process; the beginning tells a process from a later one of its number."""
    with suppress(OSError):
        stat = Path("/proc", str(pid), "stat").read_text()
        started = stat.rpartition(")")[2].split()[19]
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = str(Path("/proc/self/ns/pid").readlink())
        return {"host": socket.gethostname(), "boot": boot, "space": space, "pid": pid,
                "started": started}  # fmt: skip
    return {"host": socket.gethostname(), "pid": pid}


def _may_live(record: bytes) -> bool:
    try:
        owner = json.loads(record)
        same_host, pid = owner["host"] == socket.gethostname(), int(owner["pid"])
    except (ValueError, TypeError, KeyError):
        return True
    here = _identity(os.getpid())
    if not same_host:
        return True
    if owner.get("boot") != here.get("boot"):
        return False
    return owner.get("space") != here.get("space") or owner == _identity(pid)


def _told(record: bytes) -> str:
    with suppress(ValueError, TypeError, KeyError):
        owner = json.loads(record)
        return f"process {owner['pid']} on {owner['host']}"
    return "an unknown process"


def _let_go() -> None:
    """In a forked process, such as a loader's worker: it may live on when its parent is killed."""
    for handle in _handles:
        os.close(handle)
    _handles.clear()


_handles = set[int]()
os.register_at_fork(after_in_child=_let_go)
