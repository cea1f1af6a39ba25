"""Names of scans: which suffixes are read, and what a scan is called without them."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lnq.errors import CaseError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SLICER_ROLE = ".seg"  # 3D Slicer's segmentations are NAME.seg.nrrd


def suffix_of(path: Path) -> str | None:
    """The (compound) suffix by which the file is read, lower case, or None."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def require_printable(path: Path) -> None:
    """Refuses a name with control characters: it goes into tables and onto terminals.

    Raises:
        CaseError: As said.
    """
    if any(unicodedata.category(character) == "Cc" for character in path.name):
        raise CaseError("a file's name holds control characters", where=path, remedy="rename it")


def scan_name(path: Path) -> str:
    """The file's name without its compound suffix; a DICOM folder's own name."""
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix and not path.is_dir() else path.name


def scan_ids(scans: Sequence[Path], root: Path) -> list[str]:
    """What scans are called: their names; those of one name with their folders' before it.

    `PatA/CT` and `PatB/CT` are `PatA_CT` and `PatB_CT`. Files of one folder that differ in their
    suffix alone stay equal.

    Args:
        scans: At or under `root`.
        root: The folder that was given, which is not part of the ids.
    """
    names = [scan_name(path) for path in scans]
    counts = Counter(name.casefold() for name in names)
    return [
        name
        if counts[name.casefold()] == 1
        else "_".join([*path.relative_to(root).parts[:-1], name])
        for name, path in zip(names, scans, strict=True)
    ]


def label_name(path: Path) -> str:
    """An annotation's name as its scan has it: without the endings `.seg.nrrd` and `.dcm`, too."""
    name = path.stem if is_dicom_name(path) else scan_name(path)
    return name[: -len(SLICER_ROLE)] if name.lower().endswith(SLICER_ROLE) else name


def is_mask_name(path: Path) -> bool:
    """Whether a file is named as what masks are read from: an image, or a DICOM object."""
    hidden = path.name.startswith(".")
    return not hidden and (suffix_of(path) is not None or is_dicom_name(path))


def is_dicom_name(path: Path) -> bool:
    """Whether a file is named as DICOM objects are, which need not have any suffix."""
    return path.suffix.lower() == ".dcm"


def content_kind(head: bytes) -> str | None:
    """What the first bytes (352 or more) of a file look like, in a user's words.

    Args:
        head: The file's beginning.
    """
    if head.startswith(b"\x1f\x8b"):
        return "a gzip stream (.nii.gz?)"
    if head.startswith(b"NRRD"):
        return "NRRD (.nrrd)"
    if head[128:132] == b"DICM":
        return "DICOM"
    if head[344:347] in (b"n+1", b"ni1") or head[4:7] in (b"n+2", b"ni2"):
        return "NIfTI (.nii)"
    if head.lstrip().startswith((b"ObjectType", b"NDims")):
        return "MetaImage (.mha)"
    return None


def describe_content(head: bytes) -> str:
    """A clause for a message: the file is empty, or looks like another format, or neither."""
    if not head:
        return "the file is empty"
    kind = content_kind(head)
    return "its content is of no known format" if kind is None else f"its content is {kind}"
