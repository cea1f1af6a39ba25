"""Which DICOM CT series lie in a folder, and of which files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom

from lnq.data.readers.dicom_objects import is_dicom, parsed_tags, series_of
from lnq.data.readers.header import refusal
from lnq.data.readers.names import SUFFIXES
from lnq.errors import CaseError, UsageError

DICOM_SUFFIXES = (".dcm", ".ima")
_PLACE = ["ImagePositionPatient", "ImageOrientationPatient", "Rows", "Columns"]
# Fewer slices than that, each a series of its own, are as well localizers.
_FEWEST_MERGED = 4
_SAME_AXES = 1e-4
SAME_PLACE_MM = 0.05


def files_of(path: Path) -> tuple[list[Path], list[CaseError]]:
    """A series' files in the order of their names, and damaged files that may belong to it.

    Args:
        path: As for `read_series`, which raises the same.
    """
    if path.is_dir():
        files = one_series(path)
        if not files:
            raise refusal(
                path, "it holds no DICOM CT slices", "give a folder of CT slices or a file"
            )
        return files, []
    if not is_dicom(path):
        raise refusal(path, "neither DICOM nor a known suffix", f"give {', '.join(SUFFIXES)}")
    series = series_of(path)
    if series is None:
        raise refusal(path, "a DICOM object that is no CT slice", "give a slice or its folder")
    by_series, damaged = _ct_files(path.parent)
    if damaged and len(by_series) == 1:
        raise damaged[0]
    return next(files for files in by_series.values() if path in files), damaged


def series_files(path: Path) -> list[Path]:
    """The files of one CT series in the order of their names.

    Args:
        path: As for `read_series`.

    Raises:
        UsageError: A folder with several series.
        CaseError: No CT slices there, or a file is damaged.
    """
    return files_of(path)[0]


def places(folder: Path) -> list[Path]:
    """By which paths a folder's series are read: the folder's, or the first slice's of each.

    Args:
        folder: A folder with DICOM files; where damage hides what they are, it is named too.
    """
    series, damaged = _ct_files(folder)
    if len(series) > 1:
        return [files[0] for files in series.values()]
    return [folder] if series or damaged else []


def spread(scans: Sequence[Path]) -> dict[Path, list[Path]]:
    """DICOM scans whose series has slices in other scans' folders too, each with these.

    Args:
        scans: Folders and first slices, as of `places`; files of other formats are skipped.
    """
    series: dict[str, list[Path]] = {}
    for scan in scans:
        try:
            inside = _ct_files(scan)[0].values() if scan.is_dir() else ()
            files = next(iter(inside), [scan] if scan.is_file() else [])
            uid = series_of(files[0]) if files and is_dicom(files[0]) else None
        except CaseError:
            continue  # told where it is read
        if uid:
            series.setdefault(uid, []).append(scan)
    return {
        scan: [other for other in together if other != scan]
        for together in series.values()
        for scan in together
        if len(together) > 1
    }


def one_series(folder: Path) -> list[Path]:
    """The files of the folder's one CT series in the order of their names; other objects left out.

    Returns:
        Empty where the folder holds no CT slices.

    Raises:
        UsageError: Several series, listed: which one is meant is the user's to say.
        CaseError: A file is empty, has a DICOM suffix and is none, or cannot be parsed.
    """
    series, damaged = _ct_files(folder)
    if damaged:
        raise damaged[0]
    if len(series) > 1:
        listed = "; ".join(
            f"{uid} ({len(files)} slices, {files[0].name} ...)" for uid, files in series.items()
        )
        raise UsageError(
            f"the folder holds {len(series)} CT series",
            where=folder,
            why=listed,
            remedy="give one slice of the one that is meant, or move each into a folder of its own",
        )
    return [file for files in series.values() for file in files]


def _ct_files(folder: Path) -> tuple[dict[str, list[Path]], list[CaseError]]:
    """The folder's CT slices by series UID, and what is wrong with files that cannot be read."""
    slices: dict[str, list[Path]] = {}
    damaged: list[CaseError] = []
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        if not is_dicom(file):
            if file.suffix.lower() in DICOM_SUFFIXES or file.stat().st_size == 0:
                why = "an empty or damaged slice: no DICOM mark"
                damaged.append(refusal(file, why, "copy it again"))
            continue
        try:
            series = series_of(file)
        except CaseError as error:
            damaged.append(error)
            continue
        if series is not None:
            slices.setdefault(series, []).append(file)
    return _merged(slices), damaged


def _merged(series: dict[str, list[Path]]) -> dict[str, list[Path]]:
    """Slices that have a series UID each, as after some de-identification, as one series.

    Their positions must speak for it: one size, one orientation, none twice.
    """
    files = [file for files in series.values() for file in files]
    if len(series) < max(len(files), _FEWEST_MERGED):
        return series
    try:
        with pydicom.config.disable_value_validation():
            heads = [parsed_tags(file, _PLACE, pixels=False) for file in files]
        sizes = {(int(one.Rows), int(one.Columns)) for one in heads}
        axes = np.array([[float(v) for v in one.ImageOrientationPatient] for one in heads])
        places = np.array([[float(v) for v in one.ImagePositionPatient] for one in heads])
    except (CaseError, AttributeError, TypeError, ValueError):
        return series
    if len(sizes) > 1 or np.abs(axes - axes[0]).max() > _SAME_AXES:
        return series
    heights = np.sort(places @ np.cross(axes[0, :3], axes[0, 3:]))
    return {next(iter(series)): files} if np.diff(heights).min() > SAME_PLACE_MM else series
