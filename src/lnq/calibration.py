"""A run's `calibration.json`: the threshold at which its network is used, and what that rests on.

The file holds its own hash: one that was changed is refused, not believed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from lnq.errors import LnqError, UsageError
from lnq.files import provenance, read_json, write_json
from lnq.run_folder import RunFolder

Rule = Literal["count", "expected_dice", "dice", "f1"]
"""What is largest at the threshold (`lnq.evaluation.operating_point`): r²/q; the DSC that is
expected with so many nodes a scan; the mean DSC or the mean F1 of nodes of complete cases."""
GivenRule = Literal["auto", "count", "expected_dice", "dice", "f1"]
"""As users say it."""
OF_COMPLETE: tuple[Rule, ...] = ("dice", "f1")
"""Rules that need completely annotated cases."""

_HASH = "sha256"
_CALIBRATION = "calibration"
_Probability = Annotated[float, Field(ge=0, le=1)]
_Amount = Annotated[float, Field(ge=0)]


@dataclass(frozen=True)
class CalibrationCurve:
    """What is known at each of T thresholds; every list has T numbers.

    Attributes:
        threshold: In (0, 1), rising.
        recall: Share of the annotated nodes that are found.
        candidates: Pieces of a scan's mask, mean.
        volume_ml: Of a scan's mask, mean, ml.
        criterion: What the rule makes as large as it can be.
    """

    threshold: list[_Probability]
    recall: list[_Probability]
    candidates: list[_Amount]
    volume_ml: list[_Amount]
    criterion: list[_Amount]

    def __post_init__(self) -> None:
        lengths = {len(values) for values in vars(self).values()}
        if len(lengths) > 1 or 0 in lengths:
            raise ValueError("the curve's columns are not of one length")


@dataclass(frozen=True)
class Calibration:
    """The threshold at which a checkpoint's network is used.

    Attributes:
        threshold: Probabilities above it are nodes; in (0, 1).
        interval: Of the thresholds that a bootstrap does not tell from the best one, of which the
            threshold is the nearest to 0.5; None where there was too little to draw.
        confidence: With which it tells.
        rule: What is largest at the threshold.
        expected_nodes: Nodes a scan that the user expected; None where the rule needs no such.
        expected_ml: Volume of all nodes of a scan that follows from this, ml.
        smoothing: Of the recall, in units of the logit.
        min_overlap: Share of a node's voxels that made it found.
        num_nodes: Annotated nodes that it rests on.
        cases: Ids of the cases that it rests on; training saw none of them.
        checkpoint_sha256: Of the checkpoint's bytes.
        curve: What it was chosen from.
        failures: Cases that could not be used: case, what, where, why, remedy.
    """

    threshold: Annotated[float, Field(gt=0, lt=1)]
    interval: tuple[_Probability, _Probability] | None
    confidence: _Probability
    rule: Rule
    expected_nodes: float | None
    expected_ml: float | None
    smoothing: float
    min_overlap: float
    num_nodes: int
    cases: list[str]
    checkpoint_sha256: str
    curve: CalibrationCurve
    failures: list[dict[str, str | None]]

    @property
    def basis(self) -> str:
        """What it rests on, in words."""
        nodes = "annotated nodes" if self.rule not in OF_COMPLETE else "nodes"
        kind = "held-out cases" if self.rule not in OF_COMPLETE else "completely annotated cases"
        return f"{self.num_nodes} {nodes} of {len(self.cases)} {kind}"

    @property
    def is_at_an_end(self) -> bool:
        """Whether the threshold is the lowest or highest that was tried: it may lie beyond."""
        return self.threshold in (self.curve.threshold[0], self.curve.threshold[-1])

    def __str__(self) -> str:
        """Threshold and interval."""
        if self.interval is None:
            return f"threshold {self.threshold:.6g}"
        low, high = self.interval
        share = f"{100 * self.confidence:g} %"
        return f"threshold {self.threshold:.6g} ({share}: {low:.6g} to {high:.6g})"


_SCHEMA = TypeAdapter(Calibration)


def write_calibration(run: RunFolder, calibration: Calibration, config: Mapping[str, Any]) -> None:
    """Writes a run's `calibration.json`, with where it came from and its own hash.

    Args:
        run: The run.
        calibration: What was found.
        config: The command's resolved configuration.
    """
    content = {
        **provenance("calibrate", config),
        _CALIBRATION: _SCHEMA.dump_python(calibration, mode="json"),
    }
    content = json.loads(json.dumps(content, default=str))  # as it will be read
    write_json(run.calibration, {**content, _HASH: _digest(content)})


def read_calibration(run: RunFolder) -> Calibration | None:
    """A run's calibration; None where there is none.

    Raises:
        UsageError: It is damaged or was changed.
    """
    if not run.calibration.is_file():
        return None
    try:
        content = read_json(run.calibration)
        if not isinstance(content, dict) or content.pop(_HASH, None) != _digest(content):
            raise ValueError("its hash is missing or another one")
        return _SCHEMA.validate_python(content.get(_CALIBRATION))
    except (LnqError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageError(
            "the run's calibration is damaged", where=run.calibration, why=why,
            remedy="run lnq.calibrate again, or remove the file",
        ) from error  # fmt: skip


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
