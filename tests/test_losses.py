"""Eqs. 2 to 9: hand-computed voxels, the loop oracle, gradients, and inputs at the edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from support import oracle
from support.loss_inputs import (
    SUPERVISED,
    Loss,
    annotation,
    logits_of,
    random_annotation,
    random_label,
    random_logits,
)

from lnq.losses import (
    agreement_weight,
    consensus_loss,
    cross_entropy,
    dice_loss,
    hard_pseudo_label,
    kl_divergence,
    mix_branches,
    partial_cross_entropy,
    reverse_cross_entropy,
    shared,
    sharpen,
    soft_pseudo_label,
    supervised_terms,
    symmetric_cross_entropy,
    tversky_loss,
)

# Two voxels: an annotated one with p_1 = 0.75 and another with p_1 = 0.2.
HAND = logits_of(0.75, 0.2), annotation(1, 0)


def test_cross_entropy_by_hand() -> None:
    # (-ln 0.75 - ln 0.8) / 2 = (0.2876820724 + 0.2231435513) / 2
    assert cross_entropy(*HAND).item() == pytest.approx(0.2554128119)


def test_reverse_cross_entropy_by_hand() -> None:
    # wrong-class probabilities 0.25 and 0.2, -log 1e-4 = 9.2103403720: 0.45 * 9.21034 / 2;
    # the mean over two classes as well would give half of it
    assert reverse_cross_entropy(*HAND).item() == pytest.approx(2.0723265837)


def test_symmetric_cross_entropy_by_hand() -> None:
    # γ = 0.8: 0.8 * 0.2554128119 + 2.0723265837; γ = 0.5: 0.1277064059 + 2.0723265837
    assert symmetric_cross_entropy(*HAND).item() == pytest.approx(2.2766568332)
    assert symmetric_cross_entropy(*HAND, 0.5).item() == pytest.approx(2.2000329896)


def test_partial_cross_entropy_by_hand() -> None:
    # the one annotated voxel: -ln 0.75; the other has no say
    assert partial_cross_entropy(*HAND).item() == pytest.approx(0.2876820724)
    elsewhere = logits_of(0.75, 0.999)
    assert partial_cross_entropy(elsewhere, HAND[1]).item() == pytest.approx(0.2876820724)


def test_partial_cross_entropy_is_the_mean_over_all_annotated_voxels_of_the_batch() -> None:
    # batch of two, one and two annotated: (-ln 0.5 - ln 0.25 - ln 0.8) / 3 = 2.3025850930 / 3;
    # a mean per patch first would give (0.6931471806 + 0.8047189562) / 2
    logits = torch.cat([logits_of(0.5, 0.9), logits_of(0.25, 0.8)])
    y = torch.cat([annotation(1, 0), annotation(1, 1)])
    assert partial_cross_entropy(logits, y).item() == pytest.approx(0.7675283643)


def test_tversky_by_hand() -> None:
    # TP 0.75, FP 0.2, FN 0.25; α = 0.4: 1 - 0.75001 / (0.75 + 0.08 + 0.15 + 0.00001)
    assert tversky_loss(*HAND).item() == pytest.approx(0.2346914827)
    # α = 0.9: 1 - 0.75001 / (0.75 + 0.18 + 0.025 + 0.00001): α weighs false positives
    assert tversky_loss(*HAND, 0.9).item() == pytest.approx(0.205 / 0.95501)


def test_tversky_pools_the_batch_before_the_ratio() -> None:
    # (1) p 0.5 on a node, (2) p 0.25 on background; TP 0.5 FN 0.5 FP 0.25: a mean of the patches'
    # own losses would have a 1 in it
    logits = torch.cat([logits_of(0.5), logits_of(0.25)])
    y = torch.cat([annotation(1), annotation(0)])
    assert tversky_loss(logits, y).item() == pytest.approx(1 - 0.50001 / 0.90001)


def test_kl_by_hand_is_not_the_reverse_divergence() -> None:
    # p_m = (0.25, 0.75), p_a = (0.5, 0.5): Σ p_a ln(p_a/p_m) = 0.5 ln 2 + 0.5 ln(2/3)
    main, aux = logits_of(0.75), logits_of(0.5)
    assert kl_divergence(main, aux).item() == pytest.approx(0.1438410362)
    # the other direction: 0.25 ln 0.5 + 0.75 ln 1.5
    assert kl_divergence(aux, main).item() == pytest.approx(0.1308120359)


def test_agreement_weight_by_hand() -> None:
    # exp(-0.5 ln(4/3)) = sqrt(3)/2
    weight = agreement_weight(kl_divergence(logits_of(0.75), logits_of(0.5)))
    assert weight.item() == pytest.approx(math.sqrt(3) / 2)


def test_consensus_by_hand_divides_both_terms_by_the_sum_of_weights() -> None:
    # voxel 1: p = (.25, .75), q = (.5, .5), ŷ = (.3, .7): KL 0.1438410362, W 0.8660254038,
    #          CE = -.3 ln .25 - .7 ln .75 = 0.6172657591, W CE = 0.5345678280
    # voxel 2: p = q = (.8, .2), ŷ = (1, 0): KL 0, W 1, CE = -ln .8 = 0.2231435513
    # (0.5345678280 + 0.1438410362 + 0.2231435513) / 1.8660254038 = 0.4831404835
    # (divided by N = 2: 0.4508; the mean of KL outside the normaliser: 0.4780)
    label = torch.tensor([0.3, 1.0, 0.7, 0.0], dtype=torch.float64).reshape(1, 2, 1, 1, 2)
    loss = consensus_loss(logits_of(0.75, 0.2), logits_of(0.5, 0.2), label)
    assert loss.item() == pytest.approx(0.4831404835)


def test_dice_by_hand() -> None:
    # overlap 0.75, sizes 0.75 + 0.2 and 1: 1 - 2 * 0.75001 / (1.95 + 0.00002)
    assert dice_loss(*HAND).item() == pytest.approx(0.2307668639)


def test_hard_pseudo_label_is_the_class_above_one_half() -> None:
    # the foreground 0.51, 0.5 (a tie stays background), 0.49, and 1 where annotated
    node = torch.tensor([0.51, 0.5, 0.49, 1.0], dtype=torch.float64)
    label = torch.stack([1 - node, node]).reshape(1, 2, 1, 1, 4)
    assert hard_pseudo_label(label).shape == (1, 1, 1, 1, 4)
    assert hard_pseudo_label(label).flatten().tolist() == [1.0, 0.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("given", "gradient"),
    # one voxel: L = CE + KL e^KL with CE' = p - ŷ = 0.05, KL' = p - q = 0.25, e^KL = 2/sqrt 3.
    # W a constant: CE' + KL' e^KL; else CE' + KL' (1 + KL) e^KL
    [({"detach_weight": True}, 0.3386751346), ({"detach_weight": False}, 0.3801984651),
     ({}, 0.3801984651)],
)  # fmt: skip
def test_detached_weight_changes_the_gradient_and_not_the_loss(
    given: dict[str, bool], gradient: float
) -> None:
    main = logits_of(0.75).requires_grad_()
    label = torch.tensor([0.3, 0.7], dtype=torch.float64).reshape(1, 2, 1, 1, 1)
    loss = consensus_loss(main, logits_of(0.5), label, **given)
    loss.backward()
    # CE + KL / W = 0.6172657591 + 0.1438410362 * 1.1547005384
    assert loss.item() == pytest.approx(0.7833590808)
    assert main.grad is not None
    assert main.grad.flatten().tolist() == pytest.approx([-gradient, gradient])


def test_sharpened_probabilities_end_at_0_9655() -> None:
    # it acts on probabilities: softmax((0, 1) / 0.3) = 1/(1 + e^(-1/0.3))
    certain = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1, 1)
    low, high = sharpen(certain).flatten().tolist()
    assert high == pytest.approx(0.9655548043, abs=1e-6)
    assert low == pytest.approx(0.0344451957, abs=1e-6)
    # mixed (0.3, 0.7) at τ 0.2: 1/(1 + e^(-0.4/0.2)) = 0.8807970780
    mixed = torch.tensor([0.3, 0.7]).reshape(1, 2, 1, 1, 1)
    assert sharpen(mixed, 0.2)[0, 1].item() == pytest.approx(0.8807970780, abs=1e-6)


def test_no_pseudo_label_of_any_logits_is_surer_than_that() -> None:
    main, aux = random_logits(1, scale=80.0), random_logits(2, scale=80.0)
    sharpened = sharpen(mix_branches(main, aux, 0.5))
    assert sharpened.max().item() <= 1 / (1 + math.exp(-1 / 0.3)) + 1e-6
    assert sharpened.min().item() >= 1 / (1 + math.exp(1 / 0.3)) - 1e-6


def test_mix_by_hand_weighs_the_main_branch_with_theta() -> None:
    # 0.25 * 0.75 + 0.75 * 0.2 = 0.3375
    mixed = mix_branches(logits_of(0.75), logits_of(0.2), 0.25)
    assert mixed.flatten().tolist() == pytest.approx([0.6625, 0.3375])


def test_no_gradient_passes_through_mix_or_pseudo_label() -> None:
    main, aux = random_logits(1).requires_grad_(), random_logits(2).requires_grad_()
    mixed = mix_branches(main, aux, 0.3)
    label = soft_pseudo_label(random_annotation(1), sharpen(mixed))
    assert not mixed.requires_grad
    assert not label.requires_grad


def test_pseudo_label_is_exactly_one_where_annotated_and_soft_elsewhere() -> None:
    sharpened = torch.tensor([0.4, 0.9, 0.6, 0.1]).reshape(1, 2, 1, 1, 2)
    label = soft_pseudo_label(torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 1, 2), sharpened)
    assert label[0, :, 0, 0, 0].tolist() == [0.0, 1.0]
    assert label[0, :, 0, 0, 1].tolist() == pytest.approx([0.9, 0.1])


@pytest.mark.parametrize("seed", range(4))
def test_supervised_losses_follow_the_oracle(seed: int) -> None:
    logits, y = random_logits(seed), random_annotation(seed)
    a, b = logits.numpy(), y.numpy()
    assert cross_entropy(logits, y).item() == pytest.approx(oracle.cross_entropy(a, b))
    assert reverse_cross_entropy(logits, y).item() == pytest.approx(
        oracle.reverse_cross_entropy(a, b)
    )
    assert symmetric_cross_entropy(logits, y, 1.2).item() == pytest.approx(
        oracle.symmetric_cross_entropy(a, b, 1.2)
    )
    assert partial_cross_entropy(logits, y).item() == pytest.approx(
        oracle.partial_cross_entropy(a, b)
    )
    assert tversky_loss(logits, y, 0.3).item() == pytest.approx(oracle.tversky(a, b, 0.3))
    assert dice_loss(logits, y).item() == pytest.approx(oracle.dice(a, b))


@pytest.mark.parametrize("seed", range(4))
def test_pseudo_losses_follow_the_oracle(seed: int) -> None:
    main, aux, y = random_logits(seed), random_logits(seed + 50), random_annotation(seed)
    expected = oracle.pseudo_label(main.numpy(), aux.numpy(), y.numpy(), 0.35, 0.4)
    label = soft_pseudo_label(y, sharpen(mix_branches(main, aux, 0.35), 0.4))
    np.testing.assert_allclose(label.numpy(), expected, rtol=1e-10)
    for one, other in ((main, aux), (aux, main)):
        assert consensus_loss(one, other, label).item() == pytest.approx(
            oracle.consensus(one.numpy(), other.numpy(), expected)
        )


def test_terms_of_l_sup_sum_to_the_oracle_and_only_named_ones_are_there() -> None:
    logits, y = random_logits(9), random_annotation(9)
    terms = supervised_terms(
        logits, y, {"sce": 1.0, "pce": 1.0, "tversky": 1.0}, gamma=0.8, alpha=0.4
    )
    assert set(terms) == {"sce", "pce", "tversky"}
    total = sum(term.item() for term in terms.values())
    assert total == pytest.approx(oracle.supervised(logits.numpy(), y.numpy()))
    only = supervised_terms(logits, y, {"ce": 1.0}, gamma=0.8, alpha=0.4)
    assert only["ce"].item() == pytest.approx(oracle.cross_entropy(logits.numpy(), y.numpy()))


@pytest.mark.parametrize("loss", SUPERVISED, ids=lambda f: f.__name__)
def test_gradients_of_supervised_losses(loss: Loss) -> None:
    logits, y = random_logits(3).requires_grad_(), random_annotation(3)
    assert torch.autograd.gradcheck(lambda x: loss(x, y), logits)


@pytest.mark.parametrize("order", ["main", "aux"])
def test_gradients_of_kl_and_consensus_reach_both_branches(order: str) -> None:
    main, aux = random_logits(3).requires_grad_(), random_logits(4).requires_grad_()
    pair = (main, aux) if order == "main" else (aux, main)
    label = random_label(5)
    assert torch.autograd.gradcheck(kl_divergence, pair)
    assert torch.autograd.gradcheck(lambda p, q: consensus_loss(p, q, label), pair)


def test_no_annotated_voxel_gives_a_partial_cross_entropy_of_zero_without_gradient() -> None:
    logits = random_logits(1).requires_grad_()
    loss = partial_cross_entropy(logits, torch.zeros_like(random_annotation(1)))
    loss.backward()
    assert loss.item() == 0.0
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_no_annotated_voxel_gives_tversky_by_its_formula() -> None:
    # TP = FN = 0, FP = 0.75 + 0.2: 1 - 1e-5 / (0.4 * 0.95 + 1e-5)
    loss = tversky_loss(HAND[0], annotation(0, 0))
    assert loss.item() == pytest.approx(1 - 1e-5 / 0.38001, rel=1e-12)


def test_everything_annotated() -> None:
    y = annotation(1, 1)
    # (-ln 0.75 - ln 0.2) / 2 = (0.2876820724 + 1.6094379124) / 2 for CE and PCE alike
    assert cross_entropy(HAND[0], y).item() == pytest.approx(0.9485599924)
    assert partial_cross_entropy(HAND[0], y).item() == pytest.approx(0.9485599924)
    # (0.25 + 0.8) / 2 * 9.2103403720
    assert reverse_cross_entropy(HAND[0], y).item() == pytest.approx(4.8354286953)
    # TP 0.95, FN 1.05
    assert tversky_loss(HAND[0], y).item() == pytest.approx(1 - 0.95001 / (0.95 + 0.63 + 1e-5))


def test_perfect_prediction_costs_nothing() -> None:
    y = random_annotation(2)
    logits = 60 * torch.cat([1 - y, y], dim=1)
    for loss in SUPERVISED:
        assert loss(logits, y).item() == pytest.approx(0.0, abs=1e-9)


@pytest.mark.parametrize("loss", SUPERVISED)
def test_losses_share_log_probabilities(loss: Loss) -> None:
    alone, together = (random_logits(3).requires_grad_() for _ in range(2))
    y, given = random_annotation(3), shared(together)
    expected = [loss(alone, y), loss(alone, y)]
    found = [loss(given, y), loss(given, y)]
    assert found == expected
    for each in (expected, found):
        sum(each[1:], each[0]).backward()
    assert together.grad is not None
    torch.testing.assert_close(together.grad, alone.grad)
