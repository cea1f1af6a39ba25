"""The recommended mode learns from known background, by hand and by the oracle."""

from __future__ import annotations

import pytest
import torch
from support import oracle
from support.loss_inputs import annotation, label_of, logits_of
from support.methods import FixedOutputs, batch, dbdmp, fix_theta, logits

from lnq.losses import (
    soft_pseudo_label,
    supervised_terms,
)

# Three voxels: an annotated node, known background, and one of which nothing is known.
THREE = logits_of(0.75, 0.2, 0.6), annotation(1, 0, 0), annotation(0, 1, 0)


def test_known_background_by_hand() -> None:
    one, y, background = THREE
    terms = supervised_terms(
        one, y, {"pce": 1.0}, gamma=0.8, alpha=0.4, known_background=background
    )
    # -ln 0.75 - ln 0.8
    assert terms["pce"].item() == pytest.approx(0.5108256238)
    soft = soft_pseudo_label(y, label_of(0.7, 0.6, 0.9), background)
    assert soft[0, 1].flatten().tolist() == pytest.approx([1.0, 0.0, 0.9])
    assert soft.sum(dim=1).flatten().tolist() == pytest.approx([1.0, 1.0, 1.0])


def test_no_known_background_changes_nothing() -> None:
    one, y, _ = THREE
    given = {"names": {"pce": 1.0}, "gamma": 0.8, "alpha": 0.4}
    none = supervised_terms(one, y, **given, known_background=torch.zeros_like(y))
    assert none["pce"].item() == supervised_terms(one, y, **given)["pce"].item()


@pytest.mark.parametrize("lambda_p", [0.0, 2.0])
@pytest.mark.parametrize("seed", range(2))
def test_recommended_step_follows_the_oracle(
    monkeypatch: pytest.MonkeyPatch, lambda_p: float, seed: int
) -> None:
    fix_theta(monkeypatch, 0.35)
    main, aux, given = logits(seed), logits(seed + 50), batch(seed)
    known = (batch(seed + 9)["label"] == 1) & (given["label"] == 0)
    assert known.any()
    given |= {"known_background": known.to(torch.uint8), "supervised": torch.ones(2, 1, 1, 1, 1)}
    method = dbdmp(FixedOutputs(main, aux), mode="recommended")
    method.lambda_p = lambda_p
    loss = method.training_step(given, 0).item()
    arrays = main.numpy(), aux.numpy(), given["label"].double().numpy(), known.double().numpy()
    expected = oracle.recommended_total(*arrays, theta=0.35, lambda_p=lambda_p)
    assert loss == pytest.approx(expected)
    assert abs(loss - oracle.total(*arrays[:3], theta=0.35, lambda_p=lambda_p)) > 0.1


def test_gradient_of_known_background() -> None:
    one, y, background = THREE
    assert torch.autograd.gradcheck(
        lambda x: supervised_terms(
            x, y, {"pce": 1.0}, gamma=0.8, alpha=0.4, known_background=background
        )["pce"],
        one.clone().requires_grad_(),
    )
