"""From a checkpoint, which is data, to a network that is ready for scans."""

from __future__ import annotations

from typing import Literal

import torch

from lnq.acceleration import Acceleration, Precision, windows_at_a_time
from lnq.construction import construct, instantiate
from lnq.data.store.preprocessing import Preprocessing
from lnq.errors import UsageError
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Predictor, choose_device
from lnq.inference.sliding_window import SlidingWindow, check_channels
from lnq.networks import DualBranchVNet, VNet
from lnq.networks.transfer import Checkpoint


def load_predictor(
    checkpoint: Checkpoint,
    post_processing: PostProcessing,
    device: str,
    *,
    overlap: float,
    mirror: bool,
    batch_size: int | Literal["auto"],
    disagreement: bool,
    precision: Literal["auto"] | Precision,
) -> Predictor:
    """The network of a checkpoint, ready for scans.

    Args:
        checkpoint: The network, its patch and its preprocessing.
        post_processing: What is removed from masks.
        device: As for `choose_device`.
        overlap: Of neighbouring windows, in [0, 1).
        mirror: Average over all flips.
        batch_size: Windows at a time; `auto` = as many as are fast on the device.
        disagreement: Also evaluate the auxiliary decoder.
        precision: Of the network; `auto` = half on a GPU, 32 on a CPU.

    Raises:
        UsageError: The network segments nothing, does not fit its weights or has one decoder too
            few, an option is out of its range, or there is no such GPU.
    """
    chosen = choose_device(device)
    if batch_size == "auto":
        batch_size = windows_at_a_time(chosen, checkpoint.patch_size)
    cut = {"patch_size": checkpoint.patch_size, "overlap": overlap, "batch_size": batch_size}
    windows = construct(SlidingWindow, cut)
    network = load_network(checkpoint)
    if disagreement and not isinstance(network, DualBranchVNet):
        raise UsageError(
            "disagreement=true needs a network of two decoders", where=checkpoint.path,
            why=f"it is a {type(network).__name__}", remedy="leave it out",
        )  # fmt: skip
    network.to(chosen)
    return Predictor(
        network.main_logits,
        Preprocessing.from_dict(checkpoint.preprocessing, checkpoint.path),
        windows,
        post_processing,
        mirror=mirror,
        device=chosen,
        precision=Acceleration(precision).on(chosen.type, steps=0).precision,
        both_logits=network if disagreement else None,
    )


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
