"""DBDMP: partial annotations, soft pseudo labels, a consensus-weighted loss (paper, Eqs. 2-11)."""

from __future__ import annotations

from typing import Annotated, Literal

from monai.inferers import Inferer
from monai.metrics import compute_dice
from pydantic import Field
from torch import Tensor

from lnq.losses import consensus_loss, mix_branches, sharpen, soft_pseudo_label, supervised_terms
from lnq.losses.supervised import SupervisedTerm
from lnq.methods.base import Batch, Method, OptimizerFactory
from lnq.networks import VNet
from lnq.seeding import generator

Weight = Annotated[float, Field(ge=0)]


class DBDMP(Method):
    """L = Σ_branches L_sup + λ_p [ L_p(main, aux) + L_p(aux, main) ] (Eq. 10).

    Args:
        network: Two output channels per decoder; one decoder where `pseudo` is None.
        optimizer: Builds the optimiser from the parameters.
        inferer: How whole volumes are predicted in validation.
        supervised: Weight of each term of L_sup (Eq. 5); 0 = not computed.
        pseudo: `"klce"` = Eq. 9; None = no pseudo labels.
        tau: Temperature τ of the sharpening (Eq. 7).
        gamma: γ of the symmetric cross-entropy (Eq. 2).
        alpha: α, the weight of false positives in the Tversky loss (Eq. 4).
        lambda_max: λ of Eq. 11; the `RampUp` callback sets `lambda_p` from it.
        detach_weight: Treat the consensus weight W as a constant.
        seed: Seed of θ (Eq. 6).

    Raises:
        ValueError: Pseudo labels are asked of a network with one decoder.
    """

    out_channels = 2

    def __init__(
        self,
        network: VNet,
        optimizer: OptimizerFactory,
        inferer: Inferer,
        supervised: dict[SupervisedTerm, Weight],
        pseudo: Literal["klce"] | None = "klce",
        tau: Annotated[float, Field(gt=0)] = 0.3,
        gamma: Annotated[float, Field(ge=0)] = 0.8,
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.4,
        lambda_max: Annotated[float, Field(ge=0)] = 2.0,
        detach_weight: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(network, optimizer)
        if pseudo is not None and not hasattr(network, "aux_decoder"):
            raise ValueError("pseudo labels need a network with two decoders, or pseudo=null")
        self.inferer = inferer
        self.supervised = {name: weight for name, weight in supervised.items() if weight > 0}
        self.pseudo = pseudo
        self.tau, self.gamma, self.alpha = tau, gamma, alpha
        self.lambda_max = lambda_max
        self.lambda_p = lambda_max
        self.detach_weight = detach_weight
        self.seed = seed

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch with `image` and partial `label`, both (b, 1, z, y, x)."""
        y = batch["label"].float()
        branches = self.network(batch["image"])
        loss, scalars = self.supervised_loss(branches, y)
        if self.pseudo is not None:
            pseudo = self.pseudo_loss(branches[0], branches[1], y)
            loss = loss + self.lambda_p * pseudo
            scalars |= {"train/loss_pseudo": pseudo, "train/lambda_p": self.lambda_p}
        self.log_scalars({"train/loss": loss, **scalars}, len(y))
        return self.finite(loss, batch)

    def supervised_loss(
        self, branches: tuple[Tensor, ...], y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor | float]]:
        """Σ_branches L_sup (Eqs. 5 and 10), and each term summed over the branches for the log."""
        terms = [
            supervised_terms(logits, y, self.supervised, gamma=self.gamma, alpha=self.alpha)
            for logits in branches
        ]
        zero = y.new_zeros(())
        by_name = {name: sum((t[name] for t in terms), zero) for name in self.supervised}
        loss = sum((self.supervised[name] * value for name, value in by_name.items()), zero)
        return loss, {
            "train/loss_sup": loss,
            **{f"train/{name}": value for name, value in by_name.items()},
        }

    def pseudo_loss(self, main: Tensor, aux: Tensor, y: Tensor) -> Tensor:
        """L_p(main, aux) + L_p(aux, main) with a pseudo label of this iteration's θ (Eqs. 6-10)."""
        theta = float(generator(self.seed, "theta", self.global_step).random())
        target = soft_pseudo_label(y, sharpen(mix_branches(main, aux, theta), self.tau))
        return consensus_loss(main, aux, target, detach_weight=self.detach_weight) + consensus_loss(
            aux, main, target, detach_weight=self.detach_weight
        )

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs `val/dice` of the main decoder on a whole, completely annotated volume."""
        logits = self.inferer(batch["image"], self.network.main_logits)
        predicted = logits.argmax(dim=1, keepdim=True)
        dice = compute_dice(predicted, batch["label"], include_background=True, ignore_empty=False)
        defined = (predicted + batch["label"]).flatten(1).any(dim=1)  # else neither holds a node
        if defined.any():
            self.log("val/dice", dice[defined].mean(), batch_size=int(defined.sum()))
