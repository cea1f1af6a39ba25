"""`method.mode`: each of the original's divergences by hand, whole steps, golden loss curves.

`golden_curves.json` holds the loss of 20 steps on the tiny store. After an intended change of the
training, `LNQ_RENEW_GOLDEN=1 pytest tests/test_modes.py -k golden` writes it anew: say in the
commit why the curves moved.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import fields

import pytest
import torch
from support import oracle
from support.loss_inputs import annotation, label_of, logits_of
from support.methods import FixedOutputs, batch, dbdmp, fix_theta, logits
from torch import Tensor

from lnq.errors import RunError
from lnq.losses import (
    PSEUDO_TERMS,
    SUPERVISED_TERMS,
    consensus_loss,
    partial_cross_entropy,
    reverse_cross_entropy,
    sharpen,
    soft_pseudo_label,
    supervised_terms,
    symmetric_cross_entropy,
    truncated_pseudo_label,
)
from lnq.methods.mode import MODES, ModeName
from lnq.networks import DualBranchVNet


def random_annotation(seed: int) -> Tensor:
    return batch(seed)["label"].double()


# Two voxels: an annotated one with p_1 = 0.75 and another with p_1 = 0.2.
HAND = logits_of(0.75, 0.2), annotation(1, 0)


# Fields whose value is not the same as that of an option that is off or on.
EXPECTED = {
    "loss_scale": (1.0, 0.25, 1.0),
    "knows_background": (False, False, True),
}


def test_paper_has_none_of_the_original_s_divergences_and_original_all() -> None:
    for field in fields(MODES["paper"]):
        values = tuple(getattr(MODES[n], field.name) for n in ("paper", "original", "recommended"))
        assert values == EXPECTED.get(field.name, (False, True, False)), field.name


def test_reverse_cross_entropy_over_classes_by_hand() -> None:
    # 0.45 * 9.2103403720 over two voxels, and over two voxels of two classes
    assert reverse_cross_entropy(*HAND).item() == pytest.approx(2.0723265837)
    halved = reverse_cross_entropy(*HAND, mean_over_classes=True)
    assert halved.item() == pytest.approx(1.0361632919)
    # γ L_CE = 0.8 * 0.2554128119 is not halved
    symmetric = symmetric_cross_entropy(*HAND, mean_over_classes=True)
    assert symmetric.item() == pytest.approx(1.2404935414)


def test_partial_cross_entropy_without_annotation() -> None:
    given = HAND[0], annotation(0, 0)
    assert partial_cross_entropy(*given).item() == 0.0
    assert math.isnan(partial_cross_entropy(*given, nan_if_empty=True).item())
    assert partial_cross_entropy(*HAND, nan_if_empty=True) == partial_cross_entropy(*HAND)


def test_truncated_target_is_background_also_where_a_node_is_annotated() -> None:
    y = annotation(1, 0, 0, 0)
    soft = soft_pseudo_label(y, sharpen(label_of(0.9, 1.0, 0.5, 0.0)))
    assert soft[0, 1, 0, 0, 0] == 1.0
    truncated = truncated_pseudo_label(soft)
    assert truncated[0, 0].flatten().tolist() == [1.0, 1.0, 1.0, 1.0]
    assert truncated[0, 1].flatten().tolist() == [0.0, 0.0, 0.0, 0.0]


def test_truncated_target_is_class_1_where_the_background_is_exactly_certain() -> None:
    # e^(-1/0.001) is 0: the background's probability is 1, and 1 is taken for the class of a node
    soft = soft_pseudo_label(annotation(0, 0), sharpen(label_of(0.0, 1.0), tau=0.001))
    assert truncated_pseudo_label(soft)[0, 1].flatten().tolist() == [1.0, 0.0]


def test_consensus_normalisation_by_hand() -> None:
    # p_1 (0.75, 0.5) against q_1 (0.5, 0.5), ŷ_1 (0.7, 0.7); CE (0.6172657591, 0.6931471806),
    # KL (0.1438410362, 0), W (0.8660254038, 1): Σ W CE = 1.2277150089, ΣW = 1.8660254038
    given = logits_of(0.75, 0.5), logits_of(0.5, 0.5), label_of(0.7, 0.7)
    # (1.2277150089 + 0.1438410362) / 1.8660254038
    assert consensus_loss(*given).item() == pytest.approx(0.7350146693)
    # 1.2277150089 / 1.8660254038 + 0.1438410362 / 2
    assert consensus_loss(*given, kl_apart=True).item() == pytest.approx(0.7298510084)


def test_original_step_of_one_annotated_voxel_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # p_1 of main 0.75, of aux 0.5; λ_p = 0.5; θ has no say, the target is background anyway.
    # main: CE and PCE 0.2876820724, RCE 0.25 * 9.2103403720 / 2 = 1.1512925465,
    #       Tversky 1 - 0.75001 / 0.90001 = 0.1666648148; L_sup = 1.8357850916
    # aux:  CE and PCE 0.6931471806, RCE 2.3025850930, Tversky 1 - 0.50001 / 0.80001 = 0.3749953126;
    #       L_sup = 3.9252453307
    # L_p main: -ln 0.25 + KL 0.1438410362 = 1.5301353973; aux: ln 2 + 0.1308120359 = 0.8239592165
    # L = 0.25 * (1.8357850916 + 3.9252453307 + 0.5 * 2.3540946138)
    fix_theta(monkeypatch, 0.2)
    method = dbdmp(FixedOutputs(logits_of(0.75), logits_of(0.5)), mode="original")
    method.lambda_p = 0.5
    given = batch(shape=(1, 2, 1, 1, 1)) | {"label": torch.ones(1, 1, 1, 1, 1)}
    assert method.training_step(given, 0).item() == pytest.approx(1.7345194323, rel=1e-7)
    assert method.logged["train/loss_sup"].item() == pytest.approx(5.7610304223, rel=1e-7)
    assert method.logged["train/loss_pseudo"].item() == pytest.approx(2.3540946138, rel=1e-7)


@pytest.mark.parametrize("lambda_p", [0.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_original_step_follows_the_oracle(
    monkeypatch: pytest.MonkeyPatch, lambda_p: float, seed: int
) -> None:
    fix_theta(monkeypatch, 0.35)
    main, aux, given = logits(seed), logits(seed + 50), batch(seed)
    y = given["label"].double().numpy()
    method = dbdmp(FixedOutputs(main, aux), mode="original")
    method.lambda_p = lambda_p
    loss = method.training_step(given, 0).item()
    arrays = main.numpy(), aux.numpy(), y
    assert loss == pytest.approx(oracle.original_total(*arrays, theta=0.35, lambda_p=lambda_p))
    paper = oracle.total(*arrays, theta=0.35, lambda_p=lambda_p)
    assert abs(loss - paper) > 0.1
    default = dbdmp(FixedOutputs(main, aux))
    default.lambda_p = lambda_p
    assert default.training_step(given, 0).item() == pytest.approx(paper)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_rows_a_and_b_compare_both_branches_with_the_hard_label(
    monkeypatch: pytest.MonkeyPatch, mode: ModeName
) -> None:
    fix_theta(monkeypatch, 0.6)
    main, aux, given = logits(3), logits(4), batch(3)
    arrays = main.numpy(), aux.numpy(), given["label"].double().numpy()
    for with_tversky in (False, True):
        terms = {"ce": 1.0, "tversky": float(with_tversky)}
        method = dbdmp(FixedOutputs(main, aux), supervised=terms, pseudo={"dice": 1.0}, mode=mode)
        method.lambda_p = 1.3
        expected = oracle.total_of_rows_a_and_b(
            *arrays, theta=0.6, lambda_p=1.3, with_tversky=with_tversky
        )
        loss = method.training_step(given, 0)
        assert loss.item() == pytest.approx(expected * MODES[mode].loss_scale)
        loss.backward()
        for parameter in method.network.parameters():
            assert parameter.grad is not None
            assert parameter.grad.abs().max() > 0


def subsets(weights: dict[str, float]) -> list[dict[str, float]]:
    """Every choice of some of the weights, the others being 0."""
    return [
        {name: weight * keep for (name, weight), keep in zip(weights.items(), kept, strict=True)}
        for kept in itertools.product((0.0, 1.0), repeat=len(weights))
    ]


def test_any_terms_combine_with_any_pseudo_terms(monkeypatch: pytest.MonkeyPatch) -> None:
    fix_theta(monkeypatch, 0.35)
    main, aux, given = logits(5), logits(6), batch(5)
    a, b, y = main.numpy(), aux.numpy(), given["label"].double().numpy()
    soft = oracle.pseudo_label(a, b, y, 0.35, 0.3)
    hard = oracle.hard_label(soft)
    alone_p = {
        "klce": oracle.consensus(a, b, soft) + oracle.consensus(b, a, soft),
        "dice": oracle.dice(a, hard) + oracle.dice(b, hard),
    }
    alone = {
        "ce": oracle.cross_entropy(a, y) + oracle.cross_entropy(b, y),
        "sce": sum(oracle.symmetric_cross_entropy(x, y, 0.8) for x in (a, b)),
        "pce": oracle.partial_cross_entropy(a, y) + oracle.partial_cross_entropy(b, y),
        "tversky": oracle.tversky(a, y, 0.4) + oracle.tversky(b, y, 0.4),
        "dice": oracle.dice(a, y) + oracle.dice(b, y),
    }
    weights = {"ce": 0.5, "sce": 2.0, "pce": 0.3, "tversky": 1.5, "dice": 0.7}
    weights_p = {"klce": 0.6, "dice": 1.7}
    assert alone.keys() == set(SUPERVISED_TERMS)
    assert alone_p.keys() == set(PSEUDO_TERMS)
    for chosen, chosen_p in itertools.product(subsets(weights), subsets(weights_p)):
        if not any([*chosen.values(), *chosen_p.values()]):
            continue
        method = dbdmp(FixedOutputs(main, aux), supervised=chosen, pseudo=chosen_p)
        pseudo = sum(weight * alone_p[name] for name, weight in chosen_p.items())
        expected = sum(weight * alone[name] for name, weight in chosen.items()) + 2.0 * pseudo
        loss = method.training_step(given, 0).item()
        assert loss == pytest.approx(expected), (chosen, chosen_p)
        for name, weight in chosen_p.items():
            logged = method.logged.get(f"train/pseudo_{name}")
            assert (
                (logged is None) if weight == 0 else logged.item() == pytest.approx(alone_p[name])
            )
        assert ("train/loss_pseudo" in method.logged) is (pseudo > 0)
        if pseudo:
            assert method.logged["train/loss_pseudo"].item() == pytest.approx(pseudo)


def test_no_loss_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="no loss"):
        dbdmp(supervised={"ce": 0.0}, pseudo={"klce": 0.0})


def test_original_stops_at_a_batch_without_annotation_and_says_why() -> None:
    given = batch()
    given["label"] = torch.zeros_like(given["label"])
    method = dbdmp(mode="original")
    with pytest.raises(RunError) as caught:
        method.training_step(given, 0)
    assert math.isnan(method.logged["train/loss"].item())
    for expected in (
        "NaN at step 0",
        "case_0, case_1",
        "method.mode=original",
        "method.mode=paper",
    ):
        assert expected in str(caught.value)
    without = dbdmp(mode="original", supervised={"sce": 1.0, "tversky": 1.0})
    assert math.isfinite(without.training_step(given, 0).item())


def test_original_tells_a_diverged_loss_from_a_missing_annotation() -> None:
    main = logits(1)
    main[0, 0, 0, 0, 0] = float("nan")
    with pytest.raises(RunError, match="the weights diverged"):
        dbdmp(FixedOutputs(main, logits(2)), mode="original").training_step(batch(), 0)


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_auxiliary_dropout_in_evaluation(mode: str) -> None:
    torch.manual_seed(0)
    network = DualBranchVNet(widths=(4, 6, 8), dropouts=(0.3, 0.3))
    dbdmp(network, mode=mode).eval()
    image = torch.randn(1, 1, 4, 8, 8)
    with torch.no_grad():
        (main, aux), (main_again, aux_again) = network(image), network(image)
    assert torch.equal(main, main_again)
    assert torch.equal(main, network.main_logits(image))
    assert torch.equal(aux, aux_again) is (mode == "paper")


def original_terms(x: Tensor, y: Tensor) -> Tensor:
    terms = supervised_terms(
        x, y, dict.fromkeys(SUPERVISED_TERMS, 1.0), gamma=0.8, alpha=0.4,
        mean_over_classes=True, nan_if_empty=True,
    )  # fmt: skip
    return torch.stack(list(terms.values()))


def test_gradients_of_the_original_s_forms() -> None:
    one, other = logits(3).requires_grad_(), logits(4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: original_terms(x, random_annotation(3)), one)
    target = truncated_pseudo_label(torch.softmax(logits(5), dim=1))
    assert torch.autograd.gradcheck(
        lambda p, q: consensus_loss(p, q, target, kl_apart=True), (one, other)
    )


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pseudo", ["klce", "dice"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_logits_of_100_stay_finite(mode: str, pseudo: str, dtype: torch.dtype) -> None:
    main, aux = ((100 * logits(seed).sign()).to(dtype) for seed in (7, 8))
    weights = dict.fromkeys(SUPERVISED_TERMS, 1.0)
    method = dbdmp(FixedOutputs(main, aux), supervised=weights, pseudo={pseudo: 1.0}, mode=mode)
    given = batch(7)
    if mode == "recommended":
        given["known_background"] = 1 - given["label"]
        given["supervised"] = torch.ones(2, 1, 1, 1, 1)
    loss = method.training_step(given, 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())
    for parameter in method.network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
