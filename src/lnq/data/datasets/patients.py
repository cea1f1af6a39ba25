"""Splits are by patient: checked, hashed, compared with an earlier run's; patients held out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from lnq.data.case import Case
from lnq.data.datasets.checks import shortened
from lnq.data.datasets.faults import shared_patients
from lnq.errors import LnqError, UsageError
from lnq.files import MANIFEST, read_json
from lnq.seeding import derive_seed


def check_patients(cases: Sequence[Case], root: object) -> None:
    """Refuses a dataset in which one patient is in two splits.

    Args:
        cases: All cases.
        root: Where the dataset lies, for the message.

    Raises:
        UsageError: Lists the cases of each such patient.
    """
    shared = [str(error.why) for error in shared_patients(cases).values()]
    if shared:
        raise UsageError(
            "the same patient is in several splits", where=root, why=shortened(shared),
            remedy="give all cases of a patient (group) the same split: a network must not be "
            "measured on whom it was trained on",
        )  # fmt: skip


def split_table(cases: Sequence[Case]) -> dict[str, dict[str, str]]:
    """Split and patient of every case, as the store's manifest keeps them."""
    return {case.case_id: {"split": case.split, "group": case.group} for case in cases}


def split_hash(table: Mapping[str, Mapping[str, str]]) -> str:
    """SHA-256 of a `split_table`: equal where each case has the same split and patient."""
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()


def earlier_split(root: Path) -> Any:
    """Split and patient of each case as an earlier run stored them; None where none did."""
    try:
        manifest = read_json(root / MANIFEST)
    except LnqError:
        return None
    return manifest.get("split") if isinstance(manifest, dict) else None


def split_changes(before: Any, now: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Cases that are in another split than before, as `ID from train to val`.

    Args:
        before: An earlier `split_table`, or anything else where there is none.
        now: The present one.
    """
    if not isinstance(before, Mapping):
        return []
    return [
        f"{case_id} from {before[case_id]['split']} to {entry['split']}"
        for case_id, entry in now.items()
        if case_id in before and before[case_id]["split"] != entry["split"]
    ]


def held_out_patients(patients: Collection[str], share: float, seed: int) -> frozenset[str]:
    """A share of the patients, drawn by seed.

    Each patient's place in the draw is its own: neither the others nor the order in which they are
    listed move it, so that a dataset that grows keeps most of whom it held out.

    Args:
        patients: Whom to draw from, at least two.
        share: Of the patients, in [0, 1). Unless it is 0, at least one is drawn, and one is left.
        seed: Of the draw.
    """
    if share == 0:
        return frozenset()
    drawn = sorted(set(patients), key=lambda patient: derive_seed(seed, "holdout", patient))
    return frozenset(drawn[: min(max(1, round(share * len(drawn))), len(drawn) - 1)])
