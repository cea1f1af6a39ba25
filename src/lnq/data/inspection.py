"""What is wrong with a dataset, case by case, before anything is trained on it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from lnq.data.alignment import align_label
from lnq.data.case import Case
from lnq.data.readers import Scan, read_image_with_notes, read_label
from lnq.errors import CaseError
from lnq.volume import Volume, components

# Every CT of a chest holds air below and bone above these values.
_AIR_HU, _BONE_HU = -500, 200


@dataclass
class CaseReport:
    """What was found in one case.

    Attributes:
        case_id: The case.
        split: Its part of the dataset.
        supervision: How it is annotated.
        size: Voxels `(z, y, x)`; None = the scan cannot be read, as for all that follows.
        spacing_mm: Voxel size `(z, y, x)`, mm.
        hu_range: Lowest and highest value.
        component_volumes_mm3: Volume of each connected component of the label, largest first;
            None = no label, or none that can be used.
        image_hash: SHA-256 of the voxels, by which duplicates are found.
        notes: Odd, but usable.
        problems: Why the case cannot be used as it is.
    """

    case_id: str
    split: str
    supervision: str
    size: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    hu_range: tuple[float, float] | None = None
    component_volumes_mm3: list[float] | None = None
    image_hash: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


def inspect_case(case: Case) -> CaseReport:
    """Reads one case with the checks that all commands apply; problems are listed, not raised."""
    report = CaseReport(case.case_id, case.split, case.supervision)
    try:
        image, notes = read_image_with_notes(case.image)
    except CaseError as error:
        report.problems.append(str(error))
        return report
    low, high = float(image.array.min()), float(image.array.max())
    report.size, report.spacing_mm = image.grid.size, image.grid.spacing_mm
    report.hu_range = (low, high)
    report.image_hash = hashlib.sha256(np.ascontiguousarray(image.array).data).hexdigest()
    report.notes += notes
    if low > _AIR_HU or high < _BONE_HU:
        report.problems.append(
            f"values from {low:g} to {high:g} are no Hounsfield units of a chest: air (below "
            f"{_AIR_HU}) or bone (above {_BONE_HU}) is missing"
        )
    if case.label is not None:
        _inspect_label(case, image, report)
    return report


def inspect_cases(cases: Iterable[Case]) -> Iterator[CaseReport]:
    """Reports case by case; a scan equal to an earlier one, voxel by voxel, is a problem."""
    seen: dict[str, str] = {}
    for case in cases:
        report = inspect_case(case)
        if report.image_hash is not None:
            first = seen.setdefault(report.image_hash, report.case_id)
            if first != report.case_id:
                report.problems.append(f"the same scan as {first}")
        yield report


def _inspect_label(case: Case, image: Volume, report: CaseReport) -> None:
    assert case.label is not None
    try:
        scan = Scan(case.image, image.grid)
        given = read_label(case.label, scan=scan, names=case.label_names)
        label, notes = align_label(given, image.grid)
    except CaseError as error:
        report.problems.append(f"label: {error}")
        return
    report.notes += notes
    report.component_volumes_mm3 = _component_volumes(label)
    if not report.component_volumes_mm3:
        report.notes.append("the label is empty")


def _component_volumes(label: Volume) -> list[float]:
    """Volumes of the 26-connected components, largest first, mm³."""
    numbered, _ = components(label.array)
    counts = np.bincount(numbered.ravel())[1:]
    return sorted((round(float(n) * label.grid.voxel_volume_mm3, 3) for n in counts), reverse=True)
