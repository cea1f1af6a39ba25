"""Files appear whole or not at all, and every output folder says where it came from."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from lnq.errors import LnqError, UsageError
from lnq.locks import held

MANIFEST = "manifest.json"
FAILURES = "failures.json"
LOCK = ".lock"
_LEFTOVER = re.compile(r"\.(\d+)\.tmp\..*", re.DOTALL)
RECORDED_PACKAGES = (
    "lnq", "torch", "pytorch-lightning", "torchio", "monai", "hydra-core", "numpy", "SimpleITK",
)  # fmt: skip


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Gives a temporary path beside `path`; it takes the final name only if the block succeeds.

    The file is flushed to disk before it is renamed, so that neither a kill nor a full disk leaves
    half a file under its final name. The temporary name keeps all suffixes, because writers choose
    the format by them.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.tmp.{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as handle:
            os.fsync(handle.fileno())
        temporary.replace(path)
    except OSError as error:
        error.filename = error.filename or str(path)  # which a full disk does not say
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes UTF-8 text atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; NaN and infinities are refused, None stands for them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, default=str) + "\n")


@contextmanager
def sole_user(folder: Path, *, all_ours: bool = True) -> Iterator[None]:
    """Makes an output folder and keeps other runs out of it while the block runs.

    What a killed run was writing in it goes. What lies in folders that have such a user of their
    own is theirs.

    Args:
        folder: The folder.
        all_ours: Whether it is the stage's own; else nothing in it is looked at.

    Raises:
        UsageError: The folder cannot be written, another run is at work in it, or a link in it
            leads out of it: what is written there would replace other files.
    """
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(held(folder / LOCK))
        except BlockingIOError as error:
            raise UsageError(
                "another run is writing into this folder", where=folder,
                why=str(error) if error.errno is None else None,
                remedy="wait for its end, or choose another folder",
            ) from error  # fmt: skip
        except OSError as error:
            raise UsageError(
                "cannot write the output folder", where=folder, why=error.strerror,
                remedy="choose another one with output=DIR (run_dir=DIR in training)",
            ) from error  # fmt: skip
        for path in _own_content(folder) if all_ours else ():
            if leftover := _LEFTOVER.fullmatch(path.name):
                if int(leftover[1]) != os.getpid():
                    _remove(path)
            elif path.is_symlink() and path.is_dir():  # others are replaced, not followed
                require_inside(path, folder)
        yield


def require_inside(path: Path, folder: Path) -> Path:
    """The path, unless it is a link that leads out of a folder, perhaps a stranger's.

    Raises:
        UsageError: It does.
    """
    if path.is_symlink() and not path.resolve().is_relative_to(folder.resolve()):
        raise UsageError(
            "a link leads out of the folder", where=path, why=f"to {path.readlink()}",
            remedy="remove it, or name the folder behind it where one can be chosen",
        )  # fmt: skip
    return path


def _own_content(folder: Path) -> Iterator[Path]:
    """What lies below a folder, except in those with a lock of their own, and W&B's."""
    for place, folders, names in os.walk(folder):
        if Path(place) != folder and LOCK in names:
            folders.clear()
            continue
        yield from (Path(place, name) for name in (*folders, *names))
        folders[:] = [n for n in folders if n != "wandb" and not _LEFTOVER.fullmatch(n)]


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def require_writable(path: Path) -> None:
    """Refuses a file that cannot be written, before the work whose result it is to hold.

    Raises:
        UsageError: Its folder cannot be made or written, or it is a folder itself.
    """
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UsageError(
            "cannot write the output", where=path, why=error.strerror,
            remedy="choose another one with output=FILE",
        ) from error  # fmt: skip


def read_json(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        LnqError: The file is missing or no JSON.
    """
    try:
        # utf-8-sig: programs of Windows write a byte-order mark
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise LnqError("cannot read", where=path, why=str(error)) from error


def sha256(*paths: Path) -> str:
    """SHA-256 of the bytes of files, one after another; a folder's in the order of their names."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(f for f in path.rglob("*") if f.is_file()) if path.is_dir() else [path]:
            with file.open("rb") as handle:
                while block := handle.read(1 << 20):
                    digest.update(block)
    return digest.hexdigest()


def write_manifest(
    folder: Path, stage: str, config: Mapping[str, Any], **facts: Any
) -> dict[str, Any]:
    """Writes `folder/manifest.json`.

    Args:
        folder: The stage's output folder.
        stage: As for `provenance`.
        config: As for `provenance`.
        **facts: What else the stage records, such as input hashes.

    Returns:
        What was written.
    """
    manifest = {**provenance(stage, config), **facts}
    write_json(folder / MANIFEST, manifest)
    return manifest


def provenance(stage: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """Where output comes from: command, versions, git commit, configuration.

    Args:
        stage: Name of the command.
        config: The resolved configuration, plain types.
    """
    return {
        "stage": stage,
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(),
        "config": config,
    }


class FailureLog:
    """Collects the cases that failed, so that the others can go on."""

    def __init__(self) -> None:
        self.entries: list[dict[str, str | None]] = []

    def add(self, case_id: str, error: LnqError) -> None:
        """Records one failed case."""
        self.entries.append(
            {
                "case": case_id,
                "what": error.what,
                "where": error.where,
                "why": error.why,
                "remedy": error.remedy,
            }
        )

    def write(self, folder: Path) -> int:
        """Writes `folder/failures.json` (or removes an old one); gives the exit code, 0 or 3."""
        if not self.entries:
            (folder / FAILURES).unlink(missing_ok=True)
            return 0
        write_json(folder / FAILURES, self.entries)
        return 3

    @staticmethod
    def cases(folder: Path) -> set[str]:
        """Ids of the cases in `folder/failures.json`; none where it is missing or damaged."""
        try:
            return {entry["case"] for entry in read_json(folder / FAILURES)}
        except (LnqError, TypeError, KeyError):
            return set()


def _versions() -> dict[str, str]:
    versions = {}
    for name in RECORDED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def _git_commit() -> str | None:
    """The commit of this code; git gets no settings from its variables, nor a program to run."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        result = subprocess.run(
            ["git", "-c", "core.fsmonitor=false", "-C", str(Path(__file__).parent),
             "describe", "--always", "--dirty"],
            capture_output=True, text=True, timeout=10, check=True,
            env={**environment, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip()
