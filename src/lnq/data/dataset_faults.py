"""What is wrong with a dataset though each of its cases is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

from lnq.data.case import Case, Split
from lnq.errors import CaseError


def shared_patients(cases: Sequence[Case]) -> dict[str, CaseError]:
    """Cases whose patient is also in an earlier split (train, val, test), by id.

    Numbers on such a case tell how well a patient is remembered. The patient is not named: what a
    table calls a group may be a name.

    Args:
        cases: The dataset.
    """
    order: tuple[Split, ...] = get_args(Split)
    first: dict[str, Case] = {}
    for case in sorted(cases, key=lambda one: order.index(one.split)):
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


def duplicates(hashes: Mapping[str, str]) -> dict[str, str]:
    """Cases that are the same scan as an earlier one, by id, with the earlier one's id.

    Args:
        hashes: Hash of each scan by case id, in the dataset's order.
    """
    first: dict[str, str] = {}
    found = {case_id: first.setdefault(digest, case_id) for case_id, digest in hashes.items()}
    return {case_id: earlier for case_id, earlier in found.items() if case_id != earlier}
