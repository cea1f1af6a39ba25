"""Names of scans: which suffixes are read, and what a scan is called without them."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from lnq.data.case import DicomScan, ScanPath, first_path
from lnq.errors import CaseError

SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SLICER_ROLE = ".seg"  # 3D Slicer's segmentations are NAME.seg.nrrd


def suffix_of(path: Path) -> str | None:
    """The (compound) suffix by which the file is read, lower case, or None."""
    name = path.name.lower()
    return next((suffix for suffix in SUFFIXES if name.endswith(suffix)), None)


def require_printable(scan: ScanPath) -> None:
    """Refuses a name with control characters: it goes into tables and onto terminals.

    Raises:
        CaseError: As said.
    """
    name = first_path(scan).name
    if any(unicodedata.category(character) == "Cc" for character in name):
        raise CaseError("a file's name holds control characters", where=scan, remedy="rename it")


def scan_name(path: Path) -> str:
    """The file's name without its compound suffix; a DICOM folder's own name."""
    if path.name in ("", ".."):  # of a folder that is given as . or ..
        path = path.resolve()
    suffix = suffix_of(path)
    return path.name[: -len(suffix)] if suffix and not path.is_dir() else path.name


def scan_ids(scans: Sequence[ScanPath], root: Path) -> list[str]:
    """What scans are called: their names; those of one name with their folders' before it.

    `PatA/CT` and `PatB/CT` are `PatA_CT` and `PatB_CT`. DICOM scans that share a folder are called
    by it and what tells them apart: `CT_T10`. Files of one folder that differ in their suffix alone
    stay equal.

    Args:
        scans: As a rule at or under `root`.
        root: The folder that was given, which is not part of the ids.
    """
    names = [path_of(scan, root)[-1] for scan in scans]
    counts = Counter(name.casefold() for name in names)
    return [
        name if counts[name.casefold()] == 1 else "_".join(path_of(scan, root))
        for scan, name in zip(scans, names, strict=True)
    ]


def path_of(scan: ScanPath, root: Path) -> tuple[str, ...]:
    """What a scan is called and the folders below root in which it lies, without its suffix."""
    place = scan if isinstance(scan, Path) else _place(scan, root)
    return (*_folders(place, root), _name(scan, place))


def _name(scan: ScanPath, place: Path) -> str:
    told = scan.told if isinstance(scan, DicomScan) else ""
    return scan_name(place) + (f"_{told}" if told else "")


def _folders(place: Path, root: Path) -> tuple[str, ...]:
    """The names of the folders between root and a scan; its own folder's, where it lies outside."""
    normal, base = Path(os.path.normpath(place)), Path(os.path.normpath(root))
    if normal.is_relative_to(base):
        return normal.relative_to(base).parts[:-1]
    return (normal.parent.name,) if normal.parent.name else ()


def _place(scan: DicomScan, root: Path) -> Path:
    """The folder by which a scan is called: the one that holds it all, or below root the first."""
    return scan.files[0].parent if scan.folder == root else scan.folder


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
