"""One case's folder in a store: arrays and record, written whole and read with their hashes.

image.npy       float16, z y x, normalised, on the working grid
label_field.npy int8, the label's field; missing where the case has no label
background.npy  uint8, z y x/8, masks of background as bits; only where there are any
chest.npy       uint8, 2 z y x, mm from lungs and from body, on voxels of about 3.5 mm
foreground.npy  (n, 3) int32, z y x of annotated voxels, at most 10,000 of them
case.json       record, settings, SHA-256 of each array and of all this
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tokenize
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lnq.data.store.case_record import CaseRecord
from lnq.errors import CaseError, LnqError, RunError
from lnq.files import read_json, sha256
from lnq.volume import Array

CASE_FILE = "case.json"
IMAGE, LABEL_FIELD, FOREGROUND = "image.npy", "label_field.npy", "foreground.npy"
BACKGROUND, CHEST = "background.npy", "chest.npy"
ARRAYS = (IMAGE, LABEL_FIELD, FOREGROUND, BACKGROUND, CHEST)
REBUILD = "run lnq.preprocess again: it rebuilds what is damaged"
_CHECKSUM = "sha256"

# What numpy raises of a header, by trial; most of it from Python's own parser.
_BAD_ARRAY = (
    OSError, ValueError, EOFError, TypeError, OverflowError, SyntaxError, tokenize.TokenError,
)  # fmt: skip


@dataclass(frozen=True)
class CaseEntry:
    """The content of a case's `case.json`.

    Attributes:
        record: What is known of the case, as `CaseRecord.to_dict` gives it: another version's may
            be no `CaseRecord` of this one.
        settings: What the case was prepared with.
        arrays: SHA-256 of each of its arrays by the file's name.
    """

    record: dict[str, Any]
    settings: dict[str, Any]
    arrays: dict[str, str]


def read_entry(folder: Path) -> CaseEntry | None:
    """What was recorded of a case; None where there is no such case.

    Raises:
        RunError: The record is damaged.
    """
    path = folder / CASE_FILE
    if not path.exists():
        return None
    why = "its checksum is missing or another one"
    try:
        entry = read_json(path)
        if isinstance(entry, dict) and entry.pop(_CHECKSUM, None) == digest_of(entry):
            return CaseEntry(**entry)
    except TypeError:
        why = "it has other entries"
    except LnqError as error:
        why = str(error.why)
    raise RunError(
        "the record of a preprocessed case is damaged", where=path, why=why, remedy=REBUILD
    )


def write_case(
    folder: Path, record: CaseRecord, settings: dict[str, Any], arrays: Mapping[str, Array]
) -> CaseEntry:
    """Writes a case, in place of an older one: it appears whole or not at all.

    Args:
        folder: The case's.
        record: What is known of it.
        settings: What it was prepared with.
        arrays: By the file's name, one of `ARRAYS`.

    Raises:
        RunError: The disk does not take it.
    """
    temporary = folder.with_name(f".{os.getpid()}.tmp.{folder.name}")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        entry = _fill(temporary, record, settings, arrays)
        remove_case(folder)
        temporary.replace(folder)
    except OSError as error:
        raise RunError(
            "cannot write a preprocessed case", where=folder, why=str(error),
            remedy="free space or choose another output folder",
        ) from error  # fmt: skip
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return entry


def remove_case(folder: Path) -> None:
    """Takes a case out, if it is there: out of sight first, so that a kill leaves no half.

    Raises:
        RunError: The disk does not allow it.
    """
    leaving = folder.with_name(f".{os.getpid()}.tmp.old.{folder.name}")
    try:
        shutil.rmtree(leaving, ignore_errors=True)
        if folder.exists():
            folder.replace(leaving)
    except OSError as error:
        raise RunError(
            "cannot remove a preprocessed case", where=folder, why=str(error),
            remedy="make the folder writable or choose another output folder",
        ) from error  # fmt: skip
    shutil.rmtree(leaving, ignore_errors=True)


def map_array(path: Path) -> Array:
    """An array as a read-only map: no header makes memory be taken before it is looked at.

    Raises:
        CaseError: It cannot be read.
    """
    try:
        array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _BAD_ARRAY as error:
        raise CaseError(
            "cannot read a preprocessed array", where=path, why=str(error), remedy=REBUILD
        ) from error
    return array


def other_array(path: Path, why: str | None = None) -> CaseError:
    """Says that an array is not the one that was recorded."""
    return CaseError(
        "a preprocessed array is not what was recorded", where=path, why=why, remedy=REBUILD
    )


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain values, however a file of them is laid out."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _fill(
    folder: Path, record: CaseRecord, settings: dict[str, Any], arrays: Mapping[str, Array]
) -> CaseEntry:
    for name, array in arrays.items():
        with (folder / name).open("wb") as handle:
            np.save(handle, np.ascontiguousarray(array))
            handle.flush()
            os.fsync(handle.fileno())
    hashes = {name: sha256(folder / name) for name in arrays}
    entry = CaseEntry(record.to_dict(), settings, hashes)
    content = asdict(entry)
    with (folder / CASE_FILE).open("w", encoding="utf-8") as handle:
        json.dump({**content, _CHECKSUM: digest_of(content)}, handle, indent=2, allow_nan=False)
        handle.flush()
        os.fsync(handle.fileno())
    return entry
