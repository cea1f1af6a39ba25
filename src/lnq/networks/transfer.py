"""Weights that come from elsewhere: a run, a checkpoint file, pre-training, the authors' code."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor, nn

from lnq.errors import UsageError
from lnq.networks import original
from lnq.networks.record import trained
from lnq.run_folder import RunFolder

PREFIX = "network."
PREVIOUS = ".previous"
"""Suffix of the checkpoint that the newest one replaced."""

# How torch.save began its files before PyTorch 1.6: a pickled magic number.
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."

# What zipfile and the unpickler raise, by trial, where single bytes of a checkpoint are wrong.
DAMAGE = (
    zipfile.BadZipFile, zlib.error, struct.error, UnpicklingError, AttributeError, EOFError,
    LookupError, OSError, RuntimeError, TypeError, ValueError,
)  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and what is needed to use it.

    Attributes:
        path: The file.
        state: State dictionary of the network.
        network: Configuration node of the network.
        preprocessing: Configuration of the preprocessing its training data had.
        patch_size: z, y, x of the training patches.
    """

    path: Path
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


def load_file(path: Path) -> dict[str, Any]:
    """The contents of a checkpoint file, loaded without running any code from it.

    Raises:
        UsageError: The file is damaged, is no checkpoint, holds more than plain data, or is of a
            format that has no checksums: in it, a wrong weight could not be told from a right one.
    """
    previous = path.with_name(path.name + PREVIOUS)
    remedy = f"use the one before, {previous}" if previous.exists() else "use another checkpoint"
    _check_archive(path, remedy)
    try:
        with torch.serialization.safe_globals(original.NUMPY_GLOBALS):
            contents = torch.load(path, map_location="cpu", weights_only=True)
    except DAMAGE as error:
        raise UsageError(
            "not loaded: the checkpoint is damaged or holds more than tensors and plain data",
            where=path,
            why=_first_line(error),
            remedy=remedy,
        ) from error
    if not isinstance(contents, dict):
        raise UsageError("no checkpoint", where=path, why=f"it holds a {type(contents).__name__}")
    return contents


def read_checkpoint(run_or_file: Path) -> Checkpoint:
    """A checkpoint of `lnq.train`, by its run folder or file, or one of the authors' code.

    Raises:
        UsageError: There is none, it is damaged, or it is neither of `lnq.train` nor of the
            authors' network.
    """
    path = find_checkpoint(run_or_file)
    contents = load_file(path)
    if original.is_original(contents):
        return _read_original(contents, path)
    found = trained(contents, path)
    state = {
        key.removeprefix(PREFIX): value
        for key, value in found.state_dict.items()
        if key.startswith(PREFIX)
    }
    config = found.lnq.config
    return Checkpoint(
        path, state, config.network, found.lnq.preprocessing, config.datamodule.patch_size
    )


def read_record(run_or_file: Path) -> dict[str, Any]:
    """What `lnq.train` wrote into a checkpoint of the run that is to be resumed.

    Raises:
        UsageError: There is none, it is damaged, or it is not of `lnq.train`.
    """
    path = find_checkpoint(run_or_file)
    contents = load_file(path)
    trained(contents, path)
    record: dict[str, Any] = contents["lnq"]
    return record


def _read_original(contents: Mapping[str, Any], path: Path) -> Checkpoint:
    """A checkpoint of the authors' code under our names; every tensor is accounted for."""
    weights = original.weights(contents, path)
    out_channels = original.num_classes(weights)
    blank = original.expected(out_channels)
    names = {original.original_name(name): name for name in blank}
    _refuse_differences({theirs: blank[ours] for theirs, ours in names.items()}, weights, path)
    return Checkpoint(
        path,
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
    differences = [
        f"{key}: {_text(_shape(own, key))} here, {_text(_shape(state, key))} there"
        for key in sorted(own.keys() | state.keys())
        if _shape(own, key) != _shape(state, key)
    ]
    if differences:
        raise UsageError(
            "the weights are of another architecture",
            where=source,
            why="; ".join(differences),
            remedy="use the network configuration that the weights were trained with",
        )


def _check_archive(path: Path, remedy: str) -> None:
    """Refuses a file that is damaged, or that cannot show that it is not."""
    try:
        with path.open("rb") as file:
            legacy = file.read(len(LEGACY_START)) == LEGACY_START
        if not legacy:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
    except DAMAGE as error:
        why = _first_line(error)
        raise UsageError("damaged checkpoint", where=path, why=why, remedy=remedy) from error
    if legacy:
        raise UsageError(
            "an old file format without checksums",
            where=path,
            why="it was saved as PyTorch before 1.6 did",
            remedy="if you trust the file, load it and save it again with a current PyTorch",
        )
    if damaged is not None:
        raise UsageError(
            "damaged checkpoint", where=path, why=f"bad checksum of {damaged}", remedy=remedy
        )


def _first_line(error: BaseException) -> str:
    """The error's first line, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _shape(state: Mapping[str, Tensor], key: str) -> torch.Size | None:
    return state[key].shape if key in state else None


def _text(shape: torch.Size | None) -> str:
    return "missing" if shape is None else "x".join(map(str, shape))
