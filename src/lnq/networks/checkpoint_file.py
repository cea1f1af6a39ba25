"""A checkpoint's file: read once, and only what its checksums vouch for is loaded.

Such a file may come from a stranger or a failing disk. Its bytes are read once; their hash, the
checks and the loading all refer to these bytes. PyTorch finds an archive's records by another way
than the checksums do, so that a damaged table of contents could give it other weights: it gets the
checked records in a fresh archive.
"""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from lnq.errors import UsageError
from lnq.networks import original

PREVIOUS = ".previous"
"""Suffix of the checkpoint that the newest one replaced."""

RECORD = "lnq"
"""Entry of a checkpoint that `lnq.train` writes beside Lightning's."""
CHECKSUM = "content_sha256"
"""In the record: the hash of all that the file holds, by `values_hash`."""

MOST_VALUES = 1_000_000
"""Checkpoints hold a few thousand; shared lists in lists can stand for any number."""
DEEPEST = 32
MOST_BYTES = 1 << 30
"""Of tensors beyond what was saved of them: their values may be spread over any size."""

# How torch.save began its files before PyTorch 1.6: a pickled magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# What zipfile and the unpickler raise, by trial, where single bytes of a checkpoint are wrong.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, UnpicklingError, AttributeError, EOFError,
    ArithmeticError, LookupError, MemoryError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class CheckpointFile:
    """What a checkpoint file holds.

    Attributes:
        path: Where it lay.
        sha256: Of the bytes that were loaded.
        contents: Tensors and plain data.
    """

    path: Path
    sha256: str
    contents: dict[str, Any]


def load_file(path: Path) -> CheckpointFile:
    """Loads a checkpoint file without running any code from it.

    Raises:
        UsageError: The file is gone, damaged, no checkpoint, holds more than plain data or more of
            it than any checkpoint does, or is of a format that has no checksums: in it, a wrong
            weight could not be told from a right one.
    """
    previous = path.with_name(path.name + PREVIOUS)
    remedy = f"use the one before, {previous}" if previous.exists() else "use another checkpoint"
    try:
        digest, checked = _checked_archive(path.read_bytes())
    except DAMAGE as error:
        why = _first_line(error)
        raise UsageError("damaged checkpoint", where=path, why=why, remedy=remedy) from error
    if checked is None:
        raise UsageError(
            "an old file format without checksums",
            where=path,
            why="it was saved as PyTorch before 1.6 did",
            remedy="if you trust the file, load it and save it again with a current PyTorch",
        )
    try:
        with torch.serialization.safe_globals(original.NUMPY_GLOBALS):
            contents = torch.load(checked, map_location="cpu", weights_only=True)
        _require_plain(contents)
    except DAMAGE as error:
        raise UsageError(
            "not loaded: the checkpoint is damaged or holds more than tensors and plain data",
            where=path,
            why=_first_line(error),
            remedy=remedy,
        ) from error
    if not isinstance(contents, dict):
        raise UsageError("no checkpoint", where=path, why=f"it holds a {type(contents).__name__}")
    record = contents.get(RECORD)
    written = record.get(CHECKSUM) if isinstance(record, dict) else None
    if written is not None and written != values_hash(contents):
        raise UsageError(
            "damaged checkpoint", where=path, why="it holds other values than lnq.train wrote",
            remedy=remedy,
        )  # fmt: skip
    return CheckpointFile(path, digest, contents)


def values_hash(contents: Mapping[str, Any]) -> str:
    """SHA-256 of every tensor and value that a checkpoint holds, its own hash left out."""
    digest = hashlib.sha256()
    for part in _parts(contents):
        digest.update(part)
    return digest.hexdigest()


def _parts(value: Any, place: tuple[Any, ...] = ()) -> Iterator[bytes | memoryview]:
    if isinstance(value, Tensor):
        yield f"{value.dtype}{tuple(value.shape)}".encode()
        plain = value.detach().cpu().contiguous().reshape(-1)
        yield plain.view(torch.uint8).numpy().data
    elif isinstance(value, Mapping):
        yield b"{"
        for key, inner in value.items():
            if (*place, key) != (RECORD, CHECKSUM):
                yield f"{key!r}:".encode()
                yield from _parts(inner, (*place, key))
        yield b"}"
    elif isinstance(value, list | tuple):
        yield b"["
        for number, inner in enumerate(value):
            yield from _parts(inner, (*place, number))
        yield b"]"
    else:
        yield f"{value!r},".encode()


def _checked_archive(raw: bytes) -> tuple[str, io.BytesIO | None]:
    """The hash, and an archive of records whose checksums are right; None: the format has none.

    Raises:
        ValueError: A record is there twice, or compressed, which PyTorch's never are: it may be of
            any size.
        zipfile.BadZipFile: A checksum is wrong.
    """
    digest = hashlib.sha256(raw).hexdigest()
    if raw.startswith(LEGACY_START):
        return digest, None
    checked = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(raw)) as archive,
        zipfile.ZipFile(checked, "w") as fresh,
    ):
        for entry in archive.infolist():
            if entry.filename in fresh.NameToInfo:
                raise ValueError(f"{entry.filename} is there twice")
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > len(raw):
                raise ValueError(f"{entry.filename} is compressed")
            try:
                record = archive.read(entry)
            except zipfile.BadZipFile as error:
                raise zipfile.BadZipFile(f"bad checksum of {entry.filename}") from error
            fresh.writestr(entry.filename, record)
    checked.seek(0)
    return digest, checked


def _require_plain(contents: Any) -> None:
    """Refuses what takes for ever to look at, or more memory than the file has bytes.

    Raises:
        ValueError: Lists in lists without end, too many values, or tensors that are no array.
    """
    left, spread, waiting = MOST_VALUES, 0, [(contents, 0)]
    while waiting:
        value, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > DEEPEST:
            raise ValueError("it holds lists in lists, more of them than any checkpoint")
        if isinstance(value, Mapping):
            waiting += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, list | tuple | set | frozenset):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, Tensor):
            spread += _spread(value)
            if spread > MOST_BYTES:
                raise ValueError("it holds tensors much larger than what was saved of them")
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise ValueError("it holds a number of more than 64 bits")


def _spread(tensor: Tensor) -> int:
    """Bytes of a tensor beyond those of its storage.

    Raises:
        ValueError: It is no plain array in memory.
    """
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided or tensor.is_quantized:
        raise ValueError(f"it holds a tensor of another kind ({tensor.device}, {tensor.layout})")
    return max(0, tensor.numel() * tensor.element_size() - tensor.untyped_storage().nbytes())


def _first_line(error: BaseException) -> str:
    """The error's first line, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
