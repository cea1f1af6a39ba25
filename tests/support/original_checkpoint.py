"""Checkpoints as the authors' code writes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

WIDTHS = (16, 32, 64, 128, 256, 512)
ARRAY = np.array([1.5, 2.5], np.float32)
Shape = tuple[int, ...]


def layout(classes: int = 2) -> dict[str, Shape]:
    """Names and shapes of the original's tensors, written down from theirs, not from ours."""
    found: dict[str, Shape] = {}

    def conv_norm(name: str, weight: Shape, out: int) -> None:
        found[f"{name}.0.weight"] = weight
        found.update({f"{name}.{part}": (out,) for part in ("0.bias", "1.weight", "1.bias")})

    for i, width in enumerate(WIDTHS, start=1):
        kernel = (1, 3, 3) if i == 1 else (3, 3, 3)
        name = "encoder.center" if i == 6 else f"encoder.conv{i}"
        if i == 1:
            conv_norm(f"{name}.conv_trans", (16, 1, 1, 1, 1), 16)
        conv_norm(f"{name}.conv1", (width, 1 if i == 1 else width, *kernel), width)
        conv_norm(f"{name}.conv2", (width, width, *kernel), width)
        if i == 6:
            continue
        wider, stride = WIDTHS[i], (1, 2, 2) if i == 1 else (2, 2, 2)
        conv_norm(f"encoder.pool{i}", (wider, width, *stride), wider)
        for branch in ("main", "aux"):
            step = f"{branch}_decoder.up_concat{i}"
            conv_norm(f"{step}.up", (wider, width, *stride), width)
            conv_norm(f"{step}.conv.conv1", (width, 2 * width, *kernel), width)
            conv_norm(f"{step}.conv.conv2", (width, width, *kernel), width)
    for branch in ("main", "aux"):
        found[f"{branch}_final.weight"] = (classes, 16, 1, 1, 1)
        found[f"{branch}_final.bias"] = (classes,)
    return found


def numbered(classes: int = 2) -> dict[str, Tensor]:
    """A full set of weights, each tensor one number of its own: a few bytes on the disk."""
    shapes = layout(classes)
    return {k: torch.full((1,), float(n)).expand(s) for n, (k, s) in enumerate(shapes.items())}


def contents(weights: object) -> dict[str, Any]:
    """What nnU-Net puts around the weights, NumPy's numbers included."""
    return {
        "network_weights": weights,
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.ones(2)}},
                            "param_groups": [{"lr": np.float64(0.004), "params": [0]}]},
        "grad_scaler_state": {"scale": 65536.0, "_growth_tracker": 3},
        "logging": {"mean_fg_dice": [np.float64(0.5)], "train_losses": [np.float32(0.25)],
                    "dice_per_class_or_region": [[np.float64(0.5)]], "fg": [ARRAY],
                    "epochs": [np.int64(7), np.bool_(True)], "lrs": [0.01]},
        "_best_ema": np.float64(0.75),
        "current_epoch": 300,
        "init_args": {"plans": {"name": "x"}, "fold": 0, "device": torch.device("cuda:0")},
        "trainer_name": "nnUNetTrainer",
        "inference_allowed_mirroring_axes": (0, 1, 2),
    }  # fmt: skip


def saved(folder: Path, weights: object, **more: object) -> Path:
    path = folder / "checkpoint_final.pth"
    torch.save(contents(weights) | more, path)
    return path
