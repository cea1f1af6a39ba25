"""What DICOM files lie in a folder, by their headers."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lnq.data.readers.dicom_folder import DICOM_SUFFIXES
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.finding import visible
from lnq.data.readers.headers import ObjectHeader, read_header
from lnq.data.readers.names import suffix_of
from lnq.errors import CaseError

_BLANK = (
    "its UIDs are blank, as after some de-identification, and nothing else tells what belongs "
    "together; a table can (data=pairs)"
)
Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass
class Series:
    """One CT series.

    Attributes:
        uid: Series instance UID.
        patient: Patient ID; empty where the files have none.
        files: Its slices by SOP instance UID.
        place: Its folder; its first slice, where other series lie in that folder too.
        faults: What is wrong with its files and those of its segmentation.
    """

    uid: str
    patient: str
    files: dict[str, Path] = field(default_factory=dict)
    place: Path = Path()
    faults: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Annotation:
    """One DICOM-SEG.

    Attributes:
        path: Its file.
        description: Series description.
        series: UIDs of the CT series that it refers to, by name or by their slices.
    """

    path: Path
    description: str
    series: frozenset[str]


@dataclass(frozen=True)
class Index:
    """What lies in a folder.

    Attributes:
        series: CT series by UID.
        annotations: DICOM-SEG, in the order of their paths.
        strays: Damaged files of which nothing tells to which series they belong, each with why.
    """

    series: dict[str, Series]
    annotations: list[Annotation]
    strays: dict[Path, str]


def index_dicom(root: Path, bar: Track) -> Index:
    """Reads the headers of all DICOM files under a folder; hidden files are left out.

    A damaged file, or one that is there twice, is a fault of its series.

    Args:
        root: The folder.
        bar: Shows progress: gets the files, gives them back one by one.
    """
    series: dict[str, Series] = {}
    segmentations: dict[str, tuple[Path, ObjectHeader]] = {}
    damaged: dict[Path, str] = {}
    copies: list[tuple[Path, str]] = []
    blank: set[Path] = set()
    for path in bar(_candidates(root)):
        if not is_dicom(path):
            if path.suffix.lower() in DICOM_SUFFIXES:
                damaged[path] = "no DICOM file, or cut off"
            continue
        try:
            header = read_header(path)
        except CaseError as error:
            damaged[path] = str(error.why)
            continue
        if header is None:
            continue
        if _is_anonymous(header):
            if path.parent not in blank:  # one fault a folder, not one a slice
                blank.add(path.parent)
                damaged[path] = _BLANK
        elif header.is_segmentation:
            if segmentations.setdefault(header.instance, (path, header))[0] != path:
                copies.append((path, header.instance))
        elif header.is_ct:
            one = series.setdefault(header.series, Series(header.series, header.patient))
            first = one.files.setdefault(header.instance, path)
            if first != path:
                # One UID in all slices, as after some de-identification, makes no copies of them.
                copy = filecmp.cmp(first, path, shallow=False)
                one.faults.append(f"{path}: {'a copy of' if copy else 'the UID of'} {first}")
    slices = {uid: one.uid for one in series.values() for uid in one.files}
    annotations = {
        instance: _annotation(path, header, slices)
        for instance, (path, header) in segmentations.items()
    }
    for path, instance in copies:
        for uid in annotations[instance].series & series.keys():
            series[uid].faults.append(f"{path}: a copy of {annotations[instance].path}")
    _place(series)
    return Index(series, list(annotations.values()), _strays(damaged, series))


def _is_anonymous(header: ObjectHeader) -> bool:
    """Whether the UIDs by which files are matched were blanked."""
    named = header.instance and (header.series or not header.is_ct)
    return (header.is_ct or header.is_segmentation) and not named


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
        elif header is not None and header.is_ct:
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


def _annotation(path: Path, header: ObjectHeader, slices: dict[str, str]) -> Annotation:
    by_slices = {slices[uid] for uid in header.referenced_instances if uid in slices}
    return Annotation(path, header.description, frozenset(header.referenced_series or by_slices))


def _strays(damaged: Mapping[Path, str], series: Mapping[str, Series]) -> dict[Path, str]:
    """Damaged files that lie near no series or near several; others become faults of the one."""
    below: dict[Path, set[str]] = {}
    for one in series.values():
        for folder in {above for path in one.files.values() for above in path.parents}:
            below.setdefault(folder, set()).add(one.uid)
    strays = {}
    for path, why in damaged.items():
        near = next((below[folder] for folder in path.parents if folder in below), set[str]())
        if len(near) == 1:
            series[next(iter(near))].faults.append(f"{path}: {why}")
        else:
            strays[path] = why
    return strays


def _place(series: Mapping[str, Series]) -> None:
    folders: dict[Path, set[str]] = {}
    for one in series.values():
        for path in one.files.values():
            folders.setdefault(path.parent, set()).add(one.uid)
    for one in series.values():
        mine = sorted({path.parent for path in one.files.values()})
        first = min(one.files.values())
        one.place = first if len(folders[first.parent]) > 1 else first.parent
        if len(mine) > 1:
            one.faults.append(f"its slices are spread over {', '.join(map(str, mine))}")
