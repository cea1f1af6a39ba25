"""The DICOM scans that a table names by a folder, whole: a series is known by its UID."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lnq.data.case import DicomScan, ScanPath
from lnq.data.datasets.checks import shortened
from lnq.data.readers import every_scan, find_scans, is_dicom, suffix_of
from lnq.errors import UsageError


def whole_scans(images: Sequence[Path], root: Path) -> list[tuple[ScanPath, tuple[str, ...]]]:
    """Each scan with all of its slices, also where they lie in other folders; and notes on that.

    Args:
        images: As a table names them.
        root: The dataset's folder, in which slices are looked for.

    Raises:
        UsageError: A folder holds several scans.
    """
    if not any(map(_may_be_dicom, images)):
        return [(image, ()) for image in images]
    scans = every_scan(root)
    by_path: dict[Path, set[int]] = {}
    for number, scan in enumerate(scans):
        for path in scan.files if isinstance(scan, DicomScan) else (scan,):
            for place in (path, *path.parents):
                by_path.setdefault(place, set()).add(number)
    return [
        _whole(image, [scans[k] for k in sorted(by_path.get(image, ()))])
        if _may_be_dicom(image)
        else (image, ())
        for image in images
    ]


def _may_be_dicom(image: Path) -> bool:
    return image.is_dir() or suffix_of(image) is None


def _whole(image: Path, scans: Sequence[ScanPath]) -> tuple[ScanPath, tuple[str, ...]]:
    scans = scans or _elsewhere(image)
    if not scans:
        return image, ()  # its reader says why it is none, of this case alone
    if len(scans) > 1:
        raise UsageError(
            f"the folder holds {len(scans)} scans", where=image,
            why=shortened([str(scan) for scan in scans]),
            remedy="name one of them, by its folder or one of its slices",
        )  # fmt: skip
    (scan,) = scans
    if not isinstance(scan, DicomScan) or not image.is_dir():
        return scan, ()
    beside = {path.parent for path in scan.files if not path.is_relative_to(image)}
    if not beside:
        return scan, ()
    listed = shortened([str(folder) for folder in sorted(beside)])
    return scan, (f"slices of its series also lie in {listed}: they are taken, too",)


def _elsewhere(image: Path) -> Sequence[ScanPath]:
    """Of a slice in a folder that is one scan, or of what lies outside the root."""
    return find_scans(image) if image.is_dir() or is_dicom(image) else []
