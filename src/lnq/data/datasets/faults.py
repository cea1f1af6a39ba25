"""What is wrong with a dataset though each of its cases is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import get_args

from lnq.data.case import Case, Split
from lnq.data.datasets.checks import shortened
from lnq.errors import CaseError


def shared_patients(cases: Sequence[Case]) -> dict[str, CaseError]:
    """Cases whose patient is also in an earlier split (train, val, test), by id.

    Numbers on such a case tell how well a patient is remembered. The patient is not named: what a
    table calls a group may be a name.

    Args:
        cases: The dataset.
    """
    first: dict[str, Case] = {}
    for case in _by_split(cases):
        first.setdefault(case.group, case)
    return {
        case.case_id: CaseError(
            "the same patient in two splits",
            where=case.image,
            why=f"{case.case_id} is in {case.split}, {first[case.group].case_id} of the same "
            f"patient in {first[case.group].split}",
            remedy="give all scans of a patient one split",
        )
        for case in cases
        if case.split != first[case.group].split
    }


@dataclass(frozen=True)
class Duplicate:
    """A case that is the same scan as an earlier one.

    Attributes:
        case: The case.
        earlier: The one before it: of an earlier split (train, val, test) where they differ.
    """

    case: Case
    earlier: Case

    @property
    def is_leak(self) -> bool:
        """Whether numbers on the case tell how well the earlier one is remembered."""
        return self.case.split != self.earlier.split

    def error(self) -> CaseError:
        """The same, in words."""
        splits = f", and it is in {self.case.split}, {self.earlier.case_id} in {self.earlier.split}"
        return CaseError(
            f"the same scan as {self.earlier.case_id}", where=self.case.image,
            why=f"all voxels are equal{splits if self.is_leak else ''}",
            remedy="remove one of the two",
        )  # fmt: skip


def duplicates(cases: Sequence[Case], hashes: Mapping[str, str]) -> dict[str, Duplicate]:
    """Cases that are the same scan as an earlier one, by id.

    Args:
        cases: The dataset.
        hashes: Hash of each scan that could be read, by case id.
    """
    first: dict[str, Case] = {}
    read = [case for case in _by_split(cases) if case.case_id in hashes]
    pairs = [Duplicate(case, first.setdefault(hashes[case.case_id], case)) for case in read]
    return {one.case.case_id: one for one in pairs if one.case is not one.earlier}


def copied_labels(
    cases: Sequence[Case], masks: Mapping[str, str], scans: Mapping[str, str]
) -> dict[str, CaseError | str]:
    """Cases whose label marks the very voxels that another scan's does, by id: whose is it?

    An error; for scans of one patient, of which two reconstructions may share a label, a note.
    Copies of a scan, which are told as such, do not count.

    Args:
        cases: The dataset.
        masks: Hash of each label on its scan's grid, by case id; none of empty labels.
        scans: As `hashes` of `duplicates`.
    """
    users: dict[str, list[Case]] = {}
    for case in cases:
        if case.case_id in masks:
            users.setdefault(masks[case.case_id], []).append(case)
    told: dict[str, CaseError | str] = {}
    for case in (one for together in users.values() for one in together):
        alike = [
            other for other in users[masks[case.case_id]]
            if scans.get(other.case_id) != scans.get(case.case_id)
        ]  # fmt: skip
        strangers = [other.case_id for other in alike if other.group != case.group]
        if strangers:
            told[case.case_id] = CaseError(
                f"the same label as {shortened(strangers)}", where=case.label,
                why="it marks the same voxels of another scan",
                remedy="give each scan its own label",
            )  # fmt: skip
        elif alike:
            told[case.case_id] = (
                f"its label is also that of {shortened([one.case_id for one in alike])}, of the "
                "same patient. Check it, unless both show one acquisition"
            )
    return told


def _by_split(cases: Sequence[Case]) -> list[Case]:
    """In the order train, val, test; in a split as given."""
    order: tuple[Split, ...] = get_args(Split)
    return sorted(cases, key=lambda one: order.index(one.split))
