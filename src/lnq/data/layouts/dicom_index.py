"""What DICOM files lie in a folder, by their headers."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lnq.data.layouts.checks import shortened
from lnq.data.readers.dicom import DICOM_SUFFIXES
from lnq.data.readers.headers import ObjectHeader, read_header
from lnq.data.readers.names import suffix_of
from lnq.data.readers.slices import is_dicom
from lnq.errors import CaseError, UsageError

Track = Callable[[Sequence[Path]], Iterable[Path]]


@dataclass
class Series:
    """One CT series.

    Attributes:
        uid: Series instance UID.
        patient: Patient ID; empty where the files have none.
        files: Its slices by SOP instance UID.
        place: Its folder; its first slice, where other series lie in that folder too.
    """

    uid: str
    patient: str
    files: dict[str, Path] = field(default_factory=dict)
    place: Path = Path()


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
    """

    series: dict[str, Series]
    annotations: list[Annotation]


def index_dicom(root: Path, bar: Track) -> Index:
    """Reads the headers of all DICOM files under a folder; hidden files are left out.

    Args:
        root: The folder.
        bar: Shows progress: gets the files, gives them back one by one.

    Raises:
        UsageError: A file is damaged; slices or segmentations are there twice.
    """
    series: dict[str, Series] = {}
    segmentations: list[tuple[Path, ObjectHeader]] = []
    faults: list[str] = []
    for path in bar(_candidates(root)):
        if not is_dicom(path):
            if path.suffix.lower() in DICOM_SUFFIXES:
                faults.append(f"{path}: no DICOM file, or cut off")
            continue
        try:
            header = read_header(path)
        except CaseError as error:
            faults.append(f"{path}: {error.why}")
            continue
        if header is None:
            continue
        if header.is_segmentation:
            segmentations.append((path, header))
        elif header.is_ct:
            one = series.setdefault(header.series, Series(header.series, header.patient))
            first = one.files.setdefault(header.instance, path)
            if first != path:
                faults.append(f"{path}: a copy of {first}")
    faults += _copies(segmentations)
    if faults:
        raise UsageError(
            "DICOM files that cannot be used", where=root, why=shortened(faults),
            remedy="download damaged ones again, remove copies",
        )  # fmt: skip
    _place(root, series)
    slices = {uid: one.uid for one in series.values() for uid in one.files}
    return Index(series, [_annotation(path, header, slices) for path, header in segmentations])


def holds_segmentation(root: Path) -> bool:
    """Whether any file below a folder is a DICOM-SEG; a damaged one does not count."""
    for path in _candidates(root):
        try:
            header = read_header(path) if is_dicom(path) else None
        except CaseError:
            continue
        if header is not None and header.is_segmentation:
            return True
    return False


def _candidates(root: Path) -> list[Path]:
    """Files that may be DICOM; of a downloader's lists and licences the first bytes tell."""
    found: list[Path] = []
    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # a link back into the tree
            subfolders.clear()
            continue
        seen.add(here.resolve())
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        found += [here / name for name in sorted(names) if not name.startswith(".")]
    return [path for path in found if path.is_file() and suffix_of(path) is None]


def _annotation(path: Path, header: ObjectHeader, slices: dict[str, str]) -> Annotation:
    by_slices = {slices[uid] for uid in header.referenced_instances if uid in slices}
    return Annotation(path, header.description, frozenset(header.referenced_series or by_slices))


def _copies(segmentations: Sequence[tuple[Path, ObjectHeader]]) -> list[str]:
    first: dict[str, Path] = {}
    return [
        f"{path}: a copy of {first[header.instance]}"
        for path, header in segmentations
        if first.setdefault(header.instance, path) != path
    ]


def _place(root: Path, series: dict[str, Series]) -> None:
    folders: dict[Path, set[str]] = {}
    for one in series.values():
        for path in one.files.values():
            folders.setdefault(path.parent, set()).add(one.uid)
    scattered = []
    for one in series.values():
        mine = {path.parent for path in one.files.values()}
        if len(mine) > 1:
            scattered.append(f"{one.uid} in {', '.join(str(folder) for folder in sorted(mine))}")
            continue
        first = min(one.files.values())
        one.place = first if len(folders[first.parent]) > 1 else first.parent
    if scattered:
        raise UsageError(
            "CT series spread over several folders", where=root, why=shortened(scattered),
            remedy="put the slices of a series into one folder",
        )  # fmt: skip
