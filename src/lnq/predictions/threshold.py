"""The threshold that masks were cut at: who predicts writes it, who evaluates reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

THRESHOLD = "threshold"
"""Key of the predictions' manifest."""

Probability = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class Threshold:
    """Where probabilities are cut, and why there.

    Attributes:
        value: Voxels whose probability is above it are nodes.
        source: Whether the user gave it, the run's calibration did, or nothing did.
        why: The same in words.
    """

    value: Probability = 0.5
    source: Literal["given", "calibration", "default"] = "default"
    why: str = "no calibration"

    def __str__(self) -> str:
        """A line for the user."""
        return f"threshold {self.value:.6g}: {self.why}"

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        return asdict(self)


_SCHEMA = TypeAdapter(Threshold)


def threshold_of(manifest: Mapping[str, Any]) -> Threshold | None:
    """What the manifest of predicted masks says; None where it says nothing.

    Raises:
        ValueError: It says something else.
    """
    said = manifest.get(THRESHOLD)
    return None if said is None else _SCHEMA.validate_python(said)
