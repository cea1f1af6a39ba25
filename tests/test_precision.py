"""Training in 32, bf16-mixed and 16-mixed: finite, clipped as configured, on schedule."""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from monai.inferers import SimpleInferer
from pytorch_lightning.plugins.precision import MixedPrecision
from support.runs import TINY
from torch import Tensor, nn
from torch.utils.data import DataLoader

from lnq import losses
from lnq.callbacks import StepSeed
from lnq.config import command
from lnq.errors import RunError
from lnq.methods import DBDMP, Genesis
from lnq.networks import DualBranchVNet
from lnq.schedules import polynomial_decay, ramp_up
from lnq.train import GIVEN, TrainConfig

PRECISIONS = ["32", "bf16-mixed", "16-mixed"]
METHODS = ["paper", "original", "genesis"]
SHAPE = (2, 1, 4, 8, 8)

Train = Callable[..., int]


class Outputs(nn.Module):
    """Gives one number per branch and voxel, its parameters, whatever it is given."""

    out_channels = 1

    def __init__(self, value: float) -> None:
        super().__init__()
        self.main = nn.Parameter(torch.full((1, 1, 1, 1, 1), value))
        self.aux = nn.Parameter(torch.full((1, 1, 1, 1, 1), value))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.main, self.aux


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01, momentum=0.9, nesterov=True)


def plain_sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=1.0)


def method_of(name: str) -> DBDMP | Genesis:
    torch.manual_seed(0)
    if name == "genesis":
        return Genesis(DualBranchVNet(widths=(2, 4), dropouts=(0.1,), out_channels=1), sgd)
    network = DualBranchVNet(widths=(2, 4), dropouts=(0.1,))
    terms = {"sce": 1.0, "pce": 1.0, "tversky": 1.0}
    return DBDMP(network, sgd, SimpleInferer(), terms, {"klce": 1.0}, mode=name)


def batch(shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(shape, generator=generator)
    label = (image > 1).to(torch.uint8)
    return {"image": image, "label": label, "target": image, "case_id": ["a"] * len(image)}


def trainer_of(precision: str, steps: int, scale: float = 2.0**10, **more: Any) -> pl.Trainer:
    """On a CPU Lightning replaces 16-mixed by bf16-mixed, unless it is given as a plugin."""
    chosen: dict[str, Any] = {"precision": precision}
    if precision == "16-mixed":
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        chosen = {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}
    return pl.Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, accelerator="cpu", gradient_clip_val=12, **chosen, **more,
    )  # fmt: skip


def fitted(trainer: pl.Trainer, method: pl.LightningModule, given: dict[str, Any]) -> None:
    trainer.fit(method, DataLoader([given] * trainer.max_steps, batch_size=None))


def weights(method: pl.LightningModule) -> list[Tensor]:
    return [p.detach().clone() for p in method.parameters()]


@pytest.mark.training
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", METHODS)
def test_three_steps_are_finite_and_change_every_kind_of_weight(name: str, precision: str) -> None:
    method, seen = method_of(name), []
    method.network.main_decoder.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    before, trainer = weights(method), trainer_of(precision, 3)
    fitted(trainer, method, batch())
    half = {"32": torch.float32, "bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    assert set(seen) == {half[precision]}  # it is what was asked for
    assert trainer.global_step == 3
    assert math.isfinite(trainer.callback_metrics["train/loss"])
    for new in weights(method):
        assert new.dtype == torch.float32
        assert new.isfinite().all()
    moved = [not torch.equal(o, n) for o, n in zip(before, weights(method), strict=True)]
    assert sum(moved) > 0.7 * len(moved)  # biases before an instance norm may well stay


@pytest.mark.training
@pytest.mark.parametrize("precision", PRECISIONS[1:])
def test_the_loss_in_half_precision_is_near_that_in_full(precision: str) -> None:
    lost = []
    for p in ("32", precision):
        trainer = trainer_of(p, 1, callbacks=[StepSeed(0)])
        fitted(trainer, method_of("paper"), batch())
        lost.append(float(trainer.callback_metrics["train/loss"]))
    assert lost[1] == pytest.approx(lost[0], rel=0.02)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_validation_works_in_every_precision(precision: str) -> None:
    trainer = trainer_of(precision, 1)
    given = batch((1, 1, 4, 8, 8))
    (result,) = trainer.validate(
        method_of("paper"), DataLoader([given], batch_size=None), verbose=False
    )
    assert 0 <= result["val/dice"] <= 1


@pytest.mark.training
def test_the_gradient_scaler_s_skipped_steps_are_no_failure() -> None:
    method = method_of("paper")
    trainer = trainer_of("16-mixed", 12, scale=2.0**24)
    states = [weights(method)]

    class Watch(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            states.append(weights(method))

    trainer.callbacks.append(Watch())
    fitted(trainer, method, batch())
    taken = [
        not all(torch.equal(a, b) for a, b in zip(old, new, strict=True))
        for old, new in itertools.pairwise(states)
    ]
    assert taken[:2] == [False, False]  # skipped, each halving the scale
    assert taken[-2:] == [True, True]
    assert trainer.global_step == 12  # patches and θ go on with the step, taken or not
    scale = trainer.precision_plugin.scaler.get_scale()
    assert scale == 2.0 ** (24 - taken.count(False))
    assert all(w.isfinite().all() for w in states[-1])


@pytest.mark.training
def test_gradients_that_never_fit_half_precision_stop_the_run() -> None:
    method = method_of("paper")
    method.network.main_decoder.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    before = weights(method)
    with pytest.raises(RunError, match=r"up to step 3.*bf16-mixed"):
        fitted(trainer_of("16-mixed", 20, scale=4.0), method, batch())
    assert all(torch.equal(a, b) for a, b in zip(before, weights(method), strict=True))


@pytest.mark.training
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("value", "step"), [(1000.0, 12 / math.sqrt(2)), (1.0, 2.0)])
def test_clipping_is_of_the_true_gradient_s_norm_at_12(
    precision: str, value: float, step: float
) -> None:
    # Each branch's gradient is 2 (value - 0): the norm of both is 2829 or 2.83.
    method = Genesis(Outputs(value), plain_sgd)
    zero = torch.zeros(1, 1, 1, 1, 1)
    given = {"image": zero, "target": zero, "case_id": ["a"]}
    fitted(trainer_of(precision, 1), method, given)
    for weight in method.parameters():
        assert value - weight.item() == pytest.approx(step, rel=1e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [100.0, 6e4])
def test_losses_of_half_precision_logits_are_those_of_the_rounded_values(
    dtype: torch.dtype, size: float
) -> None:
    rng = np.random.default_rng(0)
    signs = torch.from_numpy(rng.choice([-1.0, 1.0], (2, 2, 2, 3, 4, 2))).float()
    main, aux = ((size * s).to(dtype) for s in signs.unbind(-1))
    y = torch.from_numpy((rng.random((2, 1, 2, 3, 4)) < 0.3).astype(np.float32))

    def all_of(m: Tensor, a: Tensor) -> list[Tensor]:
        label = losses.soft_pseudo_label(y, losses.sharpen(losses.mix_branches(m, a, 0.3)))
        targets = (label, losses.truncated_pseudo_label(label))
        terms = dict.fromkeys(losses.SUPERVISED_TERMS, 1.0)
        return [
            *losses.supervised_terms(m, y, terms, gamma=0.8, alpha=0.4).values(),
            losses.dice_loss(m, losses.hard_pseudo_label(label)),
            *(losses.consensus_loss(m, a, t, kl_apart=k) for t in targets for k in (True, False)),
        ]

    leaf = main.clone().requires_grad_()
    for half, wide in zip(all_of(leaf, aux), all_of(main.float(), aux.float()), strict=True):
        assert half.dtype == torch.float32
        assert half.item() == wide.item()
        assert math.isfinite(half.item())
        (gradient,) = torch.autograd.grad(half, leaf, retain_graph=True)
        assert gradient.dtype == dtype
        assert gradient.isfinite().all()


@pytest.mark.parametrize(("name", "momentum"), [("dbdmp", 0.9), ("genesis", 0.99)])
def test_optimiser_and_clipping_are_the_paper_s(name: str, momentum: float) -> None:
    seen: list[TrainConfig] = []

    @command("train", TrainConfig, given=GIVEN)
    def record(cfg: TrainConfig) -> int:
        seen.append(cfg)
        return 0

    with pytest.raises(SystemExit):
        record([f"+experiment={name}"])
    (cfg,) = seen
    assert cfg.optimizer == {
        "_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.01, "momentum": momentum,
        "nesterov": True, "weight_decay": 3e-5,
    }  # fmt: skip
    assert cfg.trainer["gradient_clip_val"] == 12
    assert cfg.trainer.get("gradient_clip_algorithm", "norm") == "norm"
    assert cfg.callbacks["polynomial_lr"]["power"] == 0.9
    assert cfg.trainer["max_epochs"] == {"dbdmp": 300, "genesis": 1000}[name]
    assert (cfg.callbacks["ramp_up"] or {}).get("t_max") == {"dbdmp": 99, "genesis": None}[name]
    assert cfg.datamodule["steps_per_epoch"] == 250


@pytest.mark.training
@pytest.mark.parametrize(
    ("per_epoch", "epochs", "stop"),
    [(1, 4, 2), (3, 3, 4), (60, 2, 80)],
)
def test_schedules_follow_the_epoch_also_after_a_resume_in_its_middle(
    tmp_path: Path, tiny_store: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    per_epoch: int, epochs: int, stop: int,
) -> None:  # fmt: skip
    given = (
        "+experiment=dbdmp", *TINY, "augmentation@datamodule.transform=none",
        f"datamodule.steps_per_epoch={per_epoch}", f"trainer.max_epochs={epochs}",
        "trainer.limit_val_batches=0", "callbacks.ramp_up.t_max=2", f"store={tiny_store}",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip
    original = DBDMP.training_step

    def hook(self: DBDMP, given: Any, index: int) -> Any:
        if self.global_step == stop:
            raise OSError(28, "No space left on device", "x")
        return original(self, given, index)

    monkeypatch.setattr(DBDMP, "training_step", hook)
    assert train(*given) == 4
    monkeypatch.undo()
    assert train(*given, "ckpt_path=last") == 0
    with (tmp_path / "run" / "curves.csv").open() as handle:
        rows = [row for row in csv.DictReader(handle) if row["train/loss"]]
    assert [int(row["step"]) for row in rows] == list(range(per_epoch * epochs))
    for step, row in enumerate(rows):
        epoch = step // per_epoch
        assert int(row["epoch"]) == epoch
        assert float(row["train/lambda_p"]) == pytest.approx(ramp_up(epoch, 2.0, 2))
        assert float(row["train/lr"]) == pytest.approx(polynomial_decay(epoch, 0.01, epochs))
