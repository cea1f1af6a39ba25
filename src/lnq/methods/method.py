"""What both stages of training share: network, optimiser, and a loss that must be finite."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from lnq.data.patches.batch import Batch
from lnq.errors import RunError
from lnq.networks import VNet

OptimizerFactory = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


class Method(pl.LightningModule):
    """Base of the stages; not used by itself.

    Args:
        network: `forward(x)` gives one logits tensor per decoder, the main one first.
        optimizer: Builds the optimiser from the parameters.

    Raises:
        ValueError: The network's heads have another number of channels than the method needs.
    """

    out_channels: int
    next_commands: tuple[str, ...]
    """What to do with a run of this method, `{run}` being its folder."""
    restores: bool = False
    """Whether it learns `target`, the patch before `GenesisCorruption` corrupted it."""
    known_background_hu: tuple[float, float] | None = None
    """Asks for `known_background` in the batches; see `lnq.data.patches.queue.PatchDataset`."""

    def __init__(self, network: VNet, optimizer: OptimizerFactory) -> None:
        super().__init__()
        if network.out_channels != self.out_channels:
            raise ValueError(
                f"{type(self).__name__} needs network.out_channels={self.out_channels}, "
                f"not {network.out_channels}"
            )
        self.network = network
        self.optimizer = optimizer

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The optimiser; its rate is set by the `PolynomialLR` callback."""
        return self.optimizer(self.parameters())

    def pictures(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """What there is to see of a batch, by title; called in evaluation, without gradient.

        Returns:
            Volumes on the scan's scale, and volumes of values in [0, 1]; all (b, 1, z, y, x).
        """
        raise NotImplementedError

    def finite(self, loss: Tensor, batch: Batch) -> Tensor:
        """`loss`, unless it is NaN or infinite: then training stops before it reaches the weights.

        Raises:
            RunError: The loss is not finite; names the step and the cases of the batch.
        """
        if not torch.isfinite(loss):
            raise RunError(
                f"the loss is {loss.item()} at step {self.global_step}",
                where=f"cases {', '.join(batch['case_id'])}",
                why="the weights diverged or the images hold values that are not finite",
                remedy="look at those cases with lnq.doctor, lower optimizer.lr, or train in "
                "trainer.precision=32; the last checkpoint is from before this step",
            )
        return loss

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Stops training before gradients that are not finite reach the weights.

        Under 16-mixed the gradient scaler does so by itself: it skips the step and halves its
        scale. That is part of it as long as it ends.

        Raises:
            RunError: The gradients' norm is NaN or infinite; under 16-mixed, still so when nothing
                is scaled any more.
        """
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None:
            if scaler.get_scale() < 1:
                raise RunError(
                    f"the gradients are not finite in half precision, step after step up to step "
                    f"{self.global_step}",
                    why="they overflow although the loss is not scaled up any more",
                    remedy="train in trainer.precision=bf16-mixed or 32, or lower optimizer.lr",
                )
            return
        gradients = [p.grad for p in self.parameters() if p.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if not torch.isfinite(norm):
            raise RunError(
                f"the gradient's norm is {norm.item()} at step {self.global_step}",
                why="the loss is finite, its slope is not",
                remedy="lower optimizer.lr, or train in trainer.precision=32; the last checkpoint "
                "is from before this step",
            )

    def log_scalars(self, values: dict[str, Tensor | float], batch_size: int) -> None:
        """Logs each value of a step under its name."""
        self.log_dict(values, on_step=True, on_epoch=False, batch_size=batch_size)
