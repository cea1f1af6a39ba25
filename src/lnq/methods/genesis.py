"""Model Genesis pre-training: restore a corrupted patch with both decoders (paper, Eq. 1)."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from lnq.data.patches.batch import Batch
from lnq.losses import ONE_PROCESS, Processes
from lnq.methods.method import Method
from lnq.step_log import log_step


class Genesis(Method):
    """L_rec = MSE(main, x) + MSE(aux, x), x the patch before its corruption (Eq. 1).

    Args:
        network: One output channel per decoder.
        optimizer: Builds the optimiser from the parameters.
    """

    out_channels = 1
    restores = True

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss of a batch with `image` (corrupted) and `target`, both (b, 1, z, y, x)."""
        loss, scalars = self.evaluate_objective(self.network(batch["image"]), batch["target"])
        log_step(self, {"train/loss": loss, **scalars}, len(batch["image"]))
        return self.finite(loss, batch)

    def objective(
        self,
        restored: tuple[Tensor, ...],
        target: Tensor,
        processes: Processes = ONE_PROCESS,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The sum of the branches' errors, and each of them; tensors of one shape."""
        errors = [processes.mean(functional.mse_loss(r.float(), target)) for r in restored]
        return sum(errors[1:], errors[0]), dict(
            zip(("train/mse_main", "train/mse_aux"), errors, strict=False)
        )

    def pictures(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The corrupted patch, what each decoder makes of it, and what it was."""
        restored = zip(("main", "aux"), self.network(batch["image"]), strict=False)
        return {"corrupted": batch["image"], **dict(restored), "original": batch["target"]}, {}
