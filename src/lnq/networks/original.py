"""Checkpoints of the authors' code: the names of their tensors, the constants of their training.

Such a file is a pickled dictionary of nnU-Net's making, of which only the weights are used. Patch
size and preprocessing are not in it as such, but every such network had the same:
docs/explanation/method.md#checkpoints-of-the-authors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lnq.errors import UsageError
from lnq.networks.dual_branch_vnet import DROPOUTS, WIDTHS, DualBranchVNet

WEIGHTS = "network_weights"
"""The entry that holds the weights, and by which such a checkpoint is known."""

PATCH_SIZE = (64, 128, 224)
SPACING_MM = (3.0, 0.826171875, 0.826171875)

# What such files hold beside tensors and plain data: the numbers that nnU-Net logs are NumPy's. The
# functions are those by which NumPy pickles a number and an array; NumPy 1 has them under another
# module's name. Types of numbers only: arrays of objects stay refused.
NUMPY_GLOBALS: list[Any] = [
    np.ndarray,
    np.dtype,
    *(
        (function, f"numpy.{core}.multiarray.{name}")
        for core in ("core", "_core")
        for function, name in (
            (np.float64(0).__reduce__()[0], "scalar"),
            (np.zeros(0).__reduce__()[0], "_reconstruct"),
        )
    ),
    *(type(np.dtype(name)) for name in ("bool", "int32", "int64", "float16", "float32", "float64")),
]

_PARALLEL = "module."  # what DistributedDataParallel puts before every name
_DEEPEST = len(WIDTHS) - 1


def is_original(contents: Mapping[str, Any]) -> bool:
    """Whether the contents of a checkpoint file are those of the authors' code (or of nnU-Net)."""
    return WEIGHTS in contents


def weights(contents: Mapping[str, Any], source: Path) -> dict[str, Tensor]:
    """The tensors of a checkpoint of the authors' code, by their own names.

    Args:
        contents: The whole file.
        source: Named in errors.

    Returns:
        float32 tensors; a leading `module.` is gone from the names, unless two would then be one.

    Raises:
        UsageError: Something else than numbers stands among the weights.
    """
    tensors = contents[WEIGHTS]
    if not isinstance(tensors, Mapping):
        raise UsageError(
            "no weights", where=source, why=f"{WEIGHTS} is a {type(tensors).__name__}",
            remedy="use another checkpoint",
        )  # fmt: skip
    foreign = [
        f"{key} ({type(value).__name__})" for key, value in tensors.items()
        if not (isinstance(key, str) and isinstance(value, Tensor) and value.is_floating_point())
    ]  # fmt: skip
    if foreign:
        raise UsageError(
            f"{WEIGHTS} holds more than weights", where=source, why=", ".join(foreign[:6]),
            remedy="use another checkpoint",
        )  # fmt: skip
    plain = {key: key.removeprefix(_PARALLEL) for key in tensors}
    return {
        key if key != name and name in tensors else name: tensors[key].float()
        for key, name in plain.items()
    }


def num_classes(tensors: Mapping[str, Tensor]) -> int:
    """Channels of the main head: 1 after pre-training, else 2, as every fine-tuned network has."""
    head = tensors.get("main_final.weight")
    return 1 if head is not None and head.ndim > 0 and head.shape[0] == 1 else 2


def network_node(out_channels: int) -> dict[str, Any]:
    """The configuration node of the original's network."""
    return {
        "_target_": "lnq.networks.DualBranchVNet",
        "in_channels": 1,
        "out_channels": out_channels,
        "widths": list(WIDTHS),
        "dropouts": list(DROPOUTS),
    }


def preprocessing() -> dict[str, Any]:
    """The preprocessing of the original's training data: `ct` stands for its window and constants.

    Its crop had no constant margin; ours keeps the default one.
    """
    return {"spacing_mm": list(SPACING_MM), "normalisation": "ct"}


def expected(out_channels: int) -> dict[str, Tensor]:
    """Our names and tensors without values of the network that such a checkpoint must hold."""
    with torch.device("meta"):  # neither memory nor random numbers
        return DualBranchVNet(1, out_channels, WIDTHS, DROPOUTS).state_dict()


def original_name(name: str) -> str:
    """What the authors' code calls our tensor `name` of a DualBranchVNet of six levels.

    Raises:
        ValueError: There is no such tensor in a DualBranchVNet.
    """
    if match := re.fullmatch(r"(main|aux)_decoder\.head\.(\w+)", name):
        return f"{match[1]}_final.{match[2]}"
    if match := re.fullmatch(r"((?:main|aux)_decoder)\.levels\.(\d)\.(up|block)\.(.+)", name):
        part = "up" if match[3] == "up" else "conv"
        return f"{match[1]}.up_concat{_DEEPEST - int(match[2])}.{part}.{match[4]}"
    if match := re.fullmatch(r"encoder\.levels\.(\d)\.(down|match|block)\.(.+)", name):
        level, part, rest = int(match[1]), match[2], match[3]
        if part == "down":
            return f"encoder.pool{level}.{rest}"
        block = "center" if level == _DEEPEST else f"conv{level + 1}"
        return f"encoder.{block}.{'conv_trans.' if part == 'match' else ''}{rest}"
    raise ValueError(f"no tensor of a DualBranchVNet: {name}")
