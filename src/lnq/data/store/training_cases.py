"""Which cases of a store are trained on, and which are held out of it."""

from __future__ import annotations

from dataclasses import dataclass

from lnq.data.datasets.patients import held_out_patients
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError


@dataclass(frozen=True)
class TrainingCases:
    """The cases of the split `train`, in the dataset's order.

    Attributes:
        trained: Those that training sees.
        held_out: Those of patients that it never sees.
    """

    trained: list[str]
    held_out: list[str]


def training_cases(store: CaseStore, holdout: float, seed: int) -> TrainingCases:
    """Parts the training cases of a store by patient.

    Only patients with an annotated voxel are held out: the others have no node to be found.

    Args:
        store: Preprocessed cases.
        holdout: Share of these patients that is held out, in [0, 1).
        seed: Of the draw.

    Raises:
        UsageError: There is no training case; or one is to be held out, and fewer than two patients
            have annotations.
        RunError: A case's record is damaged.
    """
    cases = store.case_ids(split="train")
    if not cases:
        raise UsageError(
            "no training cases", where=store.root,
            remedy="run lnq.preprocess on a dataset that has some",
        )  # fmt: skip
    records = [store.record(case) for case in cases]
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
    )
