"""Which scans lie under a path."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from lnq.data.readers.dicom_folder import one_series, places
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.names import (
    SLICER_ROLE,
    SUFFIXES,
    is_dicom_name,
    scan_name,
    suffix_of,
)
from lnq.errors import CaseError, UsageError


def find_scans(path: Path) -> list[Path]:
    """The scans at or under a path, in the order of their paths.

    Hidden files are left out, and so are 3D Slicer's segmentations `NAME.seg.nrrd` and an
    annotation `NAME-seg` beside its scan `NAME-ct` (the challenge's naming).

    Args:
        path: A scan file, a folder of DICOM slices, one DICOM slice, or a directory tree of scans.

    Returns:
        Files with one of `SUFFIXES`, and folders of DICOM CT slices (recognised by their content).

    Raises:
        UsageError: Nothing there, no scan in it, or a folder that holds several DICOM series, of
            which one of its slices chooses one.
    """
    if not path.exists():
        raise UsageError("there is no such file or folder", where=path, remedy="correct the path")
    if path.is_file():
        return [_single(path)]
    scans: list[Path] = []
    for here, files in visible(path):
        scans += _without_annotations([file for file in files if suffix_of(file)])
        if _is_series(here, files):
            scans.append(here)
    if not scans:
        raise UsageError(
            "no scans found",
            where=path,
            why=f"looked for {', '.join(SUFFIXES)} and folders of DICOM CT slices",
            remedy="give another file or folder",
        )
    return sorted(scans)


def every_scan(folder: Path) -> list[Path]:
    """As `find_scans`, but no folder is refused: of several DICOM series, each is its first slice.

    Args:
        folder: A directory tree; it may hold no scan at all.
    """
    scans: list[Path] = []
    for here, files in visible(folder):
        scans += _without_annotations([file for file in files if suffix_of(file)])
        if _has_dicom(files):
            scans += places(here)
    return sorted(scans)


def find_labels(folder: Path) -> list[Path]:
    """The annotations under a folder, in the order of their paths.

    Raises:
        UsageError: There is none.
    """
    labels = [
        file for _, files in visible(folder) for file in files
        if suffix_of(file) or is_dicom_name(file)
    ]  # fmt: skip
    if not labels:
        raise UsageError(
            "no labels found", where=folder, why=f"looked for {', '.join(SUFFIXES)} and .dcm",
            remedy="give another folder",
        )  # fmt: skip
    return sorted(labels)


def visible(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder of a tree once, with its visible files; hidden folders are left out.

    Args:
        path: The tree; it may itself be hidden.
    """
    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(path, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # a link back into the tree
            subfolders.clear()
            continue
        seen.add(here.resolve())
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield here, [here / name for name in sorted(names) if not name.startswith(".")]


def _single(path: Path) -> Path:
    if suffix_of(path):
        return path
    if not is_dicom(path):
        raise UsageError(
            "no scan",
            where=path,
            why="it has no known suffix and is no DICOM file",
            remedy=f"give {', '.join(SUFFIXES)} or a folder of DICOM CT slices",
        )
    return path.parent if path.parent in places(path.parent) else path


def _is_series(folder: Path, files: list[Path]) -> bool:
    if not _has_dicom(files):
        return False
    try:
        return bool(one_series(folder))
    except CaseError:
        # A damaged slice is this one scan's fault: reading it will say so, the others go on.
        return True


def _has_dicom(files: list[Path]) -> bool:
    return any(is_dicom(file) for file in files if file.is_file() and suffix_of(file) is None)


def _without_annotations(files: list[Path]) -> list[Path]:
    names = {scan_name(file) for file in files}
    return [
        file
        for file in files
        if not (
            scan_name(file).lower().endswith(SLICER_ROLE)
            or (
                scan_name(file).endswith("-seg")
                and scan_name(file).removesuffix("-seg") + "-ct" in names
            )
        )
    ]
