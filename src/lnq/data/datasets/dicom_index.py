"""What DICOM files lie in a folder, by their headers."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lnq.data.case import ScanPath
from lnq.data.readers.dicom_folder import DICOM_SUFFIXES, as_listed
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.dicom_stacks import Stack, stacks_of
from lnq.data.readers.headers import ObjectHeader, read_header
from lnq.data.readers.names import suffix_of
from lnq.data.readers.walking import visible
from lnq.errors import CaseError

_BLANK = (
    "its UIDs are blank, as after some de-identification, and nothing else tells what belongs "
    "together; a table can (data=pairs)"
)
Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass
class ScanFiles:
    """One CT scan.

    Attributes:
        patient: Patient ID; empty where the files have none.
        stack: Its slices.
        place: Its folder; its slices, where other scans lie in that folder or it lies in several.
        faults: What is wrong with its files and those of its segmentation.
    """

    patient: str
    stack: Stack
    place: ScanPath
    faults: list[str] = field(default_factory=list)

    @property
    def files(self) -> list[Path]:
        """Its slices' files."""
        return [head.path for head in self.stack]


@dataclass(frozen=True)
class Annotation:
    """One DICOM-SEG.

    Attributes:
        path: Its file.
        description: Series description.
        series: UIDs of the CT series that it refers to, by name or by their slices.
        scans: Numbers of the scans that are these; of several with one UID, those whose slices it
            names.
    """

    path: Path
    description: str
    series: frozenset[str]
    scans: tuple[int, ...]


@dataclass(frozen=True)
class Index:
    """What lies in a folder.

    Attributes:
        scans: CT scans.
        annotations: DICOM-SEG, in the order of their paths.
        strays: Damaged files of which nothing tells to which scan they belong, each with why.
    """

    scans: list[ScanFiles]
    annotations: list[Annotation]
    strays: dict[Path, str]


@dataclass
class _Files:
    """What was found, before it is put together."""

    slices: dict[tuple[str, str], tuple[Path, ObjectHeader]] = field(default_factory=dict)
    segmentations: dict[str, tuple[Path, ObjectHeader]] = field(default_factory=dict)
    damaged: dict[Path, str] = field(default_factory=dict)
    copies: list[tuple[Path, str, Path]] = field(default_factory=list)  # of what, by its first file


def index_dicom(root: Path, bar: Track) -> Index:
    """Reads the headers of all DICOM files under a folder; hidden files are left out.

    A damaged file, or one that is there twice, is a fault of its scan.

    Args:
        root: The folder.
        bar: Shows progress: gets the files, gives them back one by one.
    """
    files = _read(bar(_candidates(root)))
    headers = dict(files.slices.values())
    stacks = stacks_of([header.slice for header in headers.values() if header.slice is not None])
    by_folder: dict[Path, list[Path]] = {}
    for path in files.damaged:
        by_folder.setdefault(path.parent, []).append(path)
    scans = [
        ScanFiles(headers[stack[0].path].patient, stack, place)
        for stack, place in zip(stacks, as_listed(stacks, by_folder), strict=True)
    ]
    users = {file: number for number, scan in enumerate(scans) for file in scan.files}
    instances = {header.instance: users[path] for path, header in headers.items()}
    annotations = {
        path: _annotation(path, header, scans, instances)
        for path, header in files.segmentations.values()
    }
    for path, what, first in files.copies:
        owners = annotations[first].scans if first in annotations else (users[first],)
        for number in owners:
            scans[number].faults.append(f"{path}: {what} {first}")
    return Index(scans, list(annotations.values()), _strays(files.damaged, scans))


def _read(paths: Iterable[Path]) -> _Files:
    found = _Files()
    blank: set[Path] = set()
    for path in paths:
        if not is_dicom(path):
            if path.suffix.lower() in DICOM_SUFFIXES:
                found.damaged[path] = "no DICOM file, or cut off"
            continue
        try:
            header = read_header(path)
        except CaseError as error:
            found.damaged[path] = str(error.why)
            continue
        if header is None:
            continue
        if _is_anonymous(header):
            if path.parent not in blank:  # one fault a folder, not one a slice
                blank.add(path.parent)
                found.damaged[path] = _BLANK
        elif header.is_segmentation:
            first, _ = found.segmentations.setdefault(header.instance, (path, header))
            if first != path:
                found.copies.append((path, "a copy of", first))
        elif header.slice is not None:
            key = header.series, header.instance
            first, _ = found.slices.setdefault(key, (path, header))
            if first != path:
                # One UID in all slices, as after some de-identification, makes no copies of them.
                copy = filecmp.cmp(first, path, shallow=False)
                found.copies.append((path, "a copy of" if copy else "the UID of", first))
    return found


def _is_anonymous(header: ObjectHeader) -> bool:
    """Whether the UIDs by which files are matched were blanked."""
    is_ct = header.slice is not None
    named = header.instance and (header.series or not is_ct)
    return (is_ct or header.is_segmentation) and not named


def is_collection(root: Path) -> bool:
    """Whether below a folder lie a CT series and a DICOM-SEG of it, and no scans of other formats.

    Damaged files do not count, and DICOM objects that belong to nothing are no collection.
    """
    files = _files(root)
    if any(suffix_of(path) for path in files):
        return False
    there: set[str] = set()
    meant: set[str] = set()
    for path in files:
        try:
            header = read_header(path) if is_dicom(path) else None
        except CaseError:
            continue
        if header is not None and header.is_segmentation:
            meant |= header.referenced_series | header.referenced_instances
        elif header is not None and header.slice is not None:
            there |= {header.series, header.instance}
        if not there.isdisjoint(meant):
            return True
    return False


def _candidates(root: Path) -> list[Path]:
    """Files that may be DICOM; of a downloader's lists and licences the first bytes tell."""
    return [path for path in _files(root) if suffix_of(path) is None]


def _files(root: Path) -> list[Path]:
    """All visible files."""
    return [path for _, files in visible(root) for path in files if path.is_file()]


def _annotation(
    path: Path, header: ObjectHeader, scans: Sequence[ScanFiles], instances: Mapping[str, int]
) -> Annotation:
    """What a segmentation refers to.

    Args:
        path: Its file.
        header: What it says.
        scans: All CT scans.
        instances: To which of them a slice belongs, by its SOP instance UID.
    """
    by_slices = {instances[uid] for uid in header.referenced_instances if uid in instances}
    series = header.referenced_series or {
        head.series for number in by_slices for head in scans[number].stack
    }
    named = {k for k, scan in enumerate(scans) if any(h.series in series for h in scan.stack)}
    meant = (named & by_slices) or named
    return Annotation(path, header.description, frozenset(series), tuple(sorted(meant)))


def _strays(damaged: Mapping[Path, str], scans: Sequence[ScanFiles]) -> dict[Path, str]:
    """Damaged files that lie near no scan or near several; others become faults of the one."""
    below: dict[Path, set[int]] = {}
    for number, scan in enumerate(scans):
        for folder in {above for path in scan.files for above in path.parents}:
            below.setdefault(folder, set()).add(number)
    strays = {}
    for path, why in damaged.items():
        near = next((below[folder] for folder in path.parents if folder in below), set[int]())
        if len(near) == 1:
            scans[next(iter(near))].faults.append(f"{path}: {why}")
        else:
            strays[path] = why
    return strays
