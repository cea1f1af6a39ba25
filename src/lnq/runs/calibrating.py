"""The threshold at which a run's network is used, chosen on cases that its training never saw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from lnq.box import Box
from lnq.calibration import OF_COMPLETE, Calibration, CalibrationCurve, GivenRule, Rule
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.errors import CaseError, UsageError, memory_for
from lnq.evaluation.operating_point import Choice, choose_operating_point
from lnq.evaluation.threshold_sweep import CaseSweep, SweepRule, sweep_case
from lnq.files import FailureLog
from lnq.inference.predictor import Predictor
from lnq.networks.training_record import TrainingRecord
from lnq.volume import components

Track = Callable[[Sequence[CaseRecord]], Iterable[CaseRecord]]

_HOLD_OUT = "train with datamodule.holdout=0.2, which keeps a fifth of the patients out of training"


class RunSettings(BaseModel):
    """What is read of a run's configuration, which may be a stranger's.

    Attributes:
        store: Folder that `lnq.preprocess` wrote.
        expected_nodes: Nodes a scan that the user expected, if any were given.
    """

    store: Path
    expected_nodes: Annotated[float, Field(gt=0, le=1000)] | None = None

    @classmethod
    def of(cls, record: TrainingRecord, checkpoint: Path) -> RunSettings:
        """Those of a checkpoint's record.

        Raises:
            UsageError: They are missing or of another type.
        """
        try:
            return cls.model_validate(record.config)
        except ValidationError as error:
            faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
            raise UsageError(
                "the run's configuration is damaged", where=checkpoint, why="; ".join(faults),
                remedy="use another checkpoint",
            ) from error  # fmt: skip


def choose_rule(wanted: GivenRule, store: CaseStore, record: TrainingRecord, expects: bool) -> Rule:
    """The rule that a run's cases allow.

    Args:
        wanted: A rule; or `auto` = `dice` where all held-out cases are completely annotated, else
            `expected_dice` where the user expects a number of nodes, else `dice` where there are
            complete cases for validation, else `count`.
        store: What the run was trained on.
        record: What its checkpoint says.
        expects: Whether the user expects a number of nodes a scan.

    Raises:
        UsageError: `expected_dice` is wanted, and nothing is expected.
    """
    if wanted == "expected_dice" and not expects:
        raise UsageError("rule=expected_dice needs expected_nodes", remedy="give the nodes that a "
                         "scan holds on average, as you guess")  # fmt: skip
    if wanted != "auto":
        return wanted
    complete = {case.case_id for case in _complete(store, record)}
    if expects and not complete.issuperset(record.held_out):
        return "expected_dice"
    return "dice" if complete else "count"


def unseen_cases(store: CaseStore, record: TrainingRecord, rule: Rule) -> list[CaseRecord]:
    """The cases that a rule chooses on: held-out ones, or complete ones, those for validation too.

    Args:
        store: What the run was trained on.
        record: What its checkpoint says.
        rule: How the threshold is chosen.

    Raises:
        UsageError: There is no such case; the store was prepared otherwise; or it has a case of a
            patient that training saw.
    """
    if store.settings != record.preprocessing:
        raise UsageError(
            "the store was prepared otherwise than the run's", where=store.root,
            remedy="give store=DIR, the folder that the run was trained on",
        )  # fmt: skip
    known = store.case_ids()
    if missing := [case for case in record.held_out if case not in known]:
        raise UsageError(
            "held-out cases are not in the store", where=store.root, why=", ".join(missing),
            remedy="run lnq.preprocess again, or give store=DIR",
        )  # fmt: skip
    of_complete = rule in OF_COMPLETE
    cases = _complete(store, record) if of_complete else list(map(store.record, record.held_out))
    if not cases:
        kind = "completely annotated" if of_complete else "held-out"
        raise UsageError("nothing to choose a threshold on", where=store.root,
                         why=f"the run has no {kind} case", remedy=_HOLD_OUT)  # fmt: skip
    _refuse_seen(store, record, cases)
    return cases


def calibrate(
    predictor: Predictor,
    checkpoint_sha256: str,
    store: CaseStore,
    cases: Sequence[CaseRecord],
    choice: Choice,
    *,
    expected_nodes: float | None,
    min_overlap: float,
    say: Callable[[str], None],
    track: Track = iter,
) -> Calibration:
    """Predicts cases of a store and chooses the threshold.

    A case that cannot be used is told, and the others go on.

    Args:
        predictor: The run's network; of its post-processing HU window and smallest volume are
            applied, on the working grid. The border of the scan is not known there.
        checkpoint_sha256: Of the checkpoint that it came from.
        store: Where the cases lie.
        cases: As `unseen_cases` gives them.
        choice: How to choose, by the rule that they were for.
        expected_nodes: What the expected volume was made of, for the record.
        min_overlap: Share of a node's voxels that makes it found, in (0, 1].
        say: Gets what the user should know, line by line.
        track: Shows progress: gets the cases, gives them back one by one.

    Raises:
        UsageError: The cases that could be used have no node, or none is ever found.
    """
    post = predictor.post_processing
    rule = SweepRule(post.hu_window, post.min_volume_mm3, min_overlap)
    sweeps: list[CaseSweep] = []
    failures = FailureLog()
    for case in track(cases):
        with _told(case, failures, say):
            sweeps.append(_sweep(predictor, store, case, rule))
    point = choose_operating_point(sweeps, choice)
    columns = {name: values.tolist() for name, values in vars(point.curve).items()}
    return Calibration(
        threshold=point.threshold, interval=point.interval, confidence=choice.confidence,
        rule=choice.rule, expected_nodes=expected_nodes, expected_ml=choice.expected_ml,
        smoothing=choice.smoothing, min_overlap=min_overlap, num_nodes=point.num_nodes,
        cases=point.cases, checkpoint_sha256=checkpoint_sha256, curve=CalibrationCurve(**columns),
        failures=failures.entries,
    )  # fmt: skip


def mean_node_ml(store: CaseStore, record: TrainingRecord) -> float:
    """Volume of an annotated node on the working grid, ml, mean over all training cases.

    The held-out cases alone have too few: their mean is chance. A node's size is no secret that
    training might have learnt from them.

    Args:
        store: What the run was trained on.
        record: What its checkpoint says.

    Raises:
        UsageError: No node is annotated.
        CaseError: A label cannot be read.
    """
    nodes, volume_mm3 = 0, 0.0
    known = set(store.case_ids())
    for case_id in [*(record.cases or ()), *record.held_out]:
        label = store.label(case_id) if case_id in known else None
        if label is not None:
            nodes += components(label[Box.around(label).slices])[1]
            voxel_mm3 = store.record(case_id).grid.voxel_volume_mm3
            volume_mm3 += float(np.count_nonzero(label)) * voxel_mm3
    if not nodes:
        raise UsageError("no node is annotated in the training cases", where=store.root,
                         remedy="leave expected_nodes out")  # fmt: skip
    return volume_mm3 / nodes / 1000


def _complete(store: CaseStore, record: TrainingRecord) -> list[CaseRecord]:
    held_out = set(record.held_out)
    complete = map(store.record, store.case_ids(supervision="full"))
    return [case for case in complete if case.case_id in held_out or case.split == "val"]


def _refuse_seen(store: CaseStore, record: TrainingRecord, cases: Sequence[CaseRecord]) -> None:
    """A store may have got another split since the run was trained."""
    trained = set(record.cases or ())
    patients = {store.record(case).group for case in store.case_ids() if case in trained}
    seen = [c.case_id for c in cases if c.case_id in trained or c.group in patients]
    if seen:
        raise UsageError(
            "training saw these cases or their patients", where=store.root, why=", ".join(seen),
            remedy="give store=DIR, the folder that the run was trained on",
        )  # fmt: skip


@contextmanager
def _told(case: CaseRecord, failures: FailureLog, say: Callable[[str], None]) -> Iterator[None]:
    """What goes wrong with a case in the block is told, and noted."""
    try:
        with memory_for(case.case_id):
            yield
    except CaseError as error:
        failures.add(case.case_id, error)
        say(f"{case.case_id}: failed: {error}")


def _sweep(predictor: Predictor, store: CaseStore, case: CaseRecord, rule: SweepRule) -> CaseSweep:
    image = np.array(store.image(case.case_id), np.float32)
    label = store.label(case.case_id)
    if label is None:  # a scan of a held-out patient, of which nothing is known
        label = np.zeros(image.shape, np.uint8)
    return sweep_case(
        case.case_id, case.group, predictor.probability(image)[0], image * case.sd + case.mean,
        label, case.grid.voxel_volume_mm3, rule, complete=case.supervision == "full",
    )  # fmt: skip
