"""Folds of a cross-validation: which patients each leaves out, drawn by seed or as a file says."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from lnq.data.case import Supervision
from lnq.data.datasets.checks import shortened
from lnq.errors import LnqError, UsageError
from lnq.files import read_json
from lnq.seeding import derive_seed

KINDS: tuple[Supervision, ...] = ("full", "partial", "none")
"""From the most that is known of a patient's nodes to the least."""


@dataclass(frozen=True)
class Fold:
    """One fold.

    Attributes:
        number: From 0 on.
        count: How many there are, where they are drawn.
        splits: A `splits_final.json` in nnU-Net's form that lists them instead.
    """

    number: int
    count: int = 5
    splits: Path | None = None


class FoldCases(BaseModel):
    """An entry of `splits_final.json`."""

    train: list[str]
    val: list[str]


FOLDS = TypeAdapter(list[FoldCases])
"""`splits_final.json`."""


def fold_of(datamodule: Mapping[str, Any]) -> Fold | None:
    """The fold of a training's configuration, if it is one of a cross-validation."""
    if datamodule.get("fold") is None:
        return None
    splits = datamodule.get("splits")
    return Fold(datamodule["fold"], datamodule.get("folds", Fold.count), splits and Path(splits))


def fold_faults(datamodule: Mapping[str, Any]) -> list[str]:
    """What is wrong between the keys of a configuration that concern folds, checked or not."""
    fold, count = datamodule.get("fold"), datamodule.get("folds", Fold.count)
    if fold is None:
        alone = datamodule.get("splits") is not None
        return ["datamodule.splits: give datamodule.fold=N, one of them"] if alone else []
    faults = []
    drawn = datamodule.get("splits") is None and isinstance(fold, int) and isinstance(count, int)
    if drawn and fold >= count:
        faults.append(f"datamodule.fold={fold}: they are {count}, from 0 on; see datamodule.folds")
    if datamodule.get("holdout"):
        faults.append("datamodule.holdout: the fold holds patients out; leave it at 0")
    return faults


def drawn_folds(kinds: Mapping[str, Supervision], count: int, seed: int) -> list[frozenset[str]]:
    """Deals patients into folds.

    Each fold gets its share of the completely annotated ones, of the partly annotated and of the
    others; their sizes differ by one patient at most.

    Args:
        kinds: Of each patient, the best supervision that one of its cases has.
        count: How many folds, at least 2.
        seed: Of the draw; the order of `kinds` does not matter.

    Returns:
        The patients that each fold leaves out.
    """
    dealt = sorted(
        kinds, key=lambda patient: (KINDS.index(kinds[patient]), derive_seed(seed, "fold", patient))
    )
    return [frozenset(itertools.islice(dealt, first, None, count)) for first in range(count)]


def best_supervision(patients: Sequence[tuple[str, Supervision]]) -> dict[str, Supervision]:
    """Of each patient the best supervision, from patient and supervision of each case."""
    best: dict[str, Supervision] = {}
    for patient, kind in patients:
        best[patient] = min(best.get(patient, kind), kind, key=KINDS.index)
    return best


def listed_fold(fold: Fold, patients: Mapping[str, str]) -> frozenset[str]:
    """The patients that a fold of a file leaves out.

    Args:
        fold: With its file.
        patients: By case, of all cases that are trained on or validated.

    Raises:
        UsageError: The file has no such fold, lists other cases, or has a patient on both sides.
    """
    assert fold.splits is not None
    try:
        parts = FOLDS.validate_python(read_json(fold.splits))[fold.number]
    except (IndexError, LnqError, ValidationError) as error:
        raise _refusal(fold, f"it has no fold {fold.number} with train and val") from error
    known = set(patients)
    listed = [*parts.train, *parts.val]
    wrong = [f"{case} is not among the cases" for case in sorted({*listed} - known)]
    wrong += [f"{case} is not in it" for case in sorted(known - {*listed})]
    if wrong:
        raise _refusal(fold, f"it is of other cases: {shortened(wrong)}")
    trained, left_out = ({patients[case] for case in part} for part in (parts.train, parts.val))
    if trained & left_out:
        both = [case for case in parts.val if patients[case] in trained]
        raise _refusal(fold, f"patients are in train and val: those of {shortened(both)}")
    return frozenset(left_out)


def _refusal(fold: Fold, why: str) -> UsageError:
    return UsageError("these folds cannot be used", where=fold.splits, why=why,
                      remedy="correct it, or leave datamodule.splits out")  # fmt: skip
