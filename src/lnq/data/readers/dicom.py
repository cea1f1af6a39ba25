"""A folder of DICOM slices as one volume, or the reason why it is none."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.case import ScanPath
from lnq.data.readers.dicom_folder import files_of, goes_on, series_files
from lnq.data.readers.dicom_slices import Slice, read_slice
from lnq.data.readers.dicom_stacks import SAME_PLACE_MM, usual_step
from lnq.data.readers.dicom_values import check_decodable, check_slices
from lnq.data.readers.header import check_geometry, check_name, check_ratio, refusal
from lnq.data.readers.quiet import quiet_itk
from lnq.errors import memory_for
from lnq.volume import Array, Grid, Volume, from_sitk

_MOST_SHOWN = 3
_SHIFT_TOLERANCE_MM = 0.05
_ANGLE_TOLERANCE = 1e-3


def read_series(path: ScanPath) -> tuple[Volume, list[str]]:
    """Reads one CT scan.

    Args:
        path: A folder of DICOM slices, or one with folders of them; one slice, where other scans
            lie in its folder too; or the slices.

    Returns:
        The values as the slices' rescaling gives them, `z y x`, slices ordered by position; notes.

    Raises:
        CaseError: No CT slices; a slice missing, doubled, truncated or unlike the others; a tilted
            gantry.
        UsageError: Several scans.
    """
    files, unreadable = files_of(path)
    folder = path if isinstance(path, Path) and path.is_dir() else files[0].parent
    slices = _ordered(files)
    grid = _common_grid(folder, slices)
    volume = _read_ordered(folder, slices)
    check_slices(slices, volume.array)
    difference = grid.difference(volume.grid, 10 * _SHIFT_TOLERANCE_MM)
    if difference:
        raise refusal(folder, f"the reader places it elsewhere: {difference}", "export it again")
    notes = _notes(slices)
    if unreadable:
        notes.append(
            f"{len(unreadable)} files beside it cannot be read and may be slices of it "
            f"({unreadable[0]} ...). Copy them again"
        )
    if isinstance(path, Path) and (more := goes_on(path, files)):
        notes.append(
            f"more slices of its series lie in {', '.join(map(str, more))}. Give the folder above "
            "for all of them"
        )
    return Volume(volume.array, grid), notes


def _notes(slices: list[Slice]) -> list[str]:
    """What is odd about the slices, each once."""
    notes = [
        note if count == len(slices) else f"{count} of {len(slices)} slices: {note}"
        for note, count in Counter(note for one in slices for note in one.notes).items()
    ]
    series, instances = {one.series for one in slices}, {one.uid for one in slices}
    lost = []
    if "" in series | instances:
        lost.append("UIDs are blank")
    elif len(series) > 1:
        lost.append("each slice has a series UID of its own")
    if "" not in instances and len(instances) < len(slices):
        lost.append("slices share a UID")
    if lost:
        notes.append(
            f"{' and '.join(lost)}, as after some de-identification: taken as one series by their "
            "positions. Annotations that name UIDs cannot be matched"
        )
    if len({one.rescale for one in slices}) > 1:
        notes.append("its slices have different rescale slopes or intercepts. Check that all show "
                     "HU")  # fmt: skip
    if any(one.tilt for one in slices):
        notes.append(
            "the header states a gantry tilt, the slices' positions are straight. If a sagittal "
            "view looks sheared, export the scan again"
        )
    return notes


def ordered_files(path: ScanPath) -> list[Path]:
    """The files of one CT series in the order in which `read_series` stacks them.

    Args:
        path: As for `read_series`, which raises the same.
    """
    return [one.path for one in _ordered(series_files(path))]


def _ordered(files: list[Path]) -> list[Slice]:
    return sorted(map(read_slice, files), key=lambda one: one.height)


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
    heights = np.array([one.height for one in slices])
    steps = np.diff(heights)
    if steps.sum() < SAME_PLACE_MM:
        raise refusal(folder, "all slices lie in one place: a time series, or positions are lost",
                      "export a scan whose slices carry their positions")  # fmt: skip
    _check_copies(folder, slices, steps)
    usual, odd = usual_step(heights)
    if len(odd):
        listed = [f"{slices[k].path.name} and {slices[k + 1].path.name} lie {steps[k]:.4g} mm apart"
                  for k in odd[:_MOST_SHOWN]]  # fmt: skip
        more = f" and {len(odd) - _MOST_SHOWN} more" if len(odd) > _MOST_SHOWN else ""
        raise refusal(
            folder,
            f"slices are missing or unevenly spaced: {', '.join(listed)}{more}, the other "
            f"{len(steps) - len(odd)} pairs {usual:.4g} mm",
            "export the whole series, or resample it to even steps",
        )
    _check_straight(folder, slices)
    return float(heights[-1] - heights[0]) / (len(slices) - 1)


def _check_copies(folder: Path, slices: list[Slice], steps: Array) -> None:
    """Refuses slices in one place; two of one UID in two places are no copies."""
    same = np.flatnonzero(steps < SAME_PLACE_MM)
    if len(same) == 0:
        return
    low, high = slices[same[0]], slices[same[0] + 1]
    if low.uid and low.uid == high.uid:
        raise refusal(high.path, f"a copy of {low.path.name}", "remove one of the two")
    raise refusal(
        folder,
        f"duplicated slice: {low.path.name} and {high.path.name} lie at the same position"
        + (f", and {len(same) - 1} more pairs do" if len(same) > 1 else ""),
        "remove one of them, or give the one scan that is meant" if len(same) > 1
        else "remove one of them",
    )  # fmt: skip


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
    for one in slices:
        check_name(one.path)
    rows, columns = slices[0].size
    promised = len(slices) * rows * columns * slices[0].bits[0] // 8
    check_ratio(folder, promised, sum(one.path.stat().st_size for one in slices))
    reader = sitk.ImageSeriesReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileNames([str(one.path) for one in slices])
    if len({(one.rescale, one.bits) for one in slices}) > 1:
        # The reader would force all slices into the value type of the first.
        reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        with memory_for(folder), quiet_itk():
            return from_sitk(reader.Execute())
    except RuntimeError as error:
        check_decodable(slices)  # names the slice, where it can
        reason = str(error).strip().splitlines()[-1]
        raise refusal(folder, f"the reader says: {reason}", "export the series again") from error
