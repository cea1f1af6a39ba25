"""Reads every voxel byte of a file once: damage is found before a native reader hides it."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lnq.data.readers.header import Header, refusal
from lnq.volume import Array

_BLOCK = 1 << 24
_COPY_AGAIN = "copy or export the file again"


def check_payload(header: Header) -> int:
    """Unpacks the whole stream and compares it with the header.

    Checks the stream's own checksum (gzip's CRC, zlib's Adler), that there are exactly as many
    bytes as the header promises, and that floating-point voxels are finite *as stored*: some
    readers turn NaN into 0 HU.

    Args:
        header: A header that has passed `check_header`.

    Returns:
        CRC-32 of the stored voxels.

    Raises:
        CaseError: The payload is damaged, too short, too long, or holds NaN or infinity.
    """
    if header.compression == "none":
        _check_plain_length(header)
    seen, checksum, rest = 0, 0, b""
    not_finite = 0
    try:
        for block in _blocks(header):
            seen += len(block)
            checksum = zlib.crc32(block, checksum)
            if seen > header.num_bytes:
                break
            if header.dtype.kind == "f":
                data = rest + block
                usable = len(data) - len(data) % header.dtype.itemsize
                values = np.frombuffer(data[:usable], header.dtype)
                not_finite += int(values.size - np.isfinite(values).sum())
                rest = data[usable:]
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise refusal(
            header.path, f"the compressed voxels are damaged or cut off ({error})", _COPY_AGAIN
        ) from error
    _compare_length(header, seen)
    if not_finite:
        raise refusal(
            header.path, f"{not_finite} voxels are NaN or infinite", "replace them by the HU of air"
        )
    return checksum


def stored_values(header: Header) -> Iterator[Array]:
    """The stored values, piece by piece, of a file that has passed `check_payload`."""
    rest = b""
    for block in _blocks(header):
        data = rest + block
        usable = len(data) - len(data) % header.dtype.itemsize
        yield np.frombuffer(data[:usable], header.dtype)
        rest = data[usable:]


def _check_plain_length(header: Header) -> None:
    size = header.payload.stat().st_size
    _compare_length(header, size - (header.offset or 0) - header.skip, at_end=header.offset is None)


def _compare_length(header: Header, length: int, at_end: bool = False) -> None:
    if length < header.num_bytes or (length > header.num_bytes and not at_end):
        shown = " x ".join(map(str, header.size_xyz))
        held = "more" if length > header.num_bytes else str(max(length, 0))
        raise refusal(
            header.path,
            f"the header promises {header.num_bytes} bytes of voxels ({shown}, "
            f"{header.dtype.name}), the file holds {held}",
            _COPY_AGAIN,
        )


def _blocks(header: Header) -> Iterator[bytes]:
    """The unpacked voxel bytes, block by block; one byte too many shows up, not all of them."""
    if header.compression == "zlib":
        yield from _zlib_blocks(header.payload, header.offset or 0)
        return
    with header.payload.open("rb") as raw:
        if header.offset is None:
            raw.seek(-header.num_bytes, 2)
        else:
            raw.seek(header.offset)
        stream = gzip.GzipFile(fileobj=raw) if header.compression == "gzip" else raw
        skipped = stream.read(header.skip)  # short: the offset was checked
        if len(skipped) < header.skip:
            raise EOFError("the stream ends before the first voxel")
        while block := stream.read(_BLOCK):
            yield block


def _zlib_blocks(path: Path, offset: int) -> Iterator[bytes]:
    unpack = zlib.decompressobj()
    with path.open("rb") as raw:
        raw.seek(offset)
        pending = b""
        while not unpack.eof:
            pending = pending or raw.read(1 << 20)
            if not pending:
                raise EOFError("the stream ends too early")
            yield unpack.decompress(pending, _BLOCK)
            pending = unpack.unconsumed_tail
        if unpack.unused_data or raw.read(1):
            raise zlib.error("there are bytes behind the end of the stream")
