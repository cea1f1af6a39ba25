"""Which cases of a store are trained on, which validate, and which are held out of training."""

from __future__ import annotations

from dataclasses import dataclass

from lnq.data.datasets.folds import Fold, best_supervision, drawn_folds, listed_fold
from lnq.data.datasets.patients import held_out_patients
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError


@dataclass(frozen=True)
class TrainingCases:
    """Cases of the splits `train` and `val`, in the dataset's order.

    Attributes:
        trained: Those that training sees.
        held_out: Those of patients that it never sees though their split is `train`, or that its
            fold leaves out.
        validated: Completely annotated ones that it never sees: of the split `val`, or of its fold.
    """

    trained: list[str]
    held_out: list[str]
    validated: list[str]


def training_cases(
    store: CaseStore, holdout: float, seed: int, fold: Fold | None = None
) -> TrainingCases:
    """Parts the cases of a store by patient; none are trained on where it has none to train on.

    Only patients with an annotated voxel are held out: the others have no node to be found. A fold
    parts all patients of `train` and `val`.

    Args:
        store: Preprocessed cases.
        holdout: Share of these patients that is held out, in [0, 1).
        seed: Of the draw.
        fold: Of a cross-validation; with it `holdout` is 0.

    Raises:
        UsageError: One is to be held out, and fewer than two patients have annotations; or there
            are fewer patients than folds, or other ones than in a file.
        RunError: A case's record is damaged.
    """
    if fold is not None:
        return _of_fold(store, fold, seed)
    records = [store.record(case) for case in store.case_ids(split="train")]
    annotated = {record.group for record in records if record.num_foreground}
    if holdout and len(annotated) < 2:
        raise UsageError(
            "nobody can be held out", where=f"datamodule.holdout={holdout}",
            why=f"{len(annotated)} training patient(s) of {store.root} have annotations",
            remedy="leave it at 0",
        )  # fmt: skip
    held = held_out_patients(annotated, holdout, seed)
    return TrainingCases(
        [record.case_id for record in records if record.group not in held],
        [record.case_id for record in records if record.group in held],
        store.case_ids(split="val", supervision="full"),
    )


def _of_fold(store: CaseStore, fold: Fold, seed: int) -> TrainingCases:
    records = [store.record(case) for case in store.case_ids()]
    pool = [record for record in records if record.split != "test"]
    left_out = _left_out(pool, fold, seed)
    held = [record for record in pool if record.group in left_out]
    trained = [record.case_id for record in pool if record.group not in left_out]
    if not held or not trained:
        raise UsageError(
            "the fold holds nobody out, or everybody", where=f"datamodule.fold={fold.number}",
            why=f"{len({record.group for record in pool})} patients of {store.root}",
            remedy="lower datamodule.folds",
        )  # fmt: skip
    complete = [record.case_id for record in held if record.supervision == "full"]
    return TrainingCases(trained, [record.case_id for record in held], complete)


def _left_out(pool: list[CaseRecord], fold: Fold, seed: int) -> frozenset[str]:
    if fold.splits is not None:
        return listed_fold(fold, {record.case_id: record.group for record in pool})
    kinds = best_supervision([(record.group, record.supervision) for record in pool])
    return drawn_folds(kinds, fold.count, seed)[fold.number]
