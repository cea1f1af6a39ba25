"""A folder of DICOM slices as one volume, or the reason why it is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.readers.dicom_slices import Slice, is_dicom, read_slice, series_of
from lnq.data.readers.header import check_geometry, refusal
from lnq.data.readers.names import SUFFIXES
from lnq.errors import CaseError, UsageError
from lnq.volume import Array, Grid, Volume, from_sitk

DICOM_SUFFIXES = (".dcm", ".ima")
# Positions are written with few digits; beyond this, slices are unevenly spaced.
_STEP_TOLERANCE = 0.02
_STEP_TOLERANCE_MM = 0.05
_SHIFT_TOLERANCE_MM = 0.05
_ANGLE_TOLERANCE = 1e-3


def read_series(path: Path) -> tuple[Volume, list[str]]:
    """Reads the one CT series of a folder.

    Args:
        path: A folder of DICOM slices; or one slice, where other series lie in its folder too.

    Returns:
        The values as the slices' rescaling gives them, `z y x`, slices ordered by position; notes.

    Raises:
        CaseError: No CT slices; a slice missing, doubled, truncated or unlike the others; a tilted
            gantry.
        UsageError: Several series.
    """
    folder = path if path.is_dir() else path.parent
    files, unreadable = _files(path)
    slices = _ordered(files)
    grid = _common_grid(folder, slices)
    volume = _read_ordered(folder, slices)
    difference = grid.difference(volume.grid, 10 * _SHIFT_TOLERANCE_MM)
    if difference:
        raise refusal(folder, f"the reader places it elsewhere: {difference}", "export it again")
    notes = []
    if unreadable:
        notes.append(
            f"{len(unreadable)} files beside it cannot be read and may be slices of it "
            f"({unreadable[0].where} ...). Copy them again"
        )
    if any(one.tilt for one in slices):
        notes.append(
            "the header states a gantry tilt, the slices' positions are straight. If a sagittal "
            "view looks sheared, export the scan again"
        )
    return Volume(volume.array, grid), notes


def series_files(path: Path) -> list[Path]:
    """The files of one CT series in the order of their names.

    Args:
        path: As for `read_series`.

    Raises:
        UsageError: A folder with several series.
        CaseError: No CT slices there, or a file is damaged.
    """
    return _files(path)[0]


def ordered_files(path: Path) -> list[Path]:
    """The files of one CT series in the order in which `read_series` stacks them.

    Args:
        path: As for `read_series`, which raises the same.
    """
    return [one.path for one in _ordered(series_files(path))]


def places(folder: Path) -> list[Path]:
    """By which paths a folder's series are read: the folder's, or the first slice's of each.

    Args:
        folder: A folder with DICOM files; where damage hides what they are, it is named too.
    """
    series, damaged = _ct_files(folder)
    if len(series) > 1:
        return [files[0] for files in series.values()]
    return [folder] if series or damaged else []


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


def _files(path: Path) -> tuple[list[Path], list[CaseError]]:
    """A series' files, and why others are none that may belong to it or to its neighbours."""
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
    found, damaged = _ct_files(path.parent)
    if damaged and len(found) == 1:
        raise damaged[0]
    return found[series], damaged


def _ordered(files: list[Path]) -> list[Slice]:
    return sorted(map(read_slice, files), key=lambda one: one.height)


def _ct_files(folder: Path) -> tuple[dict[str, list[Path]], list[CaseError]]:
    """The folder's CT slices by series UID, and what is wrong with files that cannot be read."""
    found: dict[str, list[Path]] = {}
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
            found.setdefault(series, []).append(file)
    return found, damaged


def _common_grid(folder: Path, slices: list[Slice]) -> Grid:
    """The grid all slices lie on.

    Args:
        folder: For messages.
        slices: Ordered by height.
    """
    first = slices[0]
    if len(slices) < 2:
        raise refusal(folder, "a single slice is no volume", "give the whole series")
    for one in slices:
        for name in ("size", "spacing_mm", "axes"):
            mine, theirs = np.asarray(getattr(first, name)), np.asarray(getattr(one, name))
            if not np.allclose(mine, theirs, rtol=0, atol=1e-4):
                raise refusal(one.path, f"its {name} differs from {first.path.name}'s",
                              "remove slices that do not belong to the scan")  # fmt: skip
    step = _step(folder, slices)
    steps_xyz = (first.spacing_mm[1], first.spacing_mm[0], step)
    directions = np.column_stack([*first.axes, np.cross(*first.axes)])
    x, y, z = (float(v) for v in first.position)
    check_geometry(folder, directions * np.asarray(steps_xyz), (x, y, z))
    rows, columns = first.size
    return Grid(
        (len(slices), rows, columns),
        (step, first.spacing_mm[0], first.spacing_mm[1]),
        (x, y, z),
        tuple(float(v) for v in directions.ravel()),
    )


def _step(folder: Path, slices: list[Slice]) -> float:
    """The one distance between neighbouring slices, mm."""
    uids: dict[str, Path] = {}
    for one in slices:
        if one.uid in uids:
            raise refusal(one.path, f"a copy of {uids[one.uid].name}", "remove one of the two")
        uids[one.uid] = one.path
    steps = np.diff([one.height for one in slices])
    if steps.sum() < _STEP_TOLERANCE_MM:
        raise refusal(folder, "all slices lie in one place: a time series, or positions are lost",
                      "export a scan whose slices carry their positions")  # fmt: skip
    step = float(np.median(steps))
    tolerance = max(_STEP_TOLERANCE_MM, _STEP_TOLERANCE * step)
    for low, high, distance in zip(slices, slices[1:], steps, strict=False):
        pair = f"{low.path.name} and {high.path.name}"
        if distance < _STEP_TOLERANCE_MM:
            raise refusal(folder, f"duplicated slice: {pair} lie at the same position",
                          "remove one of them")  # fmt: skip
        if abs(distance - step) > tolerance:
            raise refusal(
                folder,
                f"slices are missing or unevenly spaced: {pair} lie {distance:.4g} mm apart, "
                f"most others {step:.4g} mm",
                "export the whole series, or resample it to even steps",
            )
    _check_straight(folder, slices)
    return float(slices[-1].height - slices[0].height) / (len(slices) - 1)


def _check_straight(folder: Path, slices: list[Slice]) -> None:
    """The first pixels of all slices must lie on the slices' normal: else the gantry was tilted."""
    normal: Array = np.cross(*slices[0].axes)
    offsets = np.array([one.position - slices[0].position for one in slices])
    shifts = np.linalg.norm(offsets - np.outer(offsets @ normal, normal), axis=1)
    if shifts.max() > max(_SHIFT_TOLERANCE_MM, _ANGLE_TOLERANCE * float(offsets[-1] @ normal)):
        raise refusal(
            folder,
            f"tilted gantry: slices are shifted in their plane by up to {shifts.max():.3g} mm",
            "correct the tilt on export, or resample to a straight grid",
        )


def _read_ordered(folder: Path, slices: list[Slice]) -> Volume:
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    if len({one.rescale for one in slices}) > 1:
        # The reader would force all slices into the value type of the first.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        return from_sitk(reader.Execute())
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise refusal(folder, f"the reader says: {reason}", "export the series again") from error
