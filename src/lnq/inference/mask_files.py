"""From scan files to mask files of the same name, format and geometry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lnq.data.case import ScanPath
from lnq.data.readers import scan_ids, suffix_of
from lnq.errors import UsageError
from lnq.inference.dicom_seg_writer import check_writable, write_dicom_seg
from lnq.inference.segmenter import Segmentation
from lnq.predictions import PROBABILITIES
from lnq.volume_file import write_volume

Format = Literal["nrrd", "nii.gz", "mha", "dicom-seg"]

# Formats of two files are answered with their one-file form.
_ONE_FILE = {".nhdr": ".nrrd", ".mhd": ".mha"}


@dataclass(frozen=True)
class Job:
    """One scan to segment.

    Attributes:
        name: Of the case: the scan's file name without suffix.
        image: The scan.
        mask_name: File name of the mask.
        dicom: Whether the mask is a DICOM-SEG.
    """

    name: str
    image: ScanPath
    mask_name: str
    dicom: bool = False

    @property
    def probability_name(self) -> str:
        """File name of the probabilities: those beside a DICOM-SEG are NRRD."""
        return f"{self.name}.nrrd" if self.dicom else self.mask_name


def plan(
    scans: Sequence[ScanPath], source: Path, output: Path, format_: Format | None
) -> list[Job]:
    """Names the masks of all scans.

    Scans of one name in several folders are told apart by their folders' names (`scan_ids`).

    Args:
        scans: What was found at or under `source`.
        source: What the user gave.
        output: Folder of the masks.
        format_: Format of all masks; None = each scan's own, NRRD for DICOM.

    Raises:
        UsageError: Masks would land among the scans, two scans would share a mask, or DICOM-SEG is
            asked for where a scan is no DICOM.
    """
    folder = (source if source.is_dir() else source.parent).resolve()
    if output.resolve() == folder or (source.is_dir() and output.resolve().is_relative_to(folder)):
        raise UsageError(
            "the output folder lies in the input folder", where=output,
            why="masks have the names of their scans and would replace or join them",
            remedy="choose another one with output=DIR",
        )  # fmt: skip
    if format_ == "dicom-seg":
        check_writable()
        _check_dicom(scans)
    names = dict(zip(scans, scan_ids(scans, source), strict=True))
    # Without case: on some disks the masks of `A` and `a` would be one file.
    counts = Counter(name.casefold() for name in names.values())
    twice = {name for name in names.values() if counts[name.casefold()] > 1}
    if twice:
        raise UsageError(
            "several scans have the same name", where=source, why=", ".join(sorted(twice)[:10]),
            remedy="rename them, or predict them into different folders",
        )  # fmt: skip
    dicom = format_ == "dicom-seg"
    return [Job(name, scan, name + _suffix(scan, format_), dicom) for scan, name in names.items()]


def write_masks(
    segmentation: Segmentation, job: Job, output: Path, save_probabilities: bool
) -> None:
    """Writes what was found in a scan.

    Args:
        segmentation: What was found.
        job: The scan.
        output: Folder of the masks.
        save_probabilities: Also write them to a file of the mask's name in `probabilities/`.

    Raises:
        CaseError: The mask has no place in a file of its format.
        RunError: The disk does not take the mask.
    """
    if job.dicom:
        write_dicom_seg(segmentation.mask_volume, job.image, output / job.mask_name)
    else:
        write_volume(segmentation.mask_volume, output / job.mask_name)
    if save_probabilities:
        write_volume(segmentation.probability_volume, output / PROBABILITIES / job.probability_name)


def _check_dicom(scans: Sequence[ScanPath]) -> None:
    others = [str(scan) for scan in scans if _file_suffix(scan)]
    if others:
        raise UsageError(
            "no DICOM-SEG can be made for scans that are no DICOM", where=others[0],
            why=f"it repeats their patient, study and series; {len(others)} of {len(scans)} "
            "scans have none", remedy="choose output_format=nrrd, nii.gz or mha",
        )  # fmt: skip


def _suffix(scan: ScanPath, format_: Format | None) -> str:
    if format_ == "dicom-seg":
        return ".dcm"
    if format_ is not None:
        return f".{format_}"
    suffix = _file_suffix(scan) or ".nrrd"  # of DICOM
    return _ONE_FILE.get(suffix, suffix)


def _file_suffix(scan: ScanPath) -> str | None:
    """None of DICOM."""
    return suffix_of(scan) if isinstance(scan, Path) and not scan.is_dir() else None
