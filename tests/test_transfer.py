"""Weights from elsewhere: what is kept, what is refused, and that nothing in a file is ever run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.networks import dual
from torch import Tensor, nn

from lnq.errors import UsageError
from lnq.networks import VNet
from lnq.networks.transfer import (
    initialise_from,
)

SOURCE = Path("runs/genesis/checkpoints/last.ckpt")
HEADS = {
    f"{branch}_decoder.head.{part}" for branch in ("main", "aux") for part in ("weight", "bias")
}


def single(out_channels: int = 2) -> VNet:
    return VNet(1, out_channels, (4, 6, 8), (0.0, 0.0))


def filled(network: nn.Module, value: float) -> dict[str, Tensor]:
    """The state of `network` with the same number everywhere."""
    return {key: torch.full_like(t, value) for key, t in network.state_dict().items()}


def taken(network: nn.Module, value: float) -> set[str]:
    return {key for key, t in network.state_dict().items() if bool((t == value).all())}


def test_pre_training_hands_on_everything_but_its_heads() -> None:
    network = dual(out_channels=2)
    heads = {key: network.state_dict()[key].clone() for key in HEADS}
    fresh = initialise_from(network, filled(dual(out_channels=1), 7.0), SOURCE)
    assert set(fresh) == HEADS
    assert taken(network, 7.0) == network.state_dict().keys() - HEADS
    for key, before in heads.items():
        assert torch.equal(network.state_dict()[key], before)


def test_same_network_hands_on_its_heads_too() -> None:
    network = dual()
    assert initialise_from(network, filled(dual(), 7.0), SOURCE) == []
    assert taken(network, 7.0) == set(network.state_dict())


def test_dual_to_single_drops_the_auxiliary_decoder() -> None:
    network = single()
    assert initialise_from(network, filled(dual(), 7.0), SOURCE) == []
    assert taken(network, 7.0) == set(network.state_dict())


def test_single_to_dual_leaves_the_auxiliary_decoder_as_it_was() -> None:
    network = dual()
    before = {key: t.clone() for key, t in network.aux_decoder.state_dict().items()}
    fresh = initialise_from(network, filled(single(), 7.0), SOURCE)
    assert set(fresh) == {f"aux_decoder.{key}" for key in before}
    assert taken(network, 7.0) == network.state_dict().keys() - set(fresh)
    for key, tensor in before.items():
        assert torch.equal(network.aux_decoder.state_dict()[key], tensor)


def test_weights_are_copied_and_not_shared() -> None:
    source, network = dual(), dual()
    initialise_from(network, source.state_dict(), SOURCE)
    with torch.no_grad():
        next(network.parameters()).add_(1)
    assert not torch.equal(next(network.parameters()), next(source.parameters()))


@pytest.mark.parametrize("widths", [(4, 6, 9), (4, 6, 8, 8), (4, 6)])
def test_another_architecture_is_refused_with_its_differences(widths: tuple[int, ...]) -> None:
    network = dual()
    before = {key: t.clone() for key, t in network.state_dict().items()}
    with pytest.raises(UsageError, match="another architecture") as caught:
        initialise_from(network, filled(dual(widths=widths), 7.0), SOURCE)
    message = str(caught.value)
    assert "last.ckpt" in message
    assert " here, " in message
    here, there = dual().state_dict(), dual(widths=widths).state_dict()
    shared = here.keys() & there.keys()
    kinds = {
        "of another shape": {key for key in shared if here[key].shape != there[key].shape},
        "missing in them": here.keys() - shared,
        "unknown here": there.keys() - shared,
    }
    assert f"of {len(here.keys() | there.keys())} tensors " in message
    for kind, keys in kinds.items():
        assert (f"{len(keys)} {kind}" in message) is bool(keys)
        assert sum(f"{key}: " in message for key in keys) == min(len(keys), 2)
    assert len(message) < 600
    assert all(torch.equal(t, before[key]) for key, t in network.state_dict().items())


def test_the_differing_tensor_is_named_with_both_shapes() -> None:
    state = filled(dual(), 7.0)
    key = "encoder.levels.0.block.conv1.0.weight"
    state[key] = torch.zeros(4, 1, 3, 3, 3)
    with pytest.raises(UsageError) as caught:
        initialise_from(dual(), state, SOURCE)
    assert f"{key}: 4x1x1x3x3 here, 4x1x3x3x3 there" in str(caught.value)


def test_only_the_auxiliary_decoder_may_be_missing() -> None:
    state = filled(dual(), 7.0)
    for key in [key for key in state if key.startswith("main_decoder.")]:
        del state[key]
    with pytest.raises(UsageError, match="missing there") as caught:
        initialise_from(dual(), state, SOURCE)
    assert "main_decoder.head.bias: 2 here, missing there" in str(caught.value)


@pytest.mark.parametrize(
    "missing",
    [
        "encoder.levels.1.down.0.weight",
        "main_decoder.levels.0.up.0.bias",
        "main_decoder.head.weight",
    ],
)
def test_a_missing_tensor_is_named(missing: str) -> None:
    state = filled(dual(), 7.0)
    del state[missing]
    with pytest.raises(UsageError, match="missing there") as caught:
        initialise_from(dual(), state, SOURCE)
    assert missing in str(caught.value)


def test_weights_of_something_else_altogether_are_refused() -> None:
    with pytest.raises(UsageError, match="another architecture"):
        initialise_from(dual(), {"fc.weight": torch.zeros(10, 2)}, SOURCE)
    with pytest.raises(UsageError, match="another architecture"):
        initialise_from(dual(), {}, SOURCE)
