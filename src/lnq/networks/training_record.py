"""What a checkpoint of `lnq.train` must hold, checked before any of it is used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
)
from torch import Tensor

from lnq.box import PatchSize
from lnq.buildable import BUILDABLE
from lnq.errors import UsageError
from lnq.networks.checkpoint_file import RECORD

REMEDY = "give a checkpoint that lnq.train or the authors' code wrote"


def checked_network_node(node: dict[str, Any]) -> dict[str, Any]:
    """The node itself, from which a network will be built: so it may name nothing else.

    Raises:
        ValueError: `_target_` is no class of `lnq.networks`, or an argument is more than numbers
            and words, such as a node of its own.
    """
    target = node.get("_target_")
    if target not in BUILDABLE or not str(target).startswith("lnq.networks."):
        raise ValueError(f"_target_ {target} is not allowed: it is no class of lnq.networks")
    for key, value in node.items():
        if not _is_plain(value):
            raise ValueError(f"{key} is not allowed: it holds more than numbers and words")
    return node


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, int | float | str | None)


class _Patches(BaseModel):
    patch_size: PatchSize


class _Used(BaseModel):
    """What is read of the run's configuration."""

    network: Annotated[dict[str, Any], AfterValidator(checked_network_node)]
    datamodule: _Patches


def _usable(config: dict[str, Any]) -> dict[str, Any]:
    _Used.model_validate(config)
    return config


@dataclass(frozen=True)
class InitialWeights:
    """Where a training's first weights came from.

    Attributes:
        path: The checkpoint.
        sha256: Of its bytes.
        not_initialised: Names of the network's tensors that it lacked.
    """

    path: str
    sha256: str
    not_initialised: list[str]


@dataclass(frozen=True)
class TrainingRecord:
    """What a run leaves in its checkpoints and, but for the configuration, in its manifest.

    Attributes:
        config: The resolved configuration, plain types only: a checkpoint must load without running
            code.
        preprocessing: What its data were prepared with.
        cases: Ids of its training cases.
        split_sha256: Hash of the dataset's split.
        store_sha256: Hash of the arrays of its training cases.
        init_from: The weights that it began with, if not with random ones.
        held_out: Ids of cases that it never saw, of patients held out of the training split.
    """

    config: Annotated[dict[str, Any], AfterValidator(_usable)]
    preprocessing: dict[str, Any]
    cases: list[str] | None = None
    split_sha256: str | None = None
    store_sha256: str | None = None
    init_from: InitialWeights | None = None
    held_out: list[str] = field(default_factory=list)

    @property
    def network(self) -> dict[str, Any]:
        """Configuration node of the network."""
        node: dict[str, Any] = self.config["network"]
        return node

    @property
    def patch_size(self) -> tuple[int, int, int]:
        """Of the training patches, z y x."""
        z, y, x = map(int, self.config["datamodule"]["patch_size"])
        return z, y, x

    def facts(self) -> dict[str, Any]:
        """Plain types, for a manifest, which has the configuration already."""
        return {key: value for key, value in self.to_dict().items() if key != "config"}

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for a checkpoint."""
        return asdict(self)


def weight(tensor: Tensor) -> Tensor:
    """The tensor itself, whose values a network computes with.

    Raises:
        ValueError: It holds whole, logical or complex numbers.
    """
    if not tensor.is_floating_point():
        raise ValueError(f"it is {str(tensor.dtype).removeprefix('torch.')}, not floating point")
    return tensor


class Trained(BaseModel):
    """What is read of the whole file."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    state_dict: dict[str, Annotated[Tensor, AfterValidator(weight)]]
    record: Annotated[TrainingRecord, Field(alias=RECORD)]


def trained(contents: Mapping[str, Any], path: Path) -> Trained:
    """The contents of a checkpoint of `lnq.train`.

    Args:
        contents: The whole file.
        path: Named in errors.

    Raises:
        UsageError: Something else wrote it, or what it holds does not fit; all faults are listed.
    """
    if not {RECORD, "state_dict"} <= contents.keys():
        raise UsageError(
            "a foreign checkpoint", where=path,
            why=f"it has {', '.join(sorted(map(str, contents))[:8])} but no record of lnq.train",
            remedy=REMEDY,
        )  # fmt: skip
    try:
        return Trained.model_validate(contents)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()]
        raise UsageError(
            "not a checkpoint of lnq.train", where=path, why="; ".join(faults), remedy=REMEDY
        ) from error
