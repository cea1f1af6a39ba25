"""What is wrong with a dataset, case by case, before anything is trained on it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import SimpleITK as sitk

from lnq.data.case import Case
from lnq.data.chest.lungs import Chest
from lnq.data.datasets.faults import copied_labels, duplicates, shared_patients
from lnq.data.preparation.examination import examine
from lnq.data.preparation.node_size import component_volumes
from lnq.data.preparation.processes import over_cases
from lnq.errors import CaseError, memory_for
from lnq.volume import Volume, resample


@dataclass
class CaseReport:
    """What was found in one case.

    Attributes:
        case_id: The case.
        split: Its part of the dataset.
        supervision: How it is annotated.
        image: The scan.
        label: The annotation, or None.
        size: Voxels `(z, y, x)`; None = the scan cannot be read, as for all that follows.
        spacing_mm: Voxel size `(z, y, x)`, mm.
        origin_mm: LPS position `(x, y, z)` of the first voxel, mm.
        orientation: To which side of the patient x, y and z grow, as stored: `LPS` is to the left,
            to the back, to the head. For oblique axes the nearest ones.
        hu_range: Lowest and highest value.
        body_litres: Volume of the patient in the scan; 0 = no body found.
        lungs_litres: Volume of the air in the lungs; 0 = no lungs found.
        lungs_cut: Sides of the scan at which the lungs are cut off, in words.
        component_volumes_mm3: Volume of each connected component of the label, largest first;
            None = no label, or none that can be used.
        annotated_fraction: Annotated part of the scan's voxels, 0 to 1; None as above.
        background_share: Part of the body that masks say can hold no node, 0 to 1; None = no masks,
            or no body.
        image_hash: SHA-256 of the voxels, by which duplicates are found.
        label_hash: SHA-256 of the label's voxels on the scan's grid; None where it marks none.
        notes: Odd, but usable.
        problems: Why the case cannot be used as it is.
    """

    case_id: str
    split: str
    supervision: str
    image: str
    label: str | None
    size: tuple[int, int, int] | None = None
    spacing_mm: tuple[float, float, float] | None = None
    origin_mm: tuple[float, float, float] | None = None
    orientation: str | None = None
    hu_range: tuple[float, float] | None = None
    body_litres: float | None = None
    lungs_litres: float | None = None
    lungs_cut: tuple[str, ...] = ()
    component_volumes_mm3: list[float] | None = None
    annotated_fraction: float | None = None
    background_share: float | None = None
    image_hash: str | None = None
    label_hash: str | None = None
    notes: list[str] = field(default_factory=list)
    problems: list[CaseError] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON; a problem is what, where, why and remedy, as in failures.json."""
        parts = ("what", "where", "why", "remedy")
        problems = [{name: getattr(error, name) for name in parts} for error in self.problems]
        return {**asdict(self), "problems": problems}


def inspect_case(case: Case) -> CaseReport:
    """Reads one case with the checks that all commands apply; problems are listed, not raised."""
    try:
        with memory_for(case.image):
            examined = examine(case)
    except CaseError as error:
        return _unread(case, error)
    report = _report(case)
    report.notes, report.problems = examined.notes, examined.problems
    if examined.image is None or examined.anatomy is None:
        return report
    array, grid = examined.image.array, examined.image.grid
    report.size, report.spacing_mm, report.origin_mm = grid.size, grid.spacing_mm, grid.origin_mm
    report.orientation = sitk.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(
        grid.direction
    )
    report.hu_range = (float(array.min()), float(array.max()))
    report.body_litres = round(examined.anatomy.body_litres, 3)
    report.lungs_litres = round(examined.anatomy.lungs_litres, 3)
    report.lungs_cut = examined.anatomy.cut
    report.image_hash, report.label_hash = examined.voxel_hash, examined.mask_hash
    if examined.label is not None:
        report.component_volumes_mm3 = component_volumes(examined.label)
        report.annotated_fraction = float(np.count_nonzero(examined.label.array) / array.size)
    if examined.background is not None and examined.anatomy.chest is not None:
        report.background_share = _share(examined.background, examined.anatomy.chest)
    return report


def inspect_cases(cases: Sequence[Case], num_workers: int = 0) -> Iterator[CaseReport]:
    """Reports case by case, in the order in which they end.

    Args:
        cases: The dataset.
        num_workers: Processes; 0 = this one, which then dies of a file that kills its reader.
    """
    return over_cases(inspect_case, cases, num_workers, _unread)


def compare_cases(cases: Sequence[Case], reports: Sequence[CaseReport]) -> list[CaseReport]:
    """The reports in the dataset's order, with the problems that only all of them together show.

    These are a scan equal to an earlier one, voxel by voxel, one label for two scans, and a patient
    in two splits.

    Args:
        cases: The dataset.
        reports: One a case; changed in place.
    """
    by_id = {report.case_id: report for report in reports}
    ordered = [by_id[case.case_id] for case in cases]
    hashes = {one.case_id: one.image_hash for one in ordered if one.image_hash is not None}
    masks = {one.case_id: one.label_hash for one in ordered if one.label_hash is not None}
    twins, leaks = duplicates(cases, hashes), shared_patients(cases)
    copies = copied_labels(cases, masks, hashes)
    for report in ordered:
        if report.case_id in leaks:
            report.problems.append(leaks[report.case_id])
        if report.case_id in twins:
            report.problems.append(twins[report.case_id].error())
        copied = copies.get(report.case_id)
        if isinstance(copied, CaseError):
            report.problems.append(copied)
        elif copied is not None:
            report.notes.append(copied)
    return ordered


def _share(mask: Volume, chest: Chest) -> float | None:
    """The part of the body that a mask covers, on the voxels on which the body is found."""
    on_body = resample(mask, chest.coarse.grid, "nearest").array[chest.body]
    return float(on_body.mean()) if on_body.size else None


def _report(case: Case) -> CaseReport:
    label = None if case.label is None else str(case.label)
    return CaseReport(case.case_id, case.split, case.supervision, str(case.image), label)


def _unread(case: Case, error: CaseError) -> CaseReport:
    report = _report(case)
    report.problems.append(error)
    return report
