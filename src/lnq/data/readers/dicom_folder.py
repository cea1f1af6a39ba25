"""Which DICOM CT scans lie in folders, and of which files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from lnq.data.case import DicomScan, ScanPath
from lnq.data.readers.dicom_heads import Head, read_head
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.dicom_stacks import Stack, names_of, stacks_of
from lnq.data.readers.header import refusal
from lnq.data.readers.names import SUFFIXES, suffix_of
from lnq.data.readers.walking import visible, visible_files
from lnq.errors import CaseError, UsageError

DICOM_SUFFIXES = (".dcm", ".ima")
_NEIGHBOURS = 8  # folders before and behind one, of which each is asked for one slice

Damaged = Mapping[Path, Sequence[Path]]
"""Files that cannot be read, by their folders."""


def files_of(path: ScanPath) -> tuple[list[Path], list[Path]]:
    """A scan's files in the order of their names, and damaged files that may belong to it.

    Args:
        path: As for `read_series`, which raises the same.
    """
    if isinstance(path, Path):
        path = _scan_of_folder(path) if path.is_dir() else _scan_of_slice(path)
    if path.damaged:
        raise _fault(path.damaged[0])
    return list(path.files), list(path.doubtful)


def series_files(path: ScanPath) -> list[Path]:
    """The files of one CT scan in the order of their names.

    Args:
        path: As for `read_series`.

    Raises:
        UsageError: A folder with several scans.
        CaseError: No CT slices there, or a file is damaged.
    """
    return files_of(path)[0]


def dicom_scans(folders: Iterable[tuple[Path, list[Path]]]) -> list[ScanPath]:
    """The CT scans of folders, by their UIDs and positions, wherever their slices lie.

    Args:
        folders: Each with its files.

    Returns:
        A folder where it alone is the scan, else the slices; folders in which damage hides what
        they hold, too.
    """
    heads, damaged = _read(folders)
    full = {head.path.parent for head in heads}
    return [
        *as_listed(stacks_of(heads), damaged),
        *(folder for folder in damaged if folder not in full),
    ]


def as_listed(stacks: Sequence[Stack], damaged: Damaged | None = None) -> list[ScanPath]:
    """Scans as the rest of the program names them: by a folder, where it alone is the scan.

    Args:
        stacks: Of all scans that lie in these folders.
        damaged: What else lies there.
    """
    scans = _scans(stacks, damaged or {})
    users = Counter(folder for scan in scans for folder in {path.parent for path in scan.files})
    return [
        scan if scan.told or scan.folder != scan.files[0].parent or users[scan.folder] > 1
        or any(path.parent != scan.folder for path in scan.files) else scan.folder
        for scan in scans
    ]  # fmt: skip


def goes_on(path: Path, files: Sequence[Path]) -> list[Path]:
    """Folders beside a scan's that hold more slices of it.

    Args:
        path: The folder or slice that a user gave.
        files: What `files_of` found there.
    """
    folder = (path if path.is_dir() else path.parent).resolve()
    mine = read_head(files[0])
    try:
        beside = sorted(one for one in folder.parent.iterdir() if one.is_dir())
    except OSError:  # nothing of the scan: above it one may not look
        return []
    if mine is None or not mine.series or folder not in beside:
        return []
    place = beside.index(folder)
    near = beside[max(0, place - _NEIGHBOURS) : place + _NEIGHBOURS + 1]
    alike = [one for one in near if one == folder or _first_series(one) == mine.series]
    if len(alike) < 2:
        return []
    heads, _ = _read((one, visible_files(one)) for one in alike)
    here = {file.resolve() for file in files}
    for stack in stacks_of(heads):
        paths = {head.path for head in stack}
        if here <= paths:
            return sorted({path.parent for path in paths} - {folder})
    return []


def several(folder: Path, scans: Sequence[DicomScan]) -> UsageError:
    """Asks which of a folder's scans is meant."""
    listed = "; ".join(
        f"{_uid(scan)} {scan.told} ({len(scan.files)} slices, {scan.files[0].name} ...)"
        for scan in scans
    )
    return UsageError(
        f"the folder holds {len(scans)} CT series",
        where=folder,
        why=listed,
        remedy="give one slice of the one that is meant, or move each into a folder of its own",
    )


def _uid(scan: DicomScan) -> str:
    head = read_head(scan.files[0])
    return head.series if head is not None else ""


def _scan_of_folder(folder: Path) -> DicomScan:
    """The one scan that begins in a folder, else the one below it."""
    heads, damaged = _read(visible(folder))
    scans = _scans(stacks_of(heads), damaged)
    here = [scan for scan in scans if any(path.parent == folder for path in scan.files)]
    if len(here or scans) > 1:
        raise several(folder, here or scans)
    if scans:
        return (here or scans)[0]
    if damaged:
        raise _fault(next(iter(damaged.values()))[0])
    raise refusal(folder, "it holds no DICOM CT slices", "give a folder of CT slices or a file")


def _scan_of_slice(path: Path) -> DicomScan:
    """The scan in a slice's folder to which it belongs."""
    if not is_dicom(path):
        raise refusal(path, "neither DICOM nor a known suffix", f"give {', '.join(SUFFIXES)}")
    if read_head(path) is None:
        raise refusal(path, "a DICOM object that is no CT slice", "give a slice or its folder")
    heads, damaged = _read([(path.parent, visible_files(path.parent))])
    return next(scan for scan in _scans(stacks_of(heads), damaged) if path in scan.files)


def _scans(stacks: Sequence[Stack], damaged: Damaged) -> list[DicomScan]:
    """Scans with what tells them apart and the damaged files beside their slices."""
    places = [{head.path.parent for head in stack} for stack in stacks]
    users = Counter(folder for folders in places for folder in folders)
    scans = [DicomScan(tuple(head.path for head in stack)) for stack in stacks]
    by_place: dict[Path, list[int]] = {}
    for number, scan in enumerate(scans):
        by_place.setdefault(scan.folder, []).append(number)
    told: dict[int, str] = {}
    for numbers in by_place.values():
        told |= dict(zip(numbers, names_of([stacks[n] for n in numbers]), strict=True))
    complete = []
    for number, scan in enumerate(scans):
        bad = tuple(file for folder in sorted(places[number]) for file in damaged.get(folder, ()))
        alone = all(users[folder] == 1 for folder in places[number])
        complete.append(
            DicomScan(scan.files, told[number], bad, ()) if alone
            else DicomScan(scan.files, told[number], (), bad)
        )  # fmt: skip
    return complete


def _read(folders: Iterable[tuple[Path, list[Path]]]) -> tuple[list[Head], dict[Path, list[Path]]]:
    """The CT slices of folders, and files that cannot be read."""
    heads: list[Head] = []
    damaged: dict[Path, list[Path]] = {}
    for folder, files in folders:
        for file in files:
            try:
                head = _head(file)
            except CaseError:
                damaged.setdefault(folder, []).append(file)
                continue
            if head is not None:
                heads.append(head)
    return heads, damaged


def _head(file: Path) -> Head | None:
    """The header of a CT slice; None for all other files.

    Raises:
        CaseError: It is damaged and may be a slice.
    """
    if not file.is_file() or suffix_of(file) is not None:
        return None
    if is_dicom(file):
        return read_head(file)
    if file.suffix.lower() in DICOM_SUFFIXES or file.stat().st_size == 0:
        raise refusal(file, "an empty or damaged slice: no DICOM mark", "copy it again")
    return None


def _fault(file: Path) -> CaseError:
    try:
        _head(file)
    except CaseError as error:
        return error
    return refusal(file, "it could not be read when scans were listed", "run this again")


def _first_series(folder: Path) -> str | None:
    """The series UID of a folder's first CT slice."""
    with suppress(OSError):
        for file in visible_files(folder):
            with suppress(CaseError):
                if (head := _head(file)) is not None:
                    return head.series
    return None
