"""Unknown voxels count the less, the more they look like nodes; annotated ones have a weight."""

from __future__ import annotations

import pytest
import torch
from support import oracle
from support.methods import FixedOutputs, dbdmp, fix_theta, logits
from support.three_kinds import COUNTED, SHAPE, THREE, mask, mixture

from lnq.losses import Kinds, cross_entropy, lopsided


@pytest.mark.parametrize("seed", range(3))
def test_a_lopsided_step_follows_the_oracle(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    fix_theta(monkeypatch, 0.35)
    main, aux, given = logits(seed, SHAPE), logits(seed + 50, SHAPE), mixture(seed)
    y, known = given["label"].double(), given["known_background"].double()
    counted = y + known
    counted[:2] = 1
    arrays = main.numpy(), aux.numpy(), y.numpy()
    weights = oracle.lopsided_counts(*arrays, known.numpy(), counted.numpy(), 0.35)
    label = oracle.pseudo_label(*arrays, 0.35, 0.3)
    label[:, :1][known.numpy() > 0] = 1
    label[:, 1:][known.numpy() > 0] = 0
    expected = 0.0
    for one, other in ((main, aux), (aux, main)):
        expected += oracle.lopsided_cross_entropy(one.numpy(), y.numpy(), weights, 10.0)
        expected += oracle.lopsided_tversky(one.numpy(), y.numpy(), weights, 0.2)
        expected += 0.5 * oracle.consensus(one.numpy(), other.numpy(), label)
    method = dbdmp(
        FixedOutputs(main, aux), mode="recommended", unknown="lopsided", node_weight=10.0,
        supervised={"ce": 1.0, "tversky": 1.0}, alpha=0.2,
    )  # fmt: skip
    method.lambda_p = 0.5
    assert method.training_step(given, 0).item() == pytest.approx(expected)


def test_lopsided_by_hand() -> None:
    one, y, known = THREE
    mixed = one.softmax(dim=1)
    given = Kinds(y, known, None)
    assert lopsided(given, mixed).counted.flatten().tolist() == pytest.approx([1, 1, 0.4])
    assert lopsided(given, mixed, 2.0).counted.flatten().tolist() == pytest.approx([1, 1, 0.16])
    assert lopsided(given, mixed, 0.0).counted.flatten().tolist() == [1, 1, 1]
    left_out = given._replace(counted=COUNTED)
    assert lopsided(left_out, mixed).counted.flatten().tolist() == [1, 1, 0]
    bare = lopsided(Kinds(y), mixed).counted.flatten().tolist()
    assert bare == pytest.approx([1, 0.8, 0.4])
    # (10 (-ln 0.75) - ln 0.8 - 0.4 ln 0.4) / 2.4
    value = cross_entropy(one, y, counted=lopsided(given, mixed).counted, node_weight=10.0)
    assert value.item() == pytest.approx(1.4443669034)


def test_of_c_annotated_nodes_the_node_weight_makes_one_half() -> None:
    """Elkan and Noto: one in five like this is annotated, four count as background."""
    y = mask(1, 0, 0, 0, 0)
    for weight, best in ((1.0, 0.2), (4.0, 0.5)):
        p = torch.tensor(best, dtype=torch.float64).logit()
        value = p.clone().requires_grad_()
        logits_ = torch.stack([torch.zeros(5, dtype=torch.float64), value.expand(5)])
        cross_entropy(logits_.reshape(1, 2, 1, 1, 5), y, node_weight=weight).backward()
        assert value.grad is not None
        assert value.grad.item() == pytest.approx(0, abs=1e-12)


def test_a_sure_network_is_not_pulled_down_where_nobody_looked() -> None:
    """Of an unknown voxel the gradient goes to 0 with its weight; without, it is all there."""
    for unknown, steep in (("lopsided", False), ("background", True)):
        main = torch.zeros(1, 2, 1, 1, 2, dtype=torch.float64)
        main[0, 1] = 9.0
        network = FixedOutputs(main, main.clone())
        method = dbdmp(
            network, mode="recommended", unknown=unknown, supervised={"ce": 1.0},
            pseudo={"klce": 0.0},
        )  # fmt: skip
        given = {
            "image": torch.zeros(1, 1, 1, 1, 2),
            "label": torch.tensor([1, 0], dtype=torch.uint8).reshape(1, 1, 1, 1, 2),
            "known_background": torch.zeros(1, 1, 1, 1, 2, dtype=torch.uint8),
            "supervised": torch.ones(1, 1, 1, 1, 1, dtype=torch.uint8),
            "case_id": ["a"],
        }
        method.training_step(given, 0).backward()
        assert network.main.grad is not None
        assert (network.main.grad[0, 1, 0, 0, 1].abs().item() > 0.1) == steep
