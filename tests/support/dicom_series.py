"""Series of small DICOM slices, in one folder or several."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lnq.data.datasets import ScansLayout
from lnq.data.readers import find_scans
from lnq.inference.mask_files import plan
from support.dicom_slices import stored, write_slice

STEP = 2.5


def write(path: Path, number: int, series: str, z: float, **tags: Any) -> Path:
    """A slice whose pixels are those of `stored(number)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_slice(path, number, series, z)
    if tags:
        with pydicom.config.disable_value_validation():  # some are malformed on purpose
            data = pydicom.dcmread(path)
            for tag, value in tags.items():
                setattr(data, tag, value)
            data.save_as(path)
    return path


def write_series(
    folder: Path, series: str, count: int = 8, prefix: str = "", **tags: Any
) -> list[Path]:
    """A series whose values are functions of a tag or the same in all slices."""
    return [
        write(
            folder / f"{prefix}{k:02d}.dcm", k, series, STEP * k,
            **{tag: value(k) if callable(value) else value for tag, value in tags.items()},
        )
        for k in range(count)
    ]  # fmt: skip


def volume(count: int = 8) -> Any:
    return np.stack([stored(k) for k in range(count)]) - 1024


def ids(root: Path) -> list[str]:
    """As the doctor and predict call the scans; both must say the same."""
    listed = [case.case_id for case in ScansLayout(root).cases()]
    jobs = plan(find_scans(root), root, root.parent / "masks", None)
    assert sorted(job.name for job in jobs) == listed
    return listed


def split_in_two(root: Path) -> None:
    for k, path in enumerate(write_series(root / "first", "1.2.3")):
        if k >= 4:
            (root / "second").mkdir(exist_ok=True)
            path.rename(root / "second" / path.name)


def acquisition(**tags: Callable[[int], Any]) -> Callable[[Path], None]:
    """Two phases of one series UID in one folder."""

    def build(folder: Path) -> None:
        for phase in range(2):
            values = {tag: value(phase) for tag, value in tags.items()}
            write_series(folder, "1.2.3", prefix=f"p{phase}_", **values)

    return build
