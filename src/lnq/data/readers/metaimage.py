"""MetaImage headers: `.mha` and `.mhd`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lnq.data.readers.header import Header, check_unit, refusal
from lnq.data.readers.names import describe_content
from lnq.data.readers.nrrd import detached_payload
from lnq.volume import Array

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_ORIGIN = ("Offset", "Position", "Origin")
_MATRIX = ("TransformMatrix", "Rotation", "Orientation")
_LONGEST_HEADER = 1 << 16


def parse_metaimage(path: Path) -> Header:
    """The header of a `.mha` or `.mhd` file.

    Args:
        path: The file.

    Raises:
        CaseError: No MetaImage, a field is missing or impossible, several channels, text instead of
            binary voxels, or a data file outside the header's folder.
    """
    fields, end = _fields(path)
    channels = _numbers(path, fields, ("ElementNumberOfChannels",), "1")
    if channels != [1.0]:
        raise refusal(path, "its voxels have several channels", "export one channel")
    if not _flag(fields, "BinaryData", "True"):
        raise refusal(path, "its voxels are written as text", "save it as binary")
    check_unit(path, fields.get("DistanceUnits", ""))
    _check_intensity(path, fields)
    name = fields["ElementDataFile"]
    local = name.upper() == "LOCAL"
    compressed = _flag(fields, "CompressedData", "False")
    size = _size(path, fields)
    matrix, origin_mm, notes = _placement(path, fields, len(size))
    payload = path if local else detached_payload(path, name)
    offset = _offset(path, fields, end if local else 0, compressed)
    if compressed:
        _check_packed(path, fields, payload.stat().st_size - (offset or 0))
    return Header(
        path=path,
        payload=payload,
        offset=offset,
        skip=0,
        compression="zlib" if compressed else "none",
        size_xyz=size,
        dtype=_dtype(path, fields),
        matrix=matrix,
        origin_mm=origin_mm,
        notes=notes,
        reader="MetaImageIO",
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields, and where it ends: `ElementDataFile` is always its last line."""
    with path.open("rb") as handle:
        head = handle.read(_LONGEST_HEADER)
    fields: dict[str, str] = {}
    end = 0
    for line in head.split(b"\n"):
        end += len(line) + 1
        name, equals, value = line.decode("utf-8", "replace").partition("=")
        if not equals:
            break
        fields[name.strip()] = value.strip()
        if name.strip() == "ElementDataFile":
            return fields, end
    raise refusal(
        path,
        f"no MetaImage header: {describe_content(head)}"
        if not fields
        else "its header does not end with ElementDataFile",
        "give it its right suffix, or copy it again",
    )


def _placement(
    path: Path, fields: dict[str, str], num_axes: int
) -> tuple[Array | None, tuple[float, float, float], tuple[str, ...]]:
    if num_axes != 3:
        return None, (0.0, 0.0, 0.0), ()
    origin = _numbers(path, fields, _ORIGIN, "0 0 0")
    spacing = _numbers(path, fields, ("ElementSpacing", "ElementSize"))
    # A row of the file's matrix is the direction of one image axis.
    rows = _numbers(path, fields, _MATRIX, "1 0 0 0 1 0 0 0 1")
    if not (len(origin) == len(spacing) == 3 and len(rows) == 9):
        raise refusal(path, "size and geometry have different numbers of axes", "write it anew")
    notes = (
        f"no {names[0]}: taken as {default}. If that is wrong, write it into the header"
        for names, default in ((_ORIGIN, "0"), (_MATRIX, "the axes of the room"))
        if not any(name in fields for name in names)
    )
    x, y, z = origin
    return np.reshape(rows, (3, 3)).T * np.asarray(spacing), (x, y, z), tuple(notes)


def _check_intensity(path: Path, fields: dict[str, str]) -> None:
    """A scale that native readers pass over must change nothing."""
    for name, neutral in (("Slope", 1.0), ("Offset", 0.0)):
        name = f"ElementToIntensityFunction{name}"
        if _numbers(path, fields, (name,), f"{neutral}") != [neutral]:
            raise refusal(
                path, f"its {name} is {fields[name]}: some programs apply it, others do not",
                "apply it to the voxels and remove it",
            )  # fmt: skip


def _check_packed(path: Path, fields: dict[str, str], packed: int) -> None:
    """The native reader unpacks as many bytes as the header says, and no others."""
    said = _numbers(path, fields, ("CompressedDataSize",), f"{packed}")
    if said != [float(packed)]:
        raise refusal(
            path,
            f"damaged or cut off: CompressedDataSize is {fields['CompressedDataSize']}, the file "
            f"holds {packed}",
            "copy or export the file again",
        )


def _size(path: Path, fields: dict[str, str]) -> tuple[int, ...]:
    text = fields.get("DimSize", "")
    try:
        return tuple(int(part) for part in text.split())
    except ValueError as error:
        raise refusal(path, f"its field 'DimSize' is '{text}'", "write the file anew") from error


def _numbers(
    path: Path, fields: dict[str, str], names: tuple[str, ...], default: str | None = None
) -> list[float]:
    text = next((fields[name] for name in names if name in fields), default)
    if text is None:
        raise refusal(path, f"its header has no field '{names[0]}'", "write the file anew")
    try:
        return [float(part) for part in text.split()]
    except ValueError as error:
        raise refusal(path, f"its field '{names[0]}' is '{text}'", "write the file anew") from error


def _flag(fields: dict[str, str], name: str, default: str) -> bool:
    return fields.get(name, default).lower() in ("true", "1", "t")


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    text = fields.get("ElementType", "")
    if text not in _TYPES:
        raise refusal(path, f"voxels of type '{text}'", "save it as 16-bit integers")
    big = _flag(fields, "BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    return np.dtype((">" if big else "<") + _TYPES[text])


def _offset(path: Path, fields: dict[str, str], begin: int, compressed: bool) -> int | None:
    skip = int(_numbers(path, fields, ("HeaderSize",), "0")[0])
    if skip == -1 and not compressed:
        return None
    if skip < 0 or (skip > 0 and compressed):
        raise refusal(path, f"HeaderSize {skip} cannot be followed", "save it as one .mha")
    # A file of its own counts from its first byte, voxels behind the header from the header's end.
    return begin + skip
