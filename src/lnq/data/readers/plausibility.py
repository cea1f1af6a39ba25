"""What voxel values must look like, whatever format they came in."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from lnq.data.readers.header import refusal
from lnq.volume import Array

LabelKind = Literal["binary", "instances"]
_HU_LIMITS = (-32768, 32767)
_SAMPLE = 1 << 21
# Chains of floating-point programs move a label's values by less.
_ROUNDING = 1e-3
_MOST_SHOWN = 6


def as_hounsfield(array: Array, path: Path) -> Array:
    """The scan's values as int16, or float32 where they were stored as floating point.

    Args:
        array: Values as read, `z y x`.
        path: The file, for messages.

    Raises:
        CaseError: NaN, a value beyond 16 bits (no HU; it would wrap), one value throughout, or rows
            that do not fit each other because the header's axis lengths are exchanged.
    """
    low, high = array.min(), array.max()
    if not (np.isfinite(low) and np.isfinite(high)):
        raise refusal(path, "voxels are NaN or infinite", "replace them by the HU of air")
    if low < _HU_LIMITS[0] or high > _HU_LIMITS[1]:
        raise refusal(
            path, f"values from {low:g} to {high:g} are no Hounsfield units", "rescale it to HU"
        )
    if low == high:
        raise refusal(path, f"every voxel has the value {low:g}", "export the scan again")
    _check_rows(array, path)
    return array.astype(np.float32 if array.dtype.kind == "f" else np.int16, copy=False)


def as_label(array: Array, path: Path, kind: LabelKind) -> tuple[Array, list[str]]:
    """The annotation as uint8 0/1 (`binary`) or uint16 instance numbers (`instances`), and notes.

    Floating-point values next to a whole number count as that number.

    Args:
        array: Values as read, `z y x`.
        path: The file, for messages.
        kind: What the values should be.

    Raises:
        CaseError: Any other value; the values are named.
    """
    highest = 1 if kind == "binary" else np.iinfo(np.uint16).max
    whole, notes = array, list[str]()
    if array.dtype.kind == "f":
        whole = np.round(array)
        off = float(np.abs(whole - array).max())
        if off:
            notes.append(f"values up to {off:.2g} beside whole numbers are rounded. Save it as "
                         "integers")  # fmt: skip
        if not off <= _ROUNDING:
            whole = array
    # NaN fails every comparison and so counts as bad.
    good = (whole >= 0) & (whole <= highest)
    if whole.dtype.kind == "f":
        good &= whole == np.floor(whole)
    if not good.all():
        values = np.unique(array)
        shown = ", ".join(f"{v:.9g}" for v in values[:_MOST_SHOWN])
        more = ", ..." if len(values) > _MOST_SHOWN else ""
        allowed = "0 and 1" if kind == "binary" else f"whole numbers from 0 to {highest}"
        raise refusal(
            path,
            f"a {kind} label has {allowed}, this file has {shown}{more}",
            "map them to 0 = background, 1 = lymph node"
            if kind == "binary"
            else "number the instances from 1",
        )
    return whole.astype(np.uint8 if kind == "binary" else np.uint16), notes


def _check_rows(array: Array, path: Path) -> None:
    """Refuses a scan whose header exchanges the row length with another axis' length.

    Voxels one true row apart are neighbours. If values lying another axis' length apart resemble
    each other as closely as those side by side, and those one declared row apart do not, the
    declared row length is wrong.
    """
    depth, height, width = array.shape
    flat = array.reshape(-1)
    middle = max(0, (flat.size - _SAMPLE) // 2)
    sample = flat[middle : middle + _SAMPLE].astype(np.float32)
    beside, row = _mean_step(sample, 1), _mean_step(sample, width)
    for axis, length in (("y", height), ("z", depth)):
        if length in (1, width):
            continue
        other = _mean_step(sample, length)
        if other < 0.4 * row and other < 3 * beside:
            raise refusal(
                path,
                f"the lengths of x ({width}) and {axis} ({length}) seem exchanged in the header: "
                f"rows of {length} voxels fit each other, rows of {width} do not",
                "correct the sizes in the header",
            )


def _mean_step(values: Array, apart: int) -> float:
    if apart >= values.size:
        return float("inf")
    return float(np.abs(values[apart:] - values[:-apart]).mean())
