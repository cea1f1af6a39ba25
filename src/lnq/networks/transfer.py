"""Weights that come from elsewhere: a run, a checkpoint file, pre-training, the authors' code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Size, Tensor, nn

from lnq.errors import UsageError
from lnq.networks import original
from lnq.networks.checkpoint_file import CheckpointFile, load_file
from lnq.networks.training_record import TrainingRecord, trained
from lnq.run_folder import RunFolder

PREFIX = "network."
_EXAMPLES = 2
"""Of each kind of difference."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what is needed to use it.

    Attributes:
        path: The file.
        sha256: Of the bytes that it was loaded from.
        state: State dictionary of the network.
        network: Configuration node of the network.
        preprocessing: Configuration of the preprocessing its training data had.
        patch_size: z, y, x of the training patches.
    """

    path: Path
    sha256: str
    state: dict[str, Tensor]
    network: dict[str, Any]
    preprocessing: dict[str, Any]
    patch_size: tuple[int, int, int]


def find_checkpoint(run_or_file: Path) -> Path:
    """The checkpoint file meant by a run folder or a file.

    Raises:
        UsageError: Nothing is there.
    """
    path = RunFolder(run_or_file).checkpoint if run_or_file.is_dir() else run_or_file
    if not path.is_file():
        raise UsageError(
            "no checkpoint",
            where=path,
            why="the run has not saved one yet" if run_or_file.is_dir() else "no such file",
            remedy="give a run folder of lnq.train, a .ckpt file, or a .pth of the authors' code",
        )
    return path


def read_checkpoint(run_or_file: Path) -> Checkpoint:
    """A checkpoint of `lnq.train`, by its run folder or file, or one of the authors' code.

    Raises:
        UsageError: There is none, it is damaged, or it is neither of `lnq.train` nor of the
            authors' network.
    """
    path = find_checkpoint(run_or_file)
    file = load_file(path)
    if original.is_original(file.contents):
        return _read_original(file)
    checkpoint = trained(file.contents, path)
    state = {
        key.removeprefix(PREFIX): value
        for key, value in checkpoint.state_dict.items()
        if key.startswith(PREFIX)
    }
    record = checkpoint.record
    return Checkpoint(
        path, file.sha256, state, record.network, record.preprocessing, record.patch_size
    )  # fmt: skip


def read_record(run_or_file: Path) -> TrainingRecord:
    """What `lnq.train` wrote into a checkpoint of the run that is to be resumed.

    Raises:
        UsageError: There is none, it is damaged, or it is not of `lnq.train`.
    """
    path = find_checkpoint(run_or_file)
    return trained(load_file(path).contents, path).record


def _read_original(file: CheckpointFile) -> Checkpoint:
    """A checkpoint of the authors' code under our names; every tensor is accounted for."""
    path = file.path
    weights = original.weights(file.contents, path)
    out_channels = original.num_classes(weights)
    blank = original.expected(out_channels)
    names = {original.original_name(name): name for name in blank}
    _refuse_differences({theirs: blank[ours] for theirs, ours in names.items()}, weights, path)
    return Checkpoint(
        path,
        file.sha256,
        {ours: weights[theirs] for theirs, ours in names.items()},
        original.network_node(out_channels),
        original.preprocessing(),
        original.PATCH_SIZE,
    )


def initialise_from(network: nn.Module, state: Mapping[str, Tensor], source: Path) -> list[str]:
    """Copies weights into `network`, heads of another number of classes excepted.

    An auxiliary decoder that only one side has is left alone: the baseline has none. Everything
    else must be there with the same shape.

    Args:
        network: What to initialise.
        state: State dictionary of the weights' network.
        source: Named in errors.

    Returns:
        Names of the network's tensors that were not initialised.

    Raises:
        UsageError: The weights are of another architecture; the differences are listed.
    """
    own = network.state_dict()
    skipped = {
        key for key in own.keys() & state.keys()
        if ".head." in key and state[key].shape != own[key].shape
    }  # fmt: skip
    ours, theirs = (
        {key for key in side if key.startswith("aux_decoder.")} for side in (own, state)
    )
    if not (ours and theirs):
        skipped |= ours
        state = {key: value for key, value in state.items() if key not in theirs}
    _refuse_differences(
        {key: tensor for key, tensor in own.items() if key not in skipped},
        {key: tensor for key, tensor in state.items() if key not in skipped},
        source,
    )
    network.load_state_dict(own | {k: v for k, v in state.items() if k not in skipped})
    return sorted(skipped)


def _refuse_differences(
    own: Mapping[str, Tensor], state: Mapping[str, Tensor], source: Path
) -> None:
    """Refuses weights unless every tensor of either side is on the other with the same shape."""
    differing = {
        key: (_shape(own, key), _shape(state, key))
        for key in sorted(own.keys() | state.keys())
        if _shape(own, key) != _shape(state, key)
    }
    if not differing:
        return
    kinds = {
        "of another shape": [key for key, shapes in differing.items() if None not in shapes],
        "missing in them": [key for key, (_, theirs) in differing.items() if theirs is None],
        "unknown here": [key for key, (ours, _) in differing.items() if ours is None],
    }
    counts = ", ".join(f"{len(keys)} {kind}" for kind, keys in kinds.items() if keys)
    first = [
        f"{key}: {_text(differing[key][0])} here, {_text(differing[key][1])} there"
        for key in [key for keys in kinds.values() for key in keys[:_EXAMPLES]]
    ]
    raise UsageError(
        "the weights are of another architecture",
        where=source,
        why=f"of {len(own.keys() | state.keys())} tensors {counts}, such as {'; '.join(first)}",
        remedy="use the network configuration that the weights were trained with",
    )


def _shape(state: Mapping[str, Tensor], key: str) -> Size | None:
    return state[key].shape if key in state else None


def _text(shape: Size | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape))
