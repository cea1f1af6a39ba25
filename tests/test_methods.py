"""The LightningModules: Eq. 10 for given logits, θ, what is logged, losses that are not finite."""

from __future__ import annotations

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.inferers import SimpleInferer
from support import oracle
from support.methods import (
    KLCE,
    PAPER,
    SHAPE,
    FixedOutputs,
    OneBranch,
    batch,
    dbdmp,
    fix_theta,
    logits,
    sgd,
)
from torch import Tensor
from torch.utils.data import DataLoader

from lnq.errors import RunError
from lnq.losses import PSEUDO_TERMS, SUPERVISED_TERMS, Kinds
from lnq.methods import DBDMP
from lnq.methods import dbdmp as dbdmp_module
from lnq.methods.mode import MODES, ModeName
from lnq.networks import DualBranchVNet, VNet


@pytest.fixture
def thetas(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """θ of every mix, in order."""
    seen: list[float] = []
    mix = dbdmp_module.mix_branches

    def spy(main: Tensor, aux: Tensor, theta: float) -> Tensor:
        seen.append(theta)
        return mix(main, aux, theta)

    monkeypatch.setattr(dbdmp_module, "mix_branches", spy)
    return seen


def test_total_loss_of_one_voxel_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    # One voxel, not annotated, p_1 of main 0.75 and of aux 0.5, θ = 0.2, τ = 0.3, λ_p = 0.5.
    # main: CE -ln .25 = 1.3862943611, RCE .75 * 9.2103403720 = 6.9077552790, PCE 0,
    #       Tversky 1 - 1e-5 / (0.4 * .75 + 1e-5) = 0.9999666678
    #       L_sup = 0.8 * 1.3862943611 + 6.9077552790 + 0.9999666678 = 9.0167574357
    # aux:  0.8 * 0.6931471806 + 4.6051701860 + (1 - 1e-5 / 0.20001 = 0.9999500025) = 6.1596379329
    # mix:  0.2 * 0.75 + 0.8 * 0.5 = 0.55; ŷ = 1/(1 + e^(-0.1/0.3)) = 0.5825702065
    # main: CE -.4174297935 ln .25 - .5825702065 ln .75 = 0.7462755733,
    #       KL 0.1438410362, W 0.8660254038: CE + KL / W = 0.9123688953
    # aux:  CE ln 2 = 0.6931471806, KL 0.1308120359, W 0.8773826753: CE + KL / W = 0.8422406601
    # L = 9.0167574357 + 6.1596379329 + 0.5 * (0.9123688953 + 0.8422406601)
    fix_theta(monkeypatch, 0.2)
    main = torch.tensor([0.0, np.log(3.0)], dtype=torch.float64).reshape(1, 2, 1, 1, 1)
    method = dbdmp(FixedOutputs(main, torch.zeros_like(main)))
    method.lambda_p = 0.5
    given = batch(shape=(1, 2, 1, 1, 1)) | {"label": torch.zeros(1, 1, 1, 1, 1)}
    assert method.training_step(given, 0).item() == pytest.approx(16.0537001463, rel=1e-7)


@pytest.mark.parametrize("lambda_p", [0.0, 0.0134758940, 2.0])
def test_total_loss_follows_the_oracle(thetas: list[float], lambda_p: float) -> None:
    main, aux, given = logits(1), logits(2), batch()
    method = dbdmp(FixedOutputs(main, aux), seed=3)
    method.lambda_p = lambda_p
    loss = method.training_step(given, 0).item()
    y = given["label"].double().numpy()
    expected = oracle.total(main.numpy(), aux.numpy(), y, theta=thetas[0], lambda_p=lambda_p)
    assert loss == pytest.approx(expected)


def test_both_branches_learn_from_one_pseudo_label_of_both(thetas: list[float]) -> None:
    method = dbdmp()
    method.training_step(batch(), 0).backward()
    assert len(thetas) == 1
    for parameter in method.network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.abs().min() > 0


def test_gradient_of_the_total_loss_follows_the_oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    # central difference of the oracle with the pseudo label held fixed, at one logit of either
    fix_theta(monkeypatch, 0.6)
    main, aux, given = logits(1), logits(2), batch()
    y = given["label"].double().numpy()
    method = dbdmp(FixedOutputs(main.clone(), aux.clone()))
    method.training_step(given, 0).backward()
    label = oracle.pseudo_label(main.numpy(), aux.numpy(), y, 0.6, 0.3)
    at, step = (1, 1, 0, 2, 1), 1e-5

    def total(a: oracle.Floats, b: oracle.Floats) -> float:
        pseudo = oracle.consensus(a, b, label) + oracle.consensus(b, a, label)
        return oracle.supervised(a, y) + oracle.supervised(b, y) + 2 * pseudo

    bump = np.zeros(SHAPE)
    bump[at] = step
    a, b = main.numpy(), aux.numpy()
    expected = [
        (total(a + bump, b) - total(a - bump, b)) / (2 * step),
        (total(a, b + bump) - total(a, b - bump)) / (2 * step),
    ]
    actual = [p.grad[at].item() for p in method.network.parameters() if p.grad is not None]
    assert actual == pytest.approx(expected, rel=1e-5)


def test_terms_are_weighted_and_those_of_weight_zero_are_left_out() -> None:
    main, aux, given = logits(1), logits(2), batch()
    method = dbdmp(
        FixedOutputs(main, aux), supervised={"ce": 0.5, "tversky": 2.0, "pce": 0.0}, lambda_max=0.0
    )
    y = given["label"].double().numpy()
    expected = sum(
        0.5 * oracle.cross_entropy(x, y) + 2 * oracle.tversky(x, y, 0.4)
        for x in (main.numpy(), aux.numpy())
    )
    assert method.training_step(given, 0).item() == pytest.approx(expected)
    assert "train/ce" in method.logged
    assert "train/pce" not in method.logged


def test_paper_s_constants_are_the_defaults() -> None:
    method = dbdmp()
    assert (method.tau, method.gamma, method.alpha) == (0.3, 0.8, 0.4)
    assert method.lambda_max == method.lambda_p == 2.0
    assert method.detach_weight is False


@pytest.mark.parametrize(
    "change", [{"tau": 0.1}, {"gamma": 1.2}, {"alpha": 0.6}, {"lambda_max": 1.4}]
)
def test_every_swept_constant_reaches_the_loss(change: dict[str, float]) -> None:
    given = batch()
    default, changed = dbdmp().training_step(given, 0), dbdmp(**change).training_step(given, 0)
    assert abs(default.item() - changed.item()) > 1e-3


def test_detach_weight_changes_the_gradient_of_the_step_and_not_its_loss() -> None:
    losses, gradients = [], []
    for detach in (False, True):
        method = dbdmp(detach_weight=detach)
        loss = method.training_step(batch(), 0)
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.stack([p.grad for p in method.parameters() if p.grad is not None]))
    assert losses[0] == losses[1]
    assert not torch.allclose(*gradients)


def test_batch_without_any_annotation_and_a_batch_of_one() -> None:
    given = batch(shape=(1, *SHAPE[1:]))
    given["label"] = torch.zeros_like(given["label"])
    method = dbdmp(FixedOutputs(logits(1)[:1], logits(2)[:1]))
    method.training_step(given, 0).backward()
    assert method.logged["train/pce"].item() == 0.0
    for parameter in method.network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()


@pytest.mark.slow
def test_theta_is_drawn_anew_at_each_step_uniformly_and_repeats_under_the_seed(
    monkeypatch: pytest.MonkeyPatch, thetas: list[float]
) -> None:
    def draw(seed: int, steps: range) -> list[float]:
        thetas.clear()
        method = dbdmp(seed=seed)
        for step in steps:
            monkeypatch.setattr(DBDMP, "global_step", step, raising=False)
            method.training_step(batch(), 0)
        return list(thetas)

    first = draw(0, range(120))
    assert len(set(first)) == 120
    assert 0 < min(first) < 0.1
    assert 0.9 < max(first) < 1
    assert np.mean(first) == pytest.approx(0.5, abs=0.11)
    torch.manual_seed(99)  # the global generator has no say
    assert draw(0, range(120)) == first
    assert draw(0, range(60, 120)) == first[60:]  # a resumed run goes on as an uninterrupted one
    assert draw(1, range(120)) != first


@pytest.mark.training
def test_theta_follows_the_trainer_s_steps(thetas: list[float]) -> None:
    method = DBDMP(FixedOutputs(logits(1), logits(2)), sgd, SimpleInferer(), PAPER, KLCE)
    trainer = pl.Trainer(
        max_steps=4, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    before = [p.detach().clone() for p in method.network.parameters()]
    trainer.fit(method, DataLoader([batch(i) for i in range(4)], batch_size=None))
    assert len(set(thetas)) == 4
    for now, then in zip(method.network.parameters(), before, strict=True):
        assert not torch.equal(now, then)


def test_pseudo_labels_need_two_decoders() -> None:
    with pytest.raises(ValueError, match="two decoders"):
        dbdmp(VNet(widths=(4, 6), dropouts=(0.0,)))


def test_baseline_is_the_cross_entropy_of_one_branch() -> None:
    given = batch()
    method = dbdmp(OneBranch(logits(1)), supervised={"ce": 1.0}, pseudo={})
    expected = oracle.cross_entropy(logits(1).numpy(), given["label"].double().numpy())
    assert method.training_step(given, 0).item() == pytest.approx(expected)
    assert "train/loss_pseudo" not in method.logged


def test_what_is_logged_adds_up() -> None:
    method = dbdmp()
    method.lambda_p = 0.7
    loss = method.training_step(batch(), 0)
    seen = method.logged
    assert seen["train/lambda_p"] == 0.7
    assert seen["train/loss"].item() == loss.item()
    assert seen["train/loss"].item() == pytest.approx(
        seen["train/loss_sup"].item() + 0.7 * seen["train/loss_pseudo"].item()
    )
    assert seen["train/loss_pseudo"].item() == seen["train/pseudo_klce"].item()
    assert seen["train/loss_sup"].item() == pytest.approx(
        sum(seen[f"train/{name}"].item() for name in PAPER)
    )


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_stops_and_names_the_cases(bad: float) -> None:
    main = logits(1)
    main[0, 0, 0, 0, 0] = bad
    with pytest.raises(RunError) as caught:
        dbdmp(FixedOutputs(main, logits(2))).training_step(batch(), 0)
    assert caught.value.exit_code == 4
    assert "case_0, case_1" in str(caught.value)
    assert "step 0" in str(caught.value)


@pytest.mark.training
def test_no_optimiser_step_is_taken_on_a_loss_that_is_not_finite() -> None:
    network = DualBranchVNet(widths=(2, 2), dropouts=(0.0,))
    method = DBDMP(network, sgd, SimpleInferer(), PAPER, KLCE)
    before = {key: t.clone() for key, t in network.state_dict().items()}
    given = {
        "image": torch.full((1, 1, 2, 4, 4), float("nan")),
        "label": torch.zeros(1, 1, 2, 4, 4),
        "case_id": ["case_7"],
    }
    trainer = pl.Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    with pytest.raises(RunError, match="case_7"):
        trainer.fit(method, DataLoader([given], batch_size=None))
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())


@pytest.mark.training
def test_gradients_that_are_not_finite_never_reach_the_weights() -> None:
    network = DualBranchVNet(widths=(2, 2), dropouts=(0.0,))
    method = DBDMP(network, sgd, SimpleInferer(), PAPER, KLCE)
    network.main_decoder.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    before = {key: t.clone() for key, t in network.state_dict().items()}
    given = {
        "image": torch.ones(1, 1, 2, 4, 4),
        "label": torch.ones(1, 1, 2, 4, 4),
        "case_id": ["case_7"],
    }
    trainer = pl.Trainer(
        max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", gradient_clip_val=12,
    )  # fmt: skip
    with pytest.raises(RunError, match="gradient's norm"):
        trainer.fit(method, DataLoader([given], batch_size=None))
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())


def test_optimiser_gets_every_parameter_of_the_network() -> None:
    network = DualBranchVNet(widths=(2, 4), dropouts=(0.0,))
    method = DBDMP(network, sgd, SimpleInferer(), PAPER, KLCE)
    groups = method.configure_optimizers().param_groups
    handed = {id(p) for group in groups for p in group["params"]}
    assert handed == {id(p) for p in network.parameters()}


@pytest.mark.parametrize("mode", MODES)
def test_log_probabilities_are_taken_once_of_each_branch(
    mode: ModeName, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[Tensor] = []
    found = torch.log_softmax
    monkeypatch.setattr(torch, "log_softmax", lambda x, dim: taken.append(x) or found(x, dim))
    branches, y = (logits(0), logits(1)), batch(2)["label"].double()
    method = dbdmp(mode=mode, supervised=dict.fromkeys(SUPERVISED_TERMS, 1.0),
                   pseudo=dict.fromkeys(PSEUDO_TERMS, 1.0))  # fmt: skip
    method.objective(branches, Kinds(y, (1 - y) * batch(3)["label"].double()), 0.4, 2.0)
    assert [x is branch for x, branch in zip(taken, branches, strict=True)] == [True, True]
