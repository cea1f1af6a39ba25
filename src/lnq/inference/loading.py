"""From checkpoints, which are data, to networks that are ready for scans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from lnq.acceleration import Acceleration, Precision, choose_device, windows_at_a_time
from lnq.construction import construct, instantiate
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.errors import UsageError
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Predictor
from lnq.inference.sliding_window import Branches, SlidingWindow, check_channels
from lnq.networks import DualBranchVNet, VNet
from lnq.networks.transfer import Checkpoint


def load_predictor(
    checkpoints: Sequence[Checkpoint],
    post_processing: PostProcessing,
    device: str,
    *,
    overlap: float,
    mirror: bool,
    batch_size: int | Literal["auto"],
    disagreement: bool,
    precision: Literal["auto"] | Precision,
    threshold: float = 0.5,
) -> Predictor:
    """The networks of one or more checkpoints, ready for scans.

    Args:
        checkpoints: The networks; their patches and preprocessing are the same.
        post_processing: What is removed from masks.
        device: As for `choose_device`.
        overlap: Of neighbouring windows, in [0, 1).
        mirror: Average over all flips.
        batch_size: Windows at a time; `auto` = as many as are fast on the device.
        disagreement: Also evaluate the auxiliary decoders.
        precision: Of the networks; `auto` = half on a GPU, 32 on a CPU.
        threshold: Voxels whose probability is above it are nodes.

    Raises:
        UsageError: A network segments nothing, does not fit its weights or has one decoder too few,
            checkpoints differ in patch or preprocessing or are the same, an option is out of its
            range, or there is no such GPU.
    """
    chosen = choose_device(device)
    require_ensemble(checkpoints)
    patch_size = checkpoints[0].patch_size
    if batch_size == "auto":
        batch_size = windows_at_a_time(chosen, patch_size)
    cut = {"patch_size": patch_size, "overlap": overlap, "batch_size": batch_size}
    windows = construct(SlidingWindow, cut)
    return Predictor(
        [_branches(one, chosen, disagreement) for one in checkpoints],
        _preprocessing(checkpoints[0]),
        windows,
        post_processing,
        threshold=threshold,
        mirror=mirror,
        device=chosen,
        precision=Acceleration(precision).on(chosen.type, steps=0).precision,
    )


def require_ensemble(checkpoints: Sequence[Checkpoint]) -> None:
    """Refuses checkpoints whose probabilities have no mean: they must see a scan in the same way.

    Raises:
        UsageError: There is none, one is there twice, or they differ in patch or preprocessing.
    """
    if not checkpoints:
        raise UsageError("no checkpoint", remedy="give one, or several")
    (content, times), *_ = Counter(one.sha256 for one in checkpoints).most_common(1)
    if times > 1:
        same = [str(one.path) for one in checkpoints if one.sha256 == content]
        raise UsageError(
            "a checkpoint is given twice", where=same[0], why=f"{same[1]} has the same content",
            remedy="give each once",
        )  # fmt: skip
    first, *others = checkpoints
    expected = _way_of_seeing(first)
    for other in others:
        seen = _way_of_seeing(other)
        differing = [key for key in expected if seen[key] != expected[key]]
        if differing:
            raise UsageError(
                "checkpoints that see a scan differently cannot be averaged", where=other.path,
                why=", ".join(f"{k}={seen[k]} instead of {expected[k]}" for k in differing)
                + f" as in {first.path}",
                remedy="predict with each of them by itself",
            )  # fmt: skip


def _way_of_seeing(checkpoint: Checkpoint) -> dict[str, Any]:
    return {"patch_size": list(checkpoint.patch_size), **_preprocessing(checkpoint).as_dict()}


def _preprocessing(checkpoint: Checkpoint) -> Preprocessing:
    return Preprocessing.from_dict(checkpoint.preprocessing, checkpoint.path)


def _branches(checkpoint: Checkpoint, device: torch.device, disagreement: bool) -> Branches:
    """The branches of a checkpoint's network that are needed, on the device."""
    network = load_network(checkpoint)
    if disagreement and not isinstance(network, DualBranchVNet):
        raise UsageError(
            "disagreement=true needs a network of two decoders", where=checkpoint.path,
            why=f"it is a {type(network).__name__}", remedy="leave it out",
        )  # fmt: skip
    network.to(device)
    return network if disagreement else partial(_main_branch, network)


def _main_branch(network: VNet, x: Tensor) -> tuple[Tensor]:
    return (network.main_logits(x),)


def load_network(checkpoint: Checkpoint) -> VNet:
    """The trained network of a checkpoint, in evaluation mode on the CPU.

    Raises:
        UsageError: It segments nothing, or does not fit its weights.
    """
    # Sizes may be a stranger's; memory is taken by the weights alone, which are there already.
    with torch.device("meta"):
        network = instantiate(checkpoint.network)
    if not isinstance(network, VNet):
        raise UsageError(
            "this checkpoint's network segments nothing", where=checkpoint.path,
            why=f"it is a {type(network).__name__}", remedy="give a run of lnq.train",
        )  # fmt: skip
    check_channels(network.out_channels)
    try:
        weights = {name: value.float() for name, value in checkpoint.state.items()}
        network.load_state_dict(weights, assign=True)
    except RuntimeError as error:
        raise UsageError(
            "the weights do not fit the checkpoint's own network", where=checkpoint.path,
            why=str(error).strip().splitlines()[-1].strip(), remedy="use another checkpoint",
        ) from error  # fmt: skip
    return network.eval()
