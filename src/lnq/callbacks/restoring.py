"""What of a checkpoint a resumed training takes over: numbers, by a schema of ours.

Lightning would restore what any callback once saved. `ModelCheckpoint` saves paths, and removes
what they name, whole folders too, when it saves next: from a stranger's file these may be any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import pytorch_lightning as pl
from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    StrictBool,
    StrictInt,
    ValidationError,
)
from torch import Tensor

from lnq.errors import UsageError
from lnq.networks.training_record import REMEDY, trained

PRECISION = "MixedPrecision"
"""Under which Lightning saves the state of a gradient scaler."""

FIT, VALIDATION = "fit_loop", "epoch_loop.val_loop.batch_progress"
"""Under which Lightning saves, inside `loops`, how far validation came."""

Count = Annotated[NonNegativeInt, StrictInt]


class _Schema(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)


class Stopping(_Schema):
    """State of Lightning's `EarlyStopping`."""

    wait_count: Count
    stopped_epoch: Count
    best_score: Tensor
    patience: Count


class Counts(_Schema):
    """How many cases began, and ended."""

    ready: Count = 0
    started: Count = 0
    processed: Count = 0
    completed: Count = 0


class Progress(_Schema):
    """How far validation came: `total` of this epoch, `current` the last time."""

    total: Counts
    current: Counts
    is_last_batch: StrictBool

    def whole(self) -> Progress:
        """The same, with a validation that was cut short as one that is still to begin.

        Lightning would leave it out where a signal came between two cases, or else go on with the
        case it came to, and so with the mean of some. It tells by `total` alone, in which a case
        that was begun twice counts for ever.
        """
        if not self.total.ready:
            return self
        if self.is_last_batch and self.current.ready == self.current.completed:
            return self.model_copy(update={"total": self.current})
        return Progress(total=Counts(ready=1, started=1), current=Counts(), is_last_batch=False)


class Training(_Schema):
    """State of a training beside its weights."""

    epoch: Count
    global_step: Count
    loops: dict[str, Any]
    optimizer_states: list[dict[str, Any]]
    lr_schedulers: list[dict[str, Any]]


STATES: Mapping[str, type[BaseModel]] = {"EarlyStopping": Stopping}
"""Of callbacks that go on with what they counted, by the class's name, with which keys begin."""


def restorable(contents: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The part of a checkpoint that Lightning may restore.

    A `ModelCheckpoint` begins anew: what it kept before, stays on the disk.

    Args:
        contents: The whole file.
        path: Named in errors.

    Raises:
        UsageError: What a training goes on with is missing or of another kind.
    """
    checkpoint = trained(contents, path)
    try:
        training = Training.model_validate(contents)
        loops = _with_whole_validation(training.loops)
        states = {
            key: dict(schema.model_validate(state))
            for key, state in _states(contents).items()
            for name, schema in STATES.items()
            if key.partition("{")[0] == name
        }
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
        raise UsageError(
            "no training can go on with this checkpoint", where=path,
            why="; ".join(faults[:5]), remedy=REMEDY,
        ) from error  # fmt: skip
    scaler = {PRECISION: contents[PRECISION]} if PRECISION in contents else {}
    return {
        "state_dict": checkpoint.state_dict,
        **dict(training),
        "loops": loops,
        **scaler,
        "callbacks": states,
        "pytorch-lightning_version": pl.__version__,  # another one has it rewritten
    }


def _with_whole_validation(loops: dict[str, Any]) -> dict[str, Any]:
    fit = loops.get(FIT)
    if not isinstance(fit, dict) or VALIDATION not in fit:
        return loops  # which Lightning refuses
    progress = Progress.model_validate(fit[VALIDATION]).whole()
    return {**loops, FIT: {**fit, VALIDATION: progress.model_dump()}}


def _states(contents: Mapping[str, Any]) -> dict[str, Any]:
    states = contents.get("callbacks")
    return {str(key): state for key, state in states.items()} if isinstance(states, dict) else {}
