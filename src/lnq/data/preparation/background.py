"""The masks of what can be no node, read as labels are and laid over each other."""

from __future__ import annotations

import numpy as np

from lnq.data.case import Case
from lnq.data.readers import Scan, label_name, read_mask_with_notes
from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError
from lnq.volume import Volume

TOLERATED_OVERLAP = 0.05
"""Of an annotation, what may lie in the masks without a note: boundaries are not exact."""


def read_background(
    case: Case, scan: Scan, label: Volume | None
) -> tuple[Volume | None, list[str]]:
    """All masks of a case on its scan's grid, as one.

    Args:
        case: Has the masks.
        scan: The scan as it was read.
        label: The annotation on the scan's grid, if there is one that can be used.

    Returns:
        bool, or None where the case has no masks; and what was odd about them.

    Raises:
        CaseError: A mask is damaged, is none, or does not lie on the scan's grid; it is named.
    """
    if not case.background:
        return None, []
    found = np.zeros(scan.grid.size, bool)
    notes: dict[str, None] = {}  # in their order, what several masks have in common once
    overlaps: dict[str, int] = {}
    for path in case.background:
        try:
            given, odd = read_mask_with_notes(path, scan)
            mask, moved = align_label(given, scan.grid)
        except CaseError as error:
            raise error.at(path) from error
        notes |= dict.fromkeys(f"masks of background: {note}" for note in (*odd, *moved))
        inside = mask.array > 0
        found |= inside
        if label is not None and (both := int(np.count_nonzero(inside & (label.array > 0)))):
            overlaps[label_name(path)] = both
    return Volume(found, scan.grid), [*notes, *_overlap(found, label, overlaps)]


def _overlap(found: np.ndarray, label: Volume | None, overlaps: dict[str, int]) -> list[str]:
    """A note where annotated tissue lies in the masks."""
    if label is None or not overlaps:
        return []
    annotated = label.array > 0
    share = float(found[annotated].mean())
    if share <= TOLERATED_OVERLAP:
        return []
    name = max(overlaps, key=lambda one: overlaps[one])
    return [
        f"{share:.0%} of the annotation lies in masks of background, most of it in {name}; it "
        "stays annotated. Check both in a viewer"
    ]
