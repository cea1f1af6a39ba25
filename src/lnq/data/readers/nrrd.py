"""NRRD headers, attached and detached."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from lnq.data.readers.header import Compression, Header, check_unit, refusal
from lnq.data.readers.names import describe_content
from lnq.volume import Array

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int",
           "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}  # fmt: skip
_COMPRESSIONS: dict[str, Compression] = {"raw": "none", "gzip": "gzip", "gz": "gzip"}
# What takes the space's first two axes to left and posterior.
_TO_LPS = {
    "left-posterior-superior": (1.0, 1.0, 1.0),
    "lps": (1.0, 1.0, 1.0),
    "right-anterior-superior": (-1.0, -1.0, 1.0),
    "ras": (-1.0, -1.0, 1.0),
    "left-anterior-superior": (1.0, -1.0, 1.0),
    "las": (1.0, -1.0, 1.0),
}
_QUANTISED = ("old min", "oldmin", "old max", "oldmax")
_LONGEST_HEADER = 1 << 20
_SCALAR_KINDS = {"domain", "space", "none", "???", "time", "list"}


def parse_nrrd(path: Path, layered: bool = False) -> Header:
    """The header of a `.nrrd` or `.nhdr` file.

    Args:
        path: The file.
        layered: Four axes are read as layers, which vary fastest, and space.

    Raises:
        CaseError: No NRRD, a field is missing or impossible, an encoding or layout that is not
            read, or a data file outside the header's folder.
    """
    fields, end = _fields(path)
    detached = fields.get("data file", fields.get("datafile"))
    encoding = _required(path, fields, "encoding").lower()
    if encoding not in _COMPRESSIONS:
        raise refusal(path, f"its encoding is {encoding}", "save it with encoding raw or gzip")
    compression = _COMPRESSIONS[encoding]
    size = _integers(path, fields, "sizes")
    if len(size) != _integers(path, fields, "dimension")[0]:
        raise refusal(path, "dimension and sizes contradict each other", "write the file anew")
    kinds = fields.get("kinds", "").lower().split()
    if odd := [kind for kind in kinds if kind not in _SCALAR_KINDS]:
        raise refusal(path, f"an axis of kind {odd[0]}", "export one channel")
    for unit in re.findall(r'"([^"]*)"', fields.get("space units", "") + fields.get("units", "")):
        check_unit(path, unit)
    if any(name in fields for name in _QUANTISED):
        raise refusal(
            path, "its values are steps of another range (old min, old max), no HU",
            "give them back that range, as 'unu unquantize' does",
        )  # fmt: skip
    num_layers = 1
    if layered and len(size) == 4:
        num_layers, *spatial = size
        size = tuple(spatial)
        # The axis of layers has the direction `none`.
        fields["space directions"] = re.sub(r"^none\b", "", fields.get("space directions", ""))
    matrix, origin, notes = _placement(path, fields, len(size))
    payload = path if detached is None else detached_payload(path, detached)
    return Header(
        path=path,
        payload=payload,
        offset=_offset(path, fields, compression, 0 if detached is not None else end),
        skip=0,
        compression=compression,
        size_xyz=size,
        dtype=_dtype(path, fields),
        matrix=matrix,
        origin_mm=origin,
        notes=notes,
        num_layers=num_layers,
        reader="NrrdImageIO",
    )


def key_values(path: Path) -> dict[str, str]:
    """The `key:=value` lines of a header: what other programs wrote into it.

    Raises:
        CaseError: No NRRD, or its header does not end.
    """
    lines = (line.partition(":=") for line in _lines(path)[0])
    return {key: value.strip() for key, colon, value in lines if colon}


def detached_payload(path: Path, name: str) -> Path:
    """The voxel file that a detached header names; it must lie in the header's own folder.

    Args:
        path: The header.
        name: What it says.

    Raises:
        CaseError: A pattern or list of files, a damaged name, a file elsewhere, or none there.
    """
    if "\\" in name:
        only = name.rpartition("\\")[2]
        raise refusal(path, f"its data file is {name}, a Windows path",
                      f"put {only} beside it and write its name alone into the header")  # fmt: skip
    if not name.isprintable():
        raise refusal(path, f"its data file {name!r} is no file's name", "copy the header again")
    if name.upper().startswith("LIST") or "%" in name:
        raise refusal(path, "its voxels are spread over several files", "save it as one .nrrd")
    payload = path.parent / name
    if not payload.resolve().is_relative_to(path.parent.resolve()):
        raise refusal(
            path, f"its data file {name} lies outside its folder", "put both into one folder"
        )
    if not payload.is_file():
        raise refusal(path, f"its data file {name} is missing", "copy it beside the header")
    return payload


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """The header's fields with lower-case names, and where it ends."""
    lines, end = _lines(path)
    fields: dict[str, str] = {}
    for line in lines:
        # `key:=value` lines are free text of other programs.
        name, colon, value = line.partition(":")
        if not line.startswith("#") and colon and not value.startswith("="):
            fields[name.strip().lower()] = value.strip()
    return fields, end


def _lines(path: Path) -> tuple[list[str], int]:
    """The header's lines but the first, and where it ends."""
    with path.open("rb") as handle:
        head = handle.read(_LONGEST_HEADER)
    if not re.match(rb"NRRD000\d\r?\n", head):
        raise refusal(path, f"no NRRD file: {describe_content(head)}", "give it its right suffix")
    blank = re.search(rb"\r?\n\r?\n", head)
    if blank is None and path.suffix.lower() != ".nhdr":
        raise refusal(path, "its header does not end", "copy the file again")
    end = len(head) if blank is None else blank.end()
    return head[:end].decode("utf-8", "replace").splitlines()[1:], end


def _required(path: Path, fields: dict[str, str], name: str) -> str:
    if name not in fields:
        raise refusal(path, f"its header has no field '{name}'", "write the file anew")
    return fields[name]


def _integers(path: Path, fields: dict[str, str], name: str) -> tuple[int, ...]:
    text = _required(path, fields, name)
    try:
        values = tuple(int(part) for part in text.split())
    except ValueError as error:
        raise refusal(path, f"its field '{name}' is '{text}'", "write the file anew") from error
    if not values:
        raise refusal(path, f"its field '{name}' is empty", "write the file anew")
    return values


def _dtype(path: Path, fields: dict[str, str]) -> np.dtype[np.generic]:
    text = " ".join(_required(path, fields, "type").lower().split())
    code = next((code for code, names in _TYPES.items() if text in names), None)
    if code is None:
        raise refusal(path, f"voxels of type {text}", "save it as 16-bit integers")
    if code[1] == "1":
        return np.dtype(code)
    endian = _required(path, fields, "endian").lower()
    if endian not in ("little", "big"):
        raise refusal(path, f"its field 'endian' is '{endian}'", "write the file anew")
    return np.dtype(("<" if endian == "little" else ">") + code)


def _offset(path: Path, fields: dict[str, str], compression: Compression, begin: int) -> int | None:
    """Where the stream begins; None for the rule 'the last bytes of the file' (byte skip -1)."""
    texts = {name: fields.get(name, fields.get(name.replace(" ", ""), "0"))
             for name in ("byte skip", "line skip")}  # fmt: skip
    skips = {name: _integers(path, {name: text}, name)[0] for name, text in texts.items()}
    byte_skip = skips["byte skip"]
    if byte_skip == -1 and compression == "none":
        return None
    unsupported = byte_skip < 0 or (byte_skip > 0 and compression != "none")
    if unsupported or skips["line skip"]:
        raise refusal(
            path,
            f"byte skip {byte_skip} and line skip {skips['line skip']} with encoding {compression}",
            "save it as one .nrrd",
        )
    return begin + byte_skip


def _placement(
    path: Path, fields: dict[str, str], num_axes: int
) -> tuple[Array | None, tuple[float, float, float], tuple[str, ...]]:
    if num_axes != 3:
        return None, (0.0, 0.0, 0.0), ()
    if "space directions" not in fields:
        steps = _numbers(path, fields.get("spacings", ""), "spacings")
        if len(steps) != 3:
            raise refusal(path, "its header has no voxel size", "save it with its geometry")
        note = (
            "no orientation: the axes are taken as right-to-left, front-to-back, upwards. "
            "If they are not, write space directions into the header"
        )
        return np.diag(steps), (0.0, 0.0, 0.0), (note,)
    values = _numbers(path, fields["space directions"], "space directions")
    if len(values) != 9:
        raise refusal(path, "its space directions are not three vectors", "write the file anew")
    space = fields.get("space", "").lower()
    if space not in _TO_LPS:
        raise refusal(
            path, f"its space is '{space or 'not stated'}'", "save it as left-posterior-superior"
        )
    to_lps = np.asarray(_TO_LPS[space])
    notes: tuple[str, ...] = ()
    origin = np.zeros(3)
    if "space origin" in fields:
        origin = np.asarray(_numbers(path, fields["space origin"], "space origin"))
        if origin.shape != (3,):
            raise refusal(path, "its space origin is not three numbers", "write the file anew")
    else:
        notes = ("no space origin: taken as 0. If a label has one, write it into the header",)
    x, y, z = (float(v) for v in to_lps * origin)
    return to_lps[:, None] * np.reshape(values, (3, 3)).T, (x, y, z), notes


def _numbers(path: Path, text: str, name: str) -> list[float]:
    try:
        return [float(part) for part in re.split(r"[\s,()]+", text) if part]
    except ValueError as error:
        raise refusal(path, f"its field '{name}' is '{text}'", "write the file anew") from error
