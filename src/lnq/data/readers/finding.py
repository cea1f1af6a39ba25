"""Which scans lie under a path."""

from __future__ import annotations

from pathlib import Path

from lnq.data.case import DicomScan, ScanPath, first_path
from lnq.data.readers.dicom_folder import dicom_scans, several
from lnq.data.readers.dicom_heads import read_head
from lnq.data.readers.dicom_objects import is_dicom
from lnq.data.readers.names import (
    SLICER_ROLE,
    SUFFIXES,
    is_dicom_name,
    scan_name,
    suffix_of,
)
from lnq.data.readers.walking import visible, visible_files
from lnq.errors import CaseError, UsageError


def find_scans(path: Path) -> list[ScanPath]:
    """The scans at or under a path, in the order of their paths.

    Hidden files are left out, and so are 3D Slicer's segmentations `NAME.seg.nrrd` and an
    annotation `NAME-seg` beside its scan `NAME-ct` (the challenge's naming).

    Args:
        path: A scan file, a folder of DICOM slices, one DICOM slice, or a directory tree of scans.

    Returns:
        Files with one of `SUFFIXES`, and DICOM CT scans (recognised by their content): folders, or
        the slices where a scan shares its folder with others or lies in several.

    Raises:
        UsageError: Nothing there, no scan in it, or the path is a folder that itself holds several
            DICOM scans, of which one of its slices chooses one.
    """
    if not path.exists():
        raise UsageError("there is no such file or folder", where=path, remedy="correct the path")
    if path.is_file():
        return [_single(path)]
    scans = every_scan(path)
    if not scans:
        raise UsageError(
            "no scans found",
            where=path,
            why=f"looked for {', '.join(SUFFIXES)} and folders of DICOM CT slices",
            remedy="give another file or folder",
        )
    here = [
        scan for scan in scans
        if isinstance(scan, DicomScan) and any(file.parent == path for file in scan.files)
    ]  # fmt: skip
    if len(here) > 1:
        raise several(path, here)
    return scans


def every_scan(folder: Path) -> list[ScanPath]:
    """As `find_scans`, but no folder is refused.

    Args:
        folder: A directory tree; it may hold no scan at all.
    """
    folders = list(visible(folder))
    scans: list[ScanPath] = list(dicom_scans(folders))
    for _, files in folders:
        scans += _without_annotations([file for file in files if suffix_of(file)])
    return sorted(scans, key=first_path)


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
    alone = dicom_scans([(path.parent, visible_files(path.parent))])
    return path.parent if path.parent in alone and not _is_other(path) else path


def _is_other(path: Path) -> bool:
    """Whether a DICOM file is no CT slice: it is not of the scan that lies beside it."""
    try:
        return read_head(path) is None
    except CaseError:  # damaged: the folder's reader says so
        return False


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
