"""Validation measures the main branch on whole volumes, and only where Dice is defined."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.methods import (
    FixedOutputs,
    OneBranch,
    Recorded,
    dbdmp,
    logits,
    sgd,
)
from torch import Tensor

from lnq.inference.sliding_window import SlidingWindow


def volume(*nodes: int) -> Tensor:
    """(1, 1, 1, 1, 4) with ones at `nodes`."""
    mask = torch.zeros(1, 1, 1, 1, 4)
    mask[..., list(nodes)] = 1
    return mask


def validated(main: Tensor, label: Tensor) -> dict[str, Any]:
    aux = torch.cat([main, 1 - main], dim=1)  # the other branch predicts the opposite
    method = dbdmp(FixedOutputs(torch.cat([1 - main, main], dim=1), aux))
    method.validation_step({"image": main, "label": label}, 0)
    return method.logged


def test_validation_dice_is_the_main_branch_s() -> None:
    # predicted {0, 1, 2}, reference {2, 3}: 2 * 1 / 5
    assert validated(volume(0, 1, 2), volume(2, 3))["val/dice"].item() == pytest.approx(0.4)
    assert validated(volume(), volume(2))["val/dice"].item() == 0.0
    assert validated(volume(1), volume())["val/dice"].item() == 0.0


def test_validation_dice_of_a_batch_leaves_out_the_undefined_alone() -> None:
    # {0} against {0}: 1; {0} against nothing: 0; nothing against nothing: undefined
    main = torch.cat([volume(0), volume(0), volume()])
    label = torch.cat([volume(0), volume(), volume()])
    assert validated(main, label)["val/dice"].item() == pytest.approx(0.5)


def test_validation_dice_of_nothing_and_nothing_is_not_logged() -> None:
    assert validated(volume(), volume()) == {}


def test_a_validation_volume_smaller_than_the_patch_is_padded_with_its_own_air() -> None:
    class Thresholds(OneBranch):
        def main_logits(self, x: Tensor) -> Tensor:
            seen.append(x)
            return torch.cat([-x, x], dim=1)

    seen: list[Tensor] = []
    image = torch.tensor([-1.5, -1.0, 1.0, 2.0]).reshape(1, 1, 1, 2, 2)
    method = Recorded(Thresholds(logits(1)), sgd, SlidingWindow((2, 4, 4)), {"ce": 1.0}, pseudo={})
    method.validation_step({"image": image, "label": (image > 0).to(torch.uint8)}, 0)
    (window,) = seen
    assert window.shape == (1, 1, 2, 4, 4)
    assert sorted(window.flatten().tolist()) == [-1.5] * 29 + [-1.0, 1.0, 2.0]
    assert method.logged["val/dice"] == 1.0
