"""What both stages of training share: network, optimiser, and a loss that must be finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lnq.data.patches.batch import Batch
from lnq.errors import RunError
from lnq.losses import ONE_PROCESS, AllProcesses, Processes
from lnq.methods.pending_step import PendingStep
from lnq.networks import VNet

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]

_BEFORE = "the last checkpoint has the weights from before this step"


class Method(pl.LightningModule):
    """Base of the stages; not used by itself.

    Args:
        network: `forward(x)` gives one logits tensor per decoder, the main one first.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        ValueError: The network's heads have another number of channels than the method needs.
    """

    out_channels: int
    restores: bool = False
    """Whether it learns `target`, the patch before `GenesisCorruption` corrupted it."""
    knows_background: bool = False
    """Asks for `known_background` in the batches; see `lnq.data.patches.known`."""

    def __init__(self, network: VNet, optimizer: OptimizerFactory) -> None:
        super().__init__()
        if network.out_channels != self.out_channels:
            raise ValueError(
                f"{type(self).__name__} needs network.out_channels={self.out_channels}, "
                f"not {network.out_channels}"
            )
        self.network = network
        self.optimizer = optimizer
        self._compiled: Callable[..., tuple[Tensor, dict[str, Tensor]]] | None = None
        self._pending: PendingStep | None = None
        self._stopped: Tensor | None = None

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; its rate is set by the `PolynomialLR` callback."""
        return self.optimizer(self.parameters())

    def pictures(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What there is to see of a batch, by title; called in evaluation, without gradient.

        Returns:
            Volumes on the scan's scale, and volumes of values in [0, 1]; all (b, 1, z, y, x).
        """
        raise NotImplementedError

    def compile(self, *given: Any, **named: Any) -> None:
        """Compiles network and objective; the module itself, which logs, cannot be.

        Weights keep their names.

        Args:
            *given: As for `torch.compile`.
            **named: As for `torch.compile`.
        """
        self.network.compile(*given, **named)
        self._compiled = torch.compile(self.objective, *given, **named)

    def objective(self, *given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """What is minimised, and what is logged of it: a function of its arguments alone.

        The last of these tells where the batch lies, `OneProcess` by default.
        """
        raise NotImplementedError

    def evaluate_objective(self, *given: Any) -> tuple[Tensor, dict[str, Tensor]]:
        """`objective` of a step of training, compiled if `compile` was called.

        Numbers that change from step to step are then handed over as tensors: any other would be
        compiled anew.
        """
        processes = self._processes()
        if self._compiled is None:
            return self.objective(*given, processes)
        return self._compiled(
            *(self._on_device(x) if isinstance(x, float) else x for x in given), processes
        )

    def _processes(self) -> Processes:
        """Where the batches of training lie; those of validation and panels lie in one each."""
        several = self._trainer is not None and self.trainer.world_size > 1
        return AllProcesses(self.trainer.world_size) if several else ONE_PROCESS

    def _on_device(self, number: float) -> Tensor:
        tensor = torch.tensor(number, pin_memory=self.device.type == "cuda")
        return tensor.to(self.device, non_blocking=True)

    def on_train_start(self) -> None:
        """Fused optimisers go on as such also from a checkpoint of one that was not, and reverse.

        PyTorch's fused SGD leaves its momentum unset where the first step is left out; zeros are
        what it would begin with.
        """
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["fused"] = optimizer.defaults.get("fused")
                if group["fused"] and group.get("momentum"):
                    for parameter in group["params"]:
                        zeros = torch.zeros_like(parameter)
                        optimizer.state[parameter].setdefault("momentum_buffer", zeros)

    def finite(self, loss: Tensor, batch: Batch) -> Tensor:
        """`loss`, which must be finite: training stops before any other reaches the weights.

        A fused optimiser leaves out a step by itself, so that nobody waits for the device: the loss
        is read while the next step is under way, and until then makes all gradients NaN.

        Raises:
            RunError: The loss of this step, or of the one before it, is not finite; names the step
                and the cases of its batch.
        """
        self.settle()
        self._pending = PendingStep(self.global_step, batch, loss.detach())
        if not self._leaves_out():
            self._require_finite(loss.item(), self._pending)
            return loss
        return loss * torch.where(loss.detach().isfinite(), 1.0, torch.nan)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Takes the gradients' norm once, for clipping and for the check that it is finite.

        Under 16-mixed the gradient scaler leaves out steps that are not finite by itself and
        halves its scale. That is part of it as long as it ends.

        Raises:
            RunError: The norm is NaN or infinite; under 16-mixed, still so when nothing is scaled
                any more. Of a fused optimiser this is told one step later.
        """
        leaves_out, scaler = self._leaves_out(), self._scaler()
        if leaves_out and scaler is not None:
            scaler.unscale_(optimizer)  # for any other optimiser Lightning has done so
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self._pending is not None:
            self._pending.send(norm)
        if not leaves_out:
            self.settle()
        elif scaler is None:  # which would set it itself
            overflow = ~norm.isfinite()
            self._stopped = overflow if self._stopped is None else self._stopped | overflow
            optimizer.found_inf = self._stopped.float()  # type: ignore[attr-defined]
        if gradient_clip_val and gradient_clip_algorithm == "value":
            nn.utils.clip_grad_value_(parameters, gradient_clip_val)
        elif gradient_clip_val:
            nn.utils.clip_grads_with_norm_(parameters, gradient_clip_val, norm)

    def on_train_epoch_end(self) -> None:
        """Before a checkpoint is written, the last step is known to be finite."""
        self.settle()

    def settle(self) -> None:
        """Reads what the last step is still owed.

        Raises:
            RunError: Its loss or gradients were not finite.
        """
        pending, self._pending = self._pending, None
        values = None if pending is None else pending.read()
        if pending is None or values is None:
            return
        loss, norm = values
        self._require_finite(loss, pending)
        if math.isfinite(norm):
            return
        scaler = self._scaler()
        if scaler is None:
            raise RunError(
                f"the gradient's norm is {norm} at step {pending.number}",
                where=f"cases {', '.join(pending.batch['case_id'])}",
                why="the loss is finite, its slope is not",
                remedy=f"lower optimizer.lr, or train in acceleration.precision=32; {_BEFORE}",
            )
        if scaler.get_scale() < 1:
            raise RunError(
                "the gradients are not finite in half precision, step after step up to step "
                f"{pending.number}",
                why="they overflow although the loss is not scaled up any more",
                remedy="train in acceleration.precision=bf16-mixed or 32, or lower optimizer.lr",
            )

    def _require_finite(self, loss: float, step: PendingStep) -> None:
        """Raises what `step` ends with if its `loss` is not finite."""
        if not math.isfinite(loss):
            raise RunError(
                f"the loss is {loss} at step {step.number}",
                where=f"cases {', '.join(step.batch['case_id'])}",
                why="the weights diverged or the images hold values that are not finite",
                remedy="look at those cases with lnq.doctor, lower optimizer.lr, or train in "
                f"acceleration.precision=32; {_BEFORE}",
            )

    def _leaves_out(self) -> bool:
        """Whether the optimiser is fused."""
        if self._trainer is None:
            return False
        return any(optimizer.defaults.get("fused") for optimizer in self.trainer.optimizers)

    def _scaler(self) -> torch.amp.GradScaler | None:
        return getattr(self.trainer.precision_plugin, "scaler", None)
