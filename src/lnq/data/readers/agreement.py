"""A native reader's word against the header's and the stored voxels'."""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

from lnq.data.readers.header import Header, check_geometry, refusal
from lnq.data.readers.payload import stored_values
from lnq.volume import Array, Volume

# Headers with 32-bit floats round; a reader that places a scan further away read another header.
_TOLERANCE_MM = 0.1
# Of a scaled value's terms: readers scale in 32 bits.
_SCALED_TOLERANCE = 1e-6
_PIECE = 1 << 20


def check_agreement(header: Header, volume: Volume, checksum: int) -> None:
    """Refuses a file in which a native reader sees another place or other values.

    Args:
        header: The header of a file that has passed `check_payload`.
        volume: What the reader made of it.
        checksum: What `check_payload` returned.

    Raises:
        CaseError: The file can be read in two ways.
    """
    _check_place(header, volume)
    check_values(header, volume.array, checksum)


def check_values(header: Header, array: Array, checksum: int) -> None:
    """Refuses values that are not the stored ones by the header's scale; all are compared.

    Args:
        header: As for `check_agreement`.
        array: As read, the fastest axis last.
        checksum: As for `check_agreement`: where it fits, the file need not be unpacked again.

    Raises:
        CaseError: The file can be read in two ways.
    """
    flat = array.reshape(-1)
    if header.scale == (1.0, 0.0) and _checksum(flat, header.dtype) == checksum:
        return
    begin = 0
    for block in stored_values(header):
        for start in range(0, len(block), _PIECE):
            stored = block[start : start + _PIECE]
            compare(header.path, stored, header.scale, flat[begin : begin + len(stored)])
            begin += len(stored)


def _check_place(header: Header, volume: Volume) -> None:
    grid = volume.grid
    check_geometry(header.path, grid.matrix, grid.origin_mm)
    promised = header.grid()
    difference = promised and promised.difference(grid, _TOLERANCE_MM)
    if difference:
        raise refusal(
            header.path,
            f"its header can be read in two ways: {difference}",
            "save it with another program",
        )


def _checksum(values: Array, dtype: np.dtype[np.generic]) -> int | None:
    """CRC-32 of values as they are stored; None where the reader has changed their type."""
    if values.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        return None
    checksum = 0
    for start in range(0, len(values), _PIECE):
        piece = values[start : start + _PIECE].astype(dtype, copy=False)
        checksum = zlib.crc32(piece.data, checksum)
    return checksum


def compare(path: Path, stored: Array, scale: tuple[float, float], read: Array) -> None:
    """Refuses values that are not the stored ones by their scale.

    Args:
        path: The file, for the message.
        stored: As they stand in it.
        scale: Slope and intercept.
        read: As a reader gives them, in the shape of `stored`.

    Raises:
        CaseError: As said; the first such value is named.
    """
    slope, intercept = scale
    if (slope, intercept) == (1.0, 0.0):
        meant, off = stored, stored != read
    else:
        scaled = stored.astype(float) * slope
        meant = scaled + intercept
        off = ~(np.abs(meant - read) <= _SCALED_TOLERANCE * (np.abs(scaled) + abs(intercept)))
    if off.any():
        first = int(off.argmax())
        was, means, gives = (float(v.reshape(-1)[first]) for v in (stored, meant, read))
        raise refusal(
            path,
            f"its values can be read in two ways: {was:g} is stored and {means:g} meant, a reader "
            f"gives {gives:g}",
            "save it with another program",
        )
