"""What holds of losses whatever the numbers: finite, symmetric, blind to shifts and repetition."""

from __future__ import annotations

import math

import pytest
import torch
from support.loss_inputs import (
    SUPERVISED,
    Loss,
    random_annotation,
    random_label,
    random_logits,
)
from torch import Tensor

from lnq.losses import (
    consensus_loss,
    cross_entropy,
    dice_loss,
    kl_divergence,
    mix_branches,
    partial_cross_entropy,
    reverse_cross_entropy,
    sharpen,
    soft_pseudo_label,
    symmetric_cross_entropy,
    tversky_loss,
)


def swap_classes(x: Tensor) -> Tensor:
    return x.flip(1)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("loss", SUPERVISED, ids=lambda f: f.__name__)
@pytest.mark.parametrize("seed", [0, None])
def test_half_precision_logits_of_100_stay_finite(
    loss: Loss, dtype: torch.dtype, seed: int | None
) -> None:
    y = random_annotation(0).float()
    if seed is None:  # every voxel as wrong as can be
        logits = 100 * torch.cat([2 * y - 1, 1 - 2 * y], dim=1)
    else:
        logits = 100 * random_logits(seed).sign().float()
    half = logits.to(dtype).requires_grad_()
    value = loss(half, y)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == loss(half.detach().float(), y).item()
    assert math.isfinite(value.item())
    assert half.grad is not None
    assert half.grad.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_consensus_of_100_stays_finite(dtype: torch.dtype) -> None:
    main = (100 * random_logits(0).sign()).to(dtype).requires_grad_()
    aux = (100 * random_logits(1).sign()).to(dtype).requires_grad_()
    label = soft_pseudo_label(random_annotation(0).float(), sharpen(mix_branches(main, aux, 0.5)))
    assert label.dtype == torch.float32
    value = consensus_loss(main, aux, label)
    value.backward()
    assert value.dtype == torch.float32
    assert math.isfinite(value.item())
    for branch in (main, aux):
        assert branch.grad is not None
        assert branch.grad.isfinite().all()


def test_branches_that_disagree_everywhere_give_a_finite_loss_and_gradient() -> None:
    # every KL is 200, every W is 0 in float32: the normaliser must not be
    main = (100 * torch.tensor([1.0, -1.0]).reshape(1, 2, 1, 1, 1)).expand(1, 2, 2, 2, 2)
    main = main.clone().requires_grad_()
    label = torch.full((1, 2, 2, 2, 2), 0.5)
    loss = consensus_loss(main, -main.detach(), label)
    loss.backward()
    assert math.isfinite(loss.item())
    assert main.grad is not None
    assert main.grad.isfinite().all()


def test_autocast_does_not_lower_the_precision_of_the_losses() -> None:
    main, aux = random_logits(0).float(), random_logits(1).float()
    y, label = random_annotation(0).float(), random_label(0).float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = [loss(main, y).item() for loss in SUPERVISED]
        inside.append(consensus_loss(main, aux, label).item())
    outside = [loss(main, y).item() for loss in SUPERVISED]
    outside.append(consensus_loss(main, aux, label).item())
    assert inside == outside


@pytest.mark.parametrize("loss", [cross_entropy, reverse_cross_entropy, symmetric_cross_entropy])
def test_swapping_both_classes_changes_nothing(loss: Loss) -> None:
    logits, y = random_logits(6), random_annotation(6)
    assert loss(swap_classes(logits), 1 - y).item() == pytest.approx(loss(logits, y).item())


def test_swapping_both_classes_changes_neither_kl_nor_consensus() -> None:
    main, aux, label = random_logits(6), random_logits(7), random_label(6)
    swapped = [swap_classes(x) for x in (main, aux, label)]
    torch.testing.assert_close(kl_divergence(*swapped[:2]), kl_divergence(main, aux))
    assert consensus_loss(*swapped).item() == pytest.approx(consensus_loss(main, aux, label).item())


@pytest.mark.parametrize("loss", [partial_cross_entropy, tversky_loss, dice_loss])
def test_foreground_losses_do_tell_the_classes_apart(loss: Loss) -> None:
    logits, y = random_logits(6), random_annotation(6)
    assert abs(loss(swap_classes(logits), 1 - y).item() - loss(logits, y).item()) > 0.01


@pytest.mark.parametrize("loss", SUPERVISED, ids=lambda f: f.__name__)
def test_a_constant_added_to_both_logits_changes_nothing(loss: Loss) -> None:
    logits, y = random_logits(8), random_annotation(8)
    assert loss(logits + 37.5, y).item() == pytest.approx(loss(logits, y).item())


@pytest.mark.parametrize("loss", SUPERVISED, ids=lambda f: f.__name__)
def test_a_repeated_batch_has_the_loss_of_one(loss: Loss) -> None:
    logits, y = random_logits(8)[:1], random_annotation(8)[:1]
    assert y.sum() > 0
    twice = loss(logits.repeat(2, 1, 1, 1, 1), y.repeat(2, 1, 1, 1, 1)).item()
    assert twice == pytest.approx(loss(logits, y).item(), rel=1e-5)
