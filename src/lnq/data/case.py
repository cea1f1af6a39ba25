"""One scan and what is known of it, before anything is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lnq.errors import CaseError

Split = Literal["train", "val", "test"]
Supervision = Literal["full", "partial", "none"]


@dataclass(frozen=True)
class DicomScan:
    """A DICOM scan that is no folder: one of several in it, or in several folders.

    Attributes:
        files: Its slices, in the order of their paths.
        told: What tells it apart from others of its place, in words; empty where nothing must.
        damaged: Files that can only be slices of it and cannot be read.
        doubtful: Files that cannot be read and may be slices of it.
    """

    files: tuple[Path, ...]
    told: str = ""
    damaged: tuple[Path, ...] = ()
    doubtful: tuple[Path, ...] = ()

    def __str__(self) -> str:
        """Where it begins, for messages."""
        folders = len({path.parent for path in self.files})
        return f"{self.files[0]}" + (f" (slices in {folders} folders)" if folders > 1 else "")

    @property
    def folder(self) -> Path:
        """The smallest folder that holds all of it."""
        return Path(os.path.commonpath([path.parent for path in self.files]))


ScanPath = Path | DicomScan
"""A scan: a file, a folder of DICOM slices or one of them, or the slices one by one."""


def first_path(scan: ScanPath) -> Path:
    """The file or folder by which a scan is named in records."""
    return scan if isinstance(scan, Path) else scan.files[0]


def absolute(scan: ScanPath) -> ScanPath:
    """The same from the root of the disk, for records."""
    if isinstance(scan, Path):
        return scan.absolute()
    files, damaged, doubtful = (
        tuple(path.absolute() for path in paths)
        for paths in (scan.files, scan.damaged, scan.doubtful)
    )
    return DicomScan(files, scan.told, damaged, doubtful)


@dataclass(frozen=True)
class Case:
    """One case of a dataset.

    Attributes:
        case_id: Unique within the dataset; safe as a file name.
        image: The scan: a file, a folder of DICOM slices, or the slices.
        label: The annotation on (what should be) the scan's grid, or None.
        split: Part of the dataset the case belongs to.
        supervision: `full` = every node outlined, `partial` = some of them, `none` = no label.
        group: The patient; cases of one group stay in one split.
        notes: What a user should know of how the dataset lists it.
        label_names: Regular expression of the segments or ROIs that are nodes, for labels that name
            theirs; None = by what the names say.
        fault: Why it cannot be used, where listing its files has shown that already.
        background: Masks of what can be no node, on (what should be) the scan's grid.
    """

    case_id: str
    image: ScanPath
    label: Path | None
    split: Split
    supervision: Supervision
    group: str
    notes: tuple[str, ...] = ()
    label_names: str | None = None
    fault: str | None = None
    background: tuple[Path, ...] = ()

    @property
    def refusal(self) -> CaseError | None:
        """The fault as an error, with which all commands refuse the case unread."""
        if self.fault is None:
            return None
        return CaseError(
            "files of the case cannot be used", where=self.image, why=self.fault,
            remedy="download damaged ones again, remove copies, give each scan its own label",
        )  # fmt: skip
