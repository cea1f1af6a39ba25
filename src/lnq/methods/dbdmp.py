"""DBDMP: partial annotations, soft pseudo labels, a consensus-weighted loss (paper, Eqs. 2-11)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from monai.metrics import compute_dice
from pydantic import Field
from torch import Tensor

from lnq.data.patches.batch import Batch
from lnq.errors import RunError
from lnq.inference.sliding_window import Windows
from lnq.losses import (
    ONE_PROCESS,
    Kinds,
    Processes,
    agreement_weight,
    counted_voxels,
    kl_divergence,
    lopsided,
    mix_branches,
    pseudo_terms,
    shared,
    sharpen,
    soft_pseudo_label,
    supervised_terms,
)
from lnq.losses.log_probabilities import Logits
from lnq.losses.pseudo import PseudoTerm
from lnq.losses.supervised import SupervisedTerm
from lnq.methods.method import Method, OptimizerFactory
from lnq.methods.mode import MODES, ModeName
from lnq.methods.pending_step import PendingStep
from lnq.networks import DualBranchVNet, VNet
from lnq.seeding import generator
from lnq.step_log import log_step

Weight = Annotated[float, Field(ge=0)]


class DBDMP(Method):
    """L = Σ_branches L_sup + λ_p [ L_p(main, aux) + L_p(aux, main) ] (Eq. 10).

    Args:
        network: Two output channels per decoder; one decoder without pseudo labels.
        optimizer: Builds the optimiser from the parameters.
        inferer: How whole volumes are predicted in validation.
        supervised: Weight of each term of L_sup (Eq. 5); 0 = not computed.
        pseudo: Weight of each term of L_p: `"klce"` = Eq. 9; `"dice"` = soft Dice with the hard
            pseudo label (rows a and b of Table 1). 0 = not computed; without any there are no
            pseudo labels.
        unknown: What unknown voxels are to L_CE, L_SCE, L_Tversky and L_Dice: `"background"`, as in
            the paper; `"lopsided"`, background the less, the more they look like nodes (see
            `lnq.losses.lopsided`); or `"left_out"`. Of cases that nobody annotated they are left
            out in any case. Only where the mode knows background.
        node_weight: Of annotated voxels in L_CE.
        mode: `"paper"`; `"original"` to reproduce the authors' code; `"recommended"`, which learns
            besides from tissue that cannot be a node (see `lnq.methods.mode`).
        tau: Temperature τ of the sharpening (Eq. 7).
        gamma: γ of the symmetric cross-entropy (Eq. 2).
        alpha: α, the weight of false positives in the Tversky loss (Eq. 4).
        lambda_max: λ of Eq. 11; the `RampUp` callback sets `lambda_p` from it.
        detach_weight: Treat the consensus weight W as a constant.
        seed: Seed of θ (Eq. 6).

    Raises:
        ValueError: Pseudo labels are asked of a network with one decoder, or there is no loss.
    """

    out_channels = 2

    def __init__(
        self,
        network: VNet,
        optimizer: OptimizerFactory,
        inferer: Windows,
        supervised: dict[SupervisedTerm, Weight],
        pseudo: dict[PseudoTerm, Weight],
        mode: ModeName = "paper",
        unknown: Literal["background", "lopsided", "left_out"] = "background",
        node_weight: Weight = 1.0,
        tau: Annotated[float, Field(gt=0)] = 0.3,
        gamma: Annotated[float, Field(ge=0)] = 0.8,
        alpha: Annotated[float, Field(ge=0, le=1)] = 0.4,
        lambda_max: Annotated[float, Field(ge=0)] = 2.0,
        detach_weight: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(network, optimizer)
        self.inferer = inferer
        self.supervised = {name: weight for name, weight in supervised.items() if weight > 0}
        self.pseudo = {name: weight for name, weight in pseudo.items() if weight > 0}
        if self.pseudo and not hasattr(network, "aux_decoder"):
            raise ValueError(
                "pseudo labels need a network with two decoders, or weights of 0 in pseudo"
            )
        if not self.supervised and not self.pseudo:
            raise ValueError("no loss: give a term of supervised or pseudo a weight above 0")
        self.mode = MODES[mode]
        self.knows_background = self.mode.knows_background
        if unknown != "background" and not self.knows_background:
            raise ValueError(
                f"unknown={unknown}: mode={mode} knows no background, and has no unknown voxels; "
                "use mode=recommended"
            )
        if unknown == "lopsided" and not hasattr(network, "aux_decoder"):
            raise ValueError("unknown=lopsided needs a network with two decoders")
        self.unknown = unknown
        self.node_weight = node_weight
        self.tau, self.gamma, self.alpha = tau, gamma, alpha
        self.lambda_max = lambda_max
        self.lambda_p = lambda_max
        self.detach_weight = detach_weight
        self.seed = seed

    def train(self, mode: bool = True) -> Self:
        """Torch's switch between training and evaluation, of which the mode may except a layer."""
        super().train(mode)
        if self.mode.aux_dropout_in_eval and isinstance(self.network, DualBranchVNet):
            self.network.feature_dropout.train()
        return self

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch with `image` and partial `label`, both (b, 1, z, y, x).

        `known_background` and `supervised` are in the batch where the mode asks for them.

        `train/loss` is what is minimised; its parts are logged as they are before `loss_scale`, so
        that they can be compared between modes.
        """
        kinds = self.kinds(batch)
        theta = float(generator(self.seed, "theta", self.global_step).random())
        loss, scalars = self.evaluate_objective(
            self.network(batch["image"]), kinds, theta, float(self.lambda_p)
        )
        ramp: dict[str, Tensor | float] = {"train/lambda_p": self.lambda_p} if self.pseudo else {}
        log_step(self, {"train/loss": loss, **scalars, **ramp}, len(batch["image"]))
        return self.finite(loss, batch)

    def kinds(self, batch: Batch) -> Kinds:
        """What is known of each voxel of a batch, and which voxels count."""
        y, background = batch["label"].float(), batch.get("known_background")
        if background is None:
            return Kinds(y)
        counted = counted_voxels(
            y, background, batch["supervised"], unknown=self.unknown != "left_out"
        )
        return Kinds(y, background, counted)

    def objective(
        self,
        branches: tuple[Tensor, ...],
        kinds: Kinds,
        theta: float | Tensor,
        lambda_p: float | Tensor,
        processes: Processes = ONE_PROCESS,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Eq. 10 times `loss_scale`, and its parts before it.

        Args:
            branches: Logits (b, 2, z, y, x) of each.
            kinds: What is known of each voxel.
            theta: θ of Eq. 6.
            lambda_p: λ_p of Eq. 11.
            processes: Where the batch lies.
        """
        given = [shared(logits) for logits in branches]
        counted = kinds
        if self.unknown == "lopsided":
            counted = lopsided(kinds, mix_branches(given[0], given[1], theta))
        loss, scalars = self.supervised_loss(given, counted, processes)
        if self.pseudo:
            pseudo, terms = self.pseudo_loss(given[0], given[1], kinds, theta, processes)
            loss = loss + lambda_p * pseudo
            scalars |= terms
        return self.mode.loss_scale * loss, scalars

    def supervised_loss(
        self, branches: Sequence[Logits], kinds: Kinds, processes: Processes = ONE_PROCESS
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Σ_branches L_sup (Eqs. 5 and 10), and each term summed over the branches for the log."""
        terms = [
            supervised_terms(
                logits, kinds.annotated, self.supervised, gamma=self.gamma, alpha=self.alpha,
                mean_over_classes=self.mode.mean_over_classes, nan_if_empty=self.mode.nan_if_empty,
                known_background=kinds.background, counted=kinds.counted,
                node_weight=self.node_weight, processes=processes,
            )
            for logits in branches
        ]  # fmt: skip
        zero = kinds.annotated.new_zeros(())
        by_name = {name: sum((t[name] for t in terms), zero) for name in self.supervised}
        loss = sum((self.supervised[name] * value for name, value in by_name.items()), zero)
        return loss, {
            "train/loss_sup": loss,
            **{f"train/{name}": value for name, value in by_name.items()},
        }

    def pseudo_loss(
        self,
        main: Logits,
        aux: Logits,
        kinds: Kinds,
        theta: float | Tensor,
        processes: Processes = ONE_PROCESS,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_p(main, aux) + L_p(aux, main) (Eqs. 6-10), and each of its terms for the log."""
        target = self.pseudo_label(main, aux, kinds, theta)
        by_name = pseudo_terms(
            main, aux, target, self.pseudo, detach_weight=self.detach_weight,
            kl_apart=self.mode.kl_apart, truncate_target=self.mode.truncate_target,
            processes=processes,
        )  # fmt: skip
        loss = sum(
            (self.pseudo[name] * value for name, value in by_name.items()),
            kinds.annotated.new_zeros(()),
        )
        return loss, {
            "train/loss_pseudo": loss,
            **{f"train/pseudo_{name}": value for name, value in by_name.items()},
        }

    def pseudo_label(
        self,
        main: Logits,
        aux: Logits,
        kinds: Kinds,
        theta: float | Tensor,
    ) -> Tensor:
        """ŷ of both branches' mixture, sharpened (Eqs. 6 and 7); (b, 2, z, y, x)."""
        mixed = mix_branches(main, aux, theta)
        sharpened = sharpen(mixed, self.tau)
        return soft_pseudo_label(kinds.annotated, sharpened, kinds.background)

    def _require_finite(self, loss: float, step: PendingStep) -> None:
        """A batch that `mode=original` has no finite loss for is told from other causes."""
        undefined = self.mode.nan_if_empty and "pce" in self.supervised
        if undefined and not math.isfinite(loss) and not step.batch["label"].any():
            raise RunError(
                f"the loss is NaN at step {step.number}",
                where=f"cases {', '.join(step.batch['case_id'])}",
                why="no voxel of this batch is annotated, and method.mode=original divides L_PCE "
                "by their number, as the authors' code does",
                remedy="set method.mode=paper, or datamodule.foreground_share so high that each "
                "batch holds an annotated node; leave out cases without any",
            )
        super()._require_finite(loss, step)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Logs `val/dice` of the main decoder on a whole, completely annotated volume."""
        logits = self.inferer(batch["image"], self.network.main_logits)
        predicted = logits.argmax(dim=1, keepdim=True)
        dice = compute_dice(predicted, batch["label"], include_background=True, ignore_empty=False)
        defined = (predicted + batch["label"]).flatten(1).any(dim=1)  # else neither holds a node
        if defined.any():
            self.log("val/dice", dice[defined].mean(), batch_size=int(defined.sum()))

    def pictures(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Scan; annotation, probability of each branch, pseudo label ŷ for θ = 1/2, weight W."""
        kinds = self.kinds(batch)
        branches = self.network(batch["image"])
        fractions = {"annotation": kinds.annotated}
        for name, logits in zip(("main", "aux"), branches, strict=False):
            fractions[name] = logits.float().softmax(dim=1)[:, 1:]
        if self.pseudo:
            pseudo_label = self.pseudo_label(branches[0], branches[1], kinds, 0.5)
            fractions["pseudo_label"] = pseudo_label[:, 1:]
            fractions["weight"] = agreement_weight(kl_divergence(branches[0], branches[1]))
        return {"scan": batch["image"]}, fractions
