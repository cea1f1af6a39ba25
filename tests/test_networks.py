"""DualBranchVNet against the original's tensor shapes, and what each part of it must (not) do.

Structure is checked on the full network, behaviour on a narrow one with the same code.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lnq.networks import DualBranchVNet, VNet
from lnq.networks.dual_branch_vnet import total_stride

NARROW = (4, 6, 8, 8, 8, 8)
PATCH = (1, 1, 16, 32, 64)  # the smallest that leaves the bottleneck more than one voxel


@pytest.fixture(scope="module")
def full() -> DualBranchVNet:
    torch.manual_seed(0)
    return DualBranchVNet()


@pytest.fixture
def narrow() -> DualBranchVNet:
    torch.manual_seed(1)
    return DualBranchVNet(widths=NARROW)


@pytest.fixture
def original_shapes() -> dict[str, list[int]]:
    default = Path(__file__).parents[2] / "shared" / "original_keys.json"
    if "LNQ_REAL_DATA" in os.environ:
        default = Path(os.environ["LNQ_REAL_DATA"]).parent / default.name
    path = Path(os.environ.get("LNQ_ORIGINAL_KEYS", default))
    if not path.is_file():
        pytest.skip(f"no shapes of the original: {path} is missing (set LNQ_ORIGINAL_KEYS)")
    shapes: dict[str, list[int]] = json.loads(path.read_text())
    return shapes


def patch(shape: tuple[int, ...] = PATCH, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def convolutions(module: nn.Module) -> list[nn.Conv3d | nn.ConvTranspose3d]:
    return [m for m in module.modules() if isinstance(m, nn.Conv3d | nn.ConvTranspose3d)]


def got_gradient(module: nn.Module) -> set[bool]:
    return {p.grad is not None and bool(p.grad.abs().sum() > 0) for p in module.parameters()}


def seen_by_aux(network: DualBranchVNet, x: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """What the auxiliary and the main decoder are handed in one forward."""
    seen: dict[str, list[Tensor]] = {}
    for name in ("aux_decoder", "main_decoder"):

        def keep(_: nn.Module, arguments: tuple[list[Tensor]], name: str = name) -> None:
            seen[name] = [feature.clone() for feature in arguments[0]]

        network.get_submodule(name).register_forward_pre_hook(keep)
    with torch.no_grad():
        network(x)
    return seen["aux_decoder"], seen["main_decoder"]


def test_number_of_parameters_is_the_paper_s(full: DualBranchVNet) -> None:
    assert sum(p.numel() for p in full.parameters()) == 37_174_836


def test_every_tensor_of_an_original_checkpoint_has_its_counterpart(
    full: DualBranchVNet, original_shapes: dict[str, list[int]]
) -> None:
    ours = Counter(tuple(t.shape) for t in full.state_dict().values())
    assert ours == Counter(tuple(shape) for shape in original_shapes.values())
    for part in ("encoder", "main_decoder", "aux_decoder"):
        of_part = Counter(tuple(s) for k, s in original_shapes.items() if k.startswith(part))
        state = full.get_submodule(part).state_dict()
        heads = {"head.weight", "head.bias"}
        assert Counter(tuple(t.shape) for k, t in state.items() if k not in heads) == of_part


def test_first_level_convolves_in_plane_and_the_others_in_space(full: DualBranchVNet) -> None:
    kernels = {
        (tuple(m.kernel_size), m.out_channels)
        for m in convolutions(full)
        if tuple(m.stride) == (1, 1, 1) and m.kernel_size[2] == 3
    }
    assert kernels == {((1, 3, 3), 16)} | {((3, 3, 3), w) for w in (32, 64, 128, 256, 512)}


def test_first_step_down_keeps_the_slices_and_four_more_halve_all(full: DualBranchVNet) -> None:
    strided = [m for m in convolutions(full.encoder) if tuple(m.stride) != (1, 1, 1)]
    assert [tuple(m.stride) for m in strided] == [(1, 2, 2)] + 4 * [(2, 2, 2)]
    assert all(m.kernel_size == m.stride for m in strided)
    for decoder in (full.main_decoder, full.aux_decoder):
        ups = [m for m in convolutions(decoder) if isinstance(m, nn.ConvTranspose3d)]
        assert [tuple(m.stride) for m in ups] == 4 * [(2, 2, 2)] + [(1, 2, 2)]
        assert all(m.kernel_size == m.stride for m in ups)
    assert total_stride(6) == (16, 32, 32)


def test_only_the_first_level_needs_a_convolution_for_its_residual(full: DualBranchVNet) -> None:
    points = [m for m in convolutions(full.encoder) if tuple(m.kernel_size) == (1, 1, 1)]
    assert [(m.in_channels, m.out_channels) for m in points] == [(1, 16)]


def test_sizes_and_widths_of_the_features(full: DualBranchVNet) -> None:
    with torch.no_grad():
        features = full.encoder(patch())
    assert [tuple(f.shape[1:]) for f in features] == [
        (16, 16, 32, 64),
        (32, 16, 16, 32),
        (64, 8, 8, 16),
        (128, 4, 4, 8),
        (256, 2, 2, 4),
        (512, 1, 1, 2),
    ]


def test_both_branches_give_class_logits_of_the_patch_s_size(narrow: DualBranchVNet) -> None:
    for batch_size in (1, 2):
        branches = narrow(patch((batch_size, *PATCH[1:])))
        assert [tuple(b.shape) for b in branches] == 2 * [(batch_size, 2, *PATCH[2:])]


def test_logits_are_not_activated(narrow: DualBranchVNet) -> None:
    for logits in narrow(patch()):
        assert logits.min() < 0 < logits.max()
        assert (logits.sum(dim=1) - 1).abs().max() > 0.1


def test_patches_that_the_stride_divides_keep_their_size(narrow: DualBranchVNet) -> None:
    z, y, x = total_stride(len(NARROW))
    assert narrow.main_logits(patch((1, 1, 2 * z, y, 3 * x))).shape[2:] == (2 * z, y, 3 * x)


@pytest.mark.parametrize("shape", [(24, 32, 64), (16, 48, 64), (16, 32, 80)])
def test_patch_not_divisible_by_the_stride_raises(
    narrow: DualBranchVNet, shape: tuple[int, int, int]
) -> None:
    with pytest.raises(RuntimeError, match=r"[Ss]ize"):
        narrow(patch((1, 1, *shape)))


@pytest.mark.parametrize("branch", [0, 1])
def test_loss_on_either_branch_reaches_the_shared_encoder_and_its_own_decoder(branch: int) -> None:
    torch.manual_seed(2)
    network = DualBranchVNet(widths=(4, 6, 8), dropouts=(0, 0), feature_dropout=0)
    network(patch((1, 1, 4, 8, 8)))[branch].square().mean().backward()
    decoders = (network.main_decoder, network.aux_decoder)
    # biases before an InstanceNorm have a gradient of zero; every weight of the encoder has one
    assert all(
        p.grad is not None and p.grad.abs().max() > 1e-6
        for name, p in network.encoder.named_parameters()
        if name.endswith("weight")
    )
    assert got_gradient(decoders[branch].head) == {True}
    assert got_gradient(decoders[1 - branch]) == {False}


def test_decoders_share_no_tensor_and_start_differently(full: DualBranchVNet) -> None:
    main = dict(full.main_decoder.named_parameters())
    aux = dict(full.aux_decoder.named_parameters())
    assert main.keys() == aux.keys()
    assert {p.data_ptr() for p in main.values()}.isdisjoint(p.data_ptr() for p in aux.values())
    for name, weight in main.items():
        if name.endswith("weight"):
            assert not torch.equal(weight, aux[name]), name


def test_evaluation_is_deterministic_and_main_logits_is_the_main_branch(
    narrow: DualBranchVNet,
) -> None:
    narrow.eval()
    with torch.no_grad():
        main, aux = narrow(patch())
        main_again, aux_again = narrow(patch())
        alone = narrow.main_logits(patch())
    assert torch.equal(main, main_again)
    assert torch.equal(aux, aux_again)
    assert torch.equal(main, alone)
    assert not torch.equal(main, aux)


def test_inference_leaves_the_auxiliary_decoder_alone(narrow: DualBranchVNet) -> None:
    calls: list[str] = []
    narrow.aux_decoder.register_forward_pre_hook(lambda *_: calls.append("aux"))
    narrow.main_logits(patch())
    assert calls == []
    narrow(patch())
    assert calls == ["aux"]


def test_auxiliary_decoder_sees_the_same_features_in_evaluation(narrow: DualBranchVNet) -> None:
    aux, main = seen_by_aux(narrow.eval(), patch())
    assert all(torch.equal(a, m) for a, m in zip(aux, main, strict=True))


def test_auxiliary_decoder_loses_whole_channels_of_every_level_in_training() -> None:
    torch.manual_seed(3)
    network = DualBranchVNet(widths=(64, 64, 64), dropouts=(0, 0)).train()
    aux, main = seen_by_aux(network, patch((2, 1, 4, 8, 8)))
    assert len(aux) == 3  # two skips and the bottleneck
    for dropped, whole in zip(aux, main, strict=True):
        lost = dropped.flatten(2).abs().sum(dim=2) == 0
        expected = torch.where(lost[:, :, None, None, None], torch.zeros(()), 2 * whole)
        torch.testing.assert_close(dropped, expected)  # kept channels are doubled, none is torn
        assert 0.3 < lost.float().mean() < 0.7  # of 128; 0.5 ± 0.044
        assert not torch.equal(lost[0], lost[1])  # drawn for each patch of the batch


def test_main_decoder_loses_no_channel_in_training() -> None:
    network = DualBranchVNet(widths=(16, 16, 16), dropouts=(0, 0)).train()
    _, main = seen_by_aux(network, patch((1, 1, 4, 8, 8)))
    assert all((f.flatten(2).abs().sum(dim=2) > 0).all() for f in main)


def test_element_wise_dropout_of_levels_one_to_five_and_none_below(full: DualBranchVNet) -> None:
    rates = [m.p for m in full.encoder.modules() if type(m) is nn.Dropout]
    assert [r for r in rates if r > 0] == [0.05, 0.1, 0.2, 0.3, 0.5]
    assert [r for r in full.encoder.levels[5].modules() if type(r) is nn.Dropout and r.p > 0] == []
    for decoder in (full.main_decoder, full.aux_decoder):
        assert all(m.p == 0 for m in decoder.modules() if isinstance(m, nn.Dropout))


def test_dropout_lies_between_the_convolutions_and_takes_single_voxels(
    full: DualBranchVNet,
) -> None:
    taken: list[Tensor] = []
    level = full.encoder.levels[4]
    handles = [
        m.register_forward_hook(lambda _m, given, out: taken.extend([given[0], out]))
        for m in level.modules()
        if type(m) is nn.Dropout
    ]
    full.train()
    with torch.no_grad():
        level(torch.randn(1, 128, 4, 8, 8))
    for handle in handles:
        handle.remove()
    before, after = taken
    zero = (after == 0).flatten(2).float().mean(dim=2)
    assert before.shape[1] == after.shape[1] == 256
    assert abs(zero.mean().item() - 0.5) < 0.02
    assert zero.max() < 1  # no channel goes as a whole


def test_training_of_the_main_branch_is_random_and_evaluation_is_not(
    narrow: DualBranchVNet,
) -> None:
    narrow.train()
    with torch.no_grad():
        assert not torch.equal(narrow.main_logits(patch()), narrow.main_logits(patch()))
        narrow.eval()
        assert torch.equal(narrow.main_logits(patch()), narrow.main_logits(patch()))


def test_convolutions_start_kaiming_normal_with_biases_of_zero(full: DualBranchVNet) -> None:
    for conv in convolutions(full):
        assert conv.bias is not None
        assert not conv.bias.any()
        weight = conv.weight
        if weight.numel() >= 4000:
            # fan-in as PyTorch counts it, of transposed convolutions too: size(1) x kernel
            expected = math.sqrt(2 / (weight.shape[1] * weight[0, 0].numel()))
            tolerance = 5 / math.sqrt(2 * weight.numel())
            assert weight.std().item() == pytest.approx(expected, rel=tolerance + 0.001)
            assert abs(weight.mean().item()) < 5 * expected / math.sqrt(weight.numel())
            # a normal distribution: 31.7 % beyond one sd (uniform: 42.3 %)
            assert (weight.abs() > expected).float().mean().item() == pytest.approx(0.317, abs=0.03)


def test_norms_start_at_one_with_a_little_spread(full: DualBranchVNet) -> None:
    norms = [m for m in full.modules() if isinstance(m, nn.InstanceNorm3d)]
    assert len(norms) > 40
    weights = torch.cat([m.weight.detach() for m in norms])
    assert all(m.affine and not m.bias.any() for m in norms)
    assert weights.mean().item() == pytest.approx(1.0, abs=0.002)
    assert weights.std().item() == pytest.approx(0.02, rel=0.1)


def test_decoder_level_is_a_residual_around_the_up_sampled(full: DualBranchVNet) -> None:
    level = full.main_decoder.levels[-1]
    deep, skip = torch.randn(1, 32, 2, 4, 4), torch.randn(1, 16, 2, 8, 8)
    with torch.no_grad():
        up = level.up(deep)
        joined = torch.cat([skip, up], dim=1)  # skip first, so that original weights fit
        convolved = level.block.conv2(level.block.conv1(joined))
        expected = nn.functional.leaky_relu(convolved + up, 0.01)
        torch.testing.assert_close(level(deep, skip), expected)


def test_single_decoder_network_is_the_dual_one_without_its_second_decoder(
    full: DualBranchVNet,
) -> None:
    single = VNet()
    assert not hasattr(single, "aux_decoder")
    ours = {k: v.shape for k, v in single.state_dict().items()}
    dual = full.state_dict()
    assert ours == {k: v.shape for k, v in dual.items() if not k.startswith("aux_decoder.")}


def test_single_decoder_network_gives_one_branch() -> None:
    network = VNet(widths=NARROW).eval()
    with torch.no_grad():
        branches = network(patch())
        assert len(branches) == 1
        assert torch.equal(branches[0], network.main_logits(patch()))


def test_restoration_heads_have_one_channel() -> None:
    network = DualBranchVNet(out_channels=1, widths=(4, 6, 8), dropouts=(0, 0))
    assert [b.shape[1] for b in network(patch((1, 1, 4, 8, 8)))] == [1, 1]
    single = VNet(out_channels=1, widths=(4, 6, 8), dropouts=(0, 0))
    assert single.main_logits(patch((1, 1, 4, 8, 8))).shape[1] == 1


@pytest.mark.parametrize("dropouts", [(0.1,), (0.1, 0.1, 0.1), ()])
def test_one_dropout_rate_for_each_level_but_the_bottleneck(dropouts: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="3 widths need 2 dropout rates"):
        DualBranchVNet(widths=(4, 6, 8), dropouts=dropouts)
