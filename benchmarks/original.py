"""The authors' network and losses, of a checkout of their code, which nothing is copied from.

Their package is nnU-Net with files of their own, installed from `nnUNet/` of the checkout. Of it
only modules are imported that need torch and numpy alone; their trainer needs much else, so that
what its step does with them is repeated here.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from plain import plain_loss
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from lnq.networks import DualBranchVNet

Loss = Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]
"""Of logits of both branches, the annotation, θ and λ_p."""
NETWORK = "nnunetv2.training.VNetv2"
LOSSES = "nnunetv2.training.loss"
NEEDED = (NETWORK, *(f"{LOSSES}.{name}" for name in (
    "compound_losses", "Program_loss", "robust_ce_loss")))  # fmt: skip


@dataclass(frozen=True)
class Reference:
    """What our steps are held against.

    Attributes:
        name: The checkout, or that it is the stand-in.
        network: On the device, for training; logits of two branches.
        loss: What is minimised.
        half: Whether the loss is computed in half precision where the network is.
    """

    name: str
    network: nn.Module
    loss: Loss
    half: bool


def reference(checkout: Path | None, network: Mapping[str, Any], device: torch.device) -> Reference:
    """The authors' code where there is a checkout of it, else the plain stand-in.

    Args:
        checkout: Folder of their code.
        network: Widths and dropouts of the stand-in; theirs are fixed, and the paper's.
        device: Where to.
    """
    if checkout is None:
        stand_in = DualBranchVNet(**network).to(device)
        return Reference("the stand-in, benchmarks/plain.py", stand_in, plain_loss, half=False)
    with _importable(checkout), _OnThisDevice(device):
        modules = {name: importlib.import_module(name) for name in NEEDED}
        theirs = modules[NETWORK].VNet_CCT_dropout_3D(in_channels=1, n_classes=2).to(device)
        return Reference(str(checkout), theirs, _loss(modules), half=True)


def _loss(modules: Mapping[str, Any]) -> Loss:
    compound, program, robust = (modules[name] for name in NEEDED[1:])
    tversky = {"batch_dice": True, "alpha": 0.4, "beta": 0.6, "smooth": 1e-5, "do_bg": False,
               "ddp": False}  # fmt: skip
    marked = compound.Tversky_and_SCE_loss(tversky, {"alpha": 0.8, "beta": 1.0})
    annotated, consensus = robust.RobustCrossEntropyLoss(ignore_index=0), program.KL_CE_loss()

    def loss(main: Tensor, aux: Tensor, y: Tensor, theta: Tensor, lambda_p: Tensor) -> Tensor:
        supervised = sum(marked(x, y) + annotated(x, y) for x in (main, aux))
        p, q = (torch.softmax(x, dim=1).detach() for x in (main, aux))
        label = torch.softmax((theta * p + (1 - theta) * q) / 0.3, dim=1)
        node = y[:, 0] == 1
        label[:, 0][node], label[:, 1][node] = 1e-4, 1 - 1e-4
        pseudo = consensus(main, aux, label) + consensus(aux, main, label)
        # Theirs are 0.25 and 0.5 times a weight that rises to 1, where λ_p rises to 2.
        total: Tensor = 0.25 * supervised + 0.25 * lambda_p * pseudo
        return total

    return loss


def require_checkout(checkout: Path) -> Path:
    """The folder of a checkout that holds the package.

    Raises:
        SystemExit: A module is missing.
    """
    roots = [root for root in (checkout / "nnUNet", checkout) if (root / "nnunetv2").is_dir()]
    files = [f"{name.replace('.', '/')}.py" for name in NEEDED]
    missing = [file for file in files if not roots or not (roots[0] / file).is_file()]
    if missing:
        sys.exit(
            f"error: no checkout of the authors' code [{checkout}]: {', '.join(missing)} missing. "
            "Give ORIGINAL=DIR such that DIR/nnUNet or DIR holds nnunetv2, nnU-Net's own files "
            "included"
        )
    return roots[0]


@contextlib.contextmanager
def _importable(checkout: Path) -> Iterator[None]:
    root = str(require_checkout(checkout))
    sys.path.insert(0, root)
    try:
        yield
    finally:
        sys.path.remove(root)


class _OnThisDevice(TorchFunctionMode):
    """Their losses put class weights on a GPU, whether there is one or not."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        self.device = device

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        given = args[1] if len(args) > 1 else None
        if function is torch.Tensor.to and isinstance(given, str) and given.startswith("cuda"):
            args = (args[0], self.device, *args[2:])
        if function is torch.Tensor.cuda:
            function, args = torch.Tensor.to, (args[0], self.device)
        return function(*args, **(kwargs or {}))
