"""What is chosen by device; compiled and fused training does what plain training does."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import MixedPrecision
from support.runs import TINY
from torch import Tensor, nn
from torch._dynamo.utils import counters
from torch.utils.data import DataLoader

from lnq import acceleration
from lnq.acceleration import COMPILING_PAYS_FROM, Acceleration, Settings, has_fused_kernel
from lnq.callbacks import Panels, RampUp
from lnq.errors import RunError
from lnq.inference.sliding_window import SlidingWindow
from lnq.methods import DBDMP, Genesis
from lnq.methods.method import Method
from lnq.networks import DualBranchVNet

SHAPE = (2, 1, 4, 8, 8)
FUSED = [False, True]


def sgd(fused: bool, momentum: float = 0.9) -> Callable[..., torch.optim.Optimizer]:
    def build(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            parameters, lr=0.01, momentum=momentum, nesterov=momentum > 0, fused=fused
        )

    return build


def method_of(name: str = "dbdmp", *, fused: bool = False, dropout: float = 0.0) -> Method:
    torch.manual_seed(0)
    channels = 1 if name == "genesis" else 2
    network = DualBranchVNet(1, channels, (2, 4), (dropout,), feature_dropout=dropout)
    if name == "genesis":
        return Genesis(network, sgd(fused))
    terms: Any = {"sce": 1.0, "pce": 1.0, "tversky": 1.0}
    return DBDMP(network, sgd(fused), SlidingWindow((4, 8, 8)), terms, {"klce": 1.0})


def batch(number: int = 0) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(number)
    image = torch.randn(SHAPE, generator=generator)
    return {
        "image": image, "label": (image > 1).to(torch.uint8), "target": image,
        "case_id": [f"case_{number}", "other"],
    }  # fmt: skip


class Batches(pl.LightningDataModule):
    """Four batches an epoch, and a volume to validate on."""

    def __init__(self, batches: list[dict[str, Any]]) -> None:
        super().__init__()
        self.batches = batches

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.batches, batch_size=None)

    def val_dataloader(self) -> DataLoader[Any]:
        image = torch.randn(1, 1, 6, 9, 11)
        return DataLoader([{"image": image, "label": (image > 1).float()}], batch_size=None)

    def first_batch(self) -> dict[str, Any]:
        return self.batches[0]


class Taker(pl.loggers.CSVLogger):
    """A logger that takes images."""

    def log_image(self, *_: Any, **__: Any) -> None:
        self.pictures = getattr(self, "pictures", 0) + 1


def fit(method: Method, batches: list[dict[str, Any]], **more: Any) -> pl.Trainer:
    options: dict[str, Any] = {
        "max_epochs": 1, "logger": False, "enable_checkpointing": False, "accelerator": "cpu",
        "enable_progress_bar": False, "enable_model_summary": False, "gradient_clip_val": 12,
        "num_sanity_val_steps": 0, "limit_val_batches": 0, "log_every_n_steps": 1,
    }  # fmt: skip
    trainer = pl.Trainer(**(options | more))
    trainer.fit(method, Batches(batches))
    return trainer


def weights(method: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in method.parameters()]


def same(a: list[Tensor], b: list[Tensor], tolerance: float = 0.0) -> bool:
    return all(torch.allclose(x, y, rtol=0, atol=tolerance) for x, y in zip(a, b, strict=True))


@pytest.fixture
def compiler() -> Iterator[None]:
    torch._dynamo.reset()
    counters.clear()
    yield
    torch._dynamo.reset()


def test_a_cpu_is_left_alone() -> None:
    assert Acceleration().on("cpu", 10**6) == Settings()
    assert Settings().precision == 32


def test_a_gpu_gets_everything_and_compiles_what_is_long_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(acceleration, "can_compile", lambda: True)
    found = Acceleration().on("cuda", COMPILING_PAYS_FROM)
    assert found == Settings(
        "16-mixed", benchmark=True, compile=True, fused=True, async_checkpoint=True
    )
    assert not Acceleration().on("cuda", COMPILING_PAYS_FROM - 1).compile
    monkeypatch.setattr(acceleration, "can_compile", lambda: False)
    assert not Acceleration().on("cuda", 10**6).compile


def test_each_part_has_a_switch_on_every_device() -> None:
    for part in ("benchmark", "compile", "channels_last", "fused", "async_checkpoint"):
        for device in ("cuda", "cpu"):
            for value in (True, False):
                found = Acceleration(**{part: value}).on(device, 10)
                assert getattr(found, part) is value
    assert Acceleration(precision=32).on("cuda", 10).precision == 32
    assert Acceleration(precision="bf16-mixed").on("cpu", 10).precision == "bf16-mixed"


def test_optimisers_are_fused_where_they_can_be_and_nothing_else_was_said() -> None:
    def fusible(optimizer: type[torch.optim.Optimizer], **bound: Any) -> bool:
        return has_fused_kernel(functools.partial(optimizer, lr=0.1, **bound))

    assert fusible(torch.optim.SGD)
    assert fusible(torch.optim.AdamW)
    assert not fusible(torch.optim.RMSprop)
    assert not fusible(torch.optim.SGD, dampening=0.1, momentum=0.9)
    assert not fusible(torch.optim.SGD, foreach=True)


@pytest.mark.training
def test_a_training_says_what_it_does_for_speed(
    tmp_path: Any, tiny_store: Any, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = (
        "+experiment=dbdmp", *TINY, f"store={tiny_store}", f"run_dir={tmp_path}/run",
        "callbacks.ramp_up.t_max=1", "acceleration.fused=true",
        "acceleration.channels_last=true",
    )  # fmt: skip
    assert train(*run, "trainer.max_epochs=1") == 0
    assert "acceleration: 32, channels last, fused" in capsys.readouterr().out
    assert train(*run, "trainer.max_epochs=1", "+trainer.benchmark=true") == 2
    assert "say acceleration.benchmark=True" in capsys.readouterr().err


@pytest.mark.training
@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
@pytest.mark.parametrize("name", ["dbdmp", "genesis"])
@pytest.mark.usefixtures("compiler")
def test_compiled_training_has_no_break_and_never_compiles_again(
    tmp_path: Any, name: str, precision: str
) -> None:
    graphs: list[int] = []

    class Count(pl.Callback):
        def on_train_batch_end(self, *_: Any) -> None:
            graphs.append(counters["stats"]["unique_graphs"])

    method = method_of(name, dropout=0.3)
    method.compile(dynamic=False, backend="aot_eager")
    logger = Taker(tmp_path)
    fit(
        method, [batch(n) for n in range(3)], max_epochs=3, logger=logger, precision=precision,
        limit_val_batches=1 if name == "dbdmp" else 0,
        callbacks=[Count(), Panels(every_n_epochs=1), *([RampUp(2)] if name == "dbdmp" else [])],
    )  # fmt: skip
    assert logger.pictures == 3
    assert graphs == [2] * 9  # network and objective, in the first step
    assert not counters["graph_break"]


@pytest.mark.training
@pytest.mark.parametrize("name", ["dbdmp", "genesis"])
@pytest.mark.usefixtures("compiler")
def test_compiled_training_learns_the_same_and_keeps_the_names(name: str) -> None:
    batches = [batch(n) for n in range(3)]
    plain, compiled = method_of(name), method_of(name)
    compiled.compile(dynamic=False, backend="aot_eager")
    for method in (plain, compiled):
        fit(method, batches)
    assert same(weights(plain), weights(compiled), 1e-6)
    assert list(plain.state_dict()) == list(compiled.state_dict())


@pytest.mark.training
@pytest.mark.parametrize("precision", ["32", "16-mixed"])
def test_fused_training_learns_the_same(precision: str) -> None:
    found = []
    for fused in FUSED:
        method = method_of(fused=fused)
        fit(method, [batch(n) for n in range(4)], **given(precision, 2.0**8))
        found.append(weights(method))
    assert same(*found, tolerance=1e-6)


def given(precision: str, scale: float) -> dict[str, Any]:
    """On a CPU Lightning replaces 16-mixed by bf16-mixed, unless it is given as a plugin."""
    if precision != "16-mixed":
        return {"precision": precision}
    scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}


@pytest.mark.training
@pytest.mark.parametrize("fused", FUSED)
def test_the_norm_is_taken_once_a_step(monkeypatch: pytest.MonkeyPatch, fused: bool) -> None:
    taken = []
    norm = nn.utils.get_total_norm

    def counted(gradients: Any, *given: Any, **named: Any) -> Tensor:
        taken.append(1)
        return norm(gradients, *given, **named)

    monkeypatch.setattr(nn.utils, "get_total_norm", counted)
    monkeypatch.setattr(nn.utils.clip_grad, "_get_total_norm", counted)
    fit(method_of(fused=fused), [batch(n) for n in range(3)])
    assert len(taken) == 3


@pytest.mark.training
@pytest.mark.parametrize("precision", ["32", "16-mixed"])
@pytest.mark.parametrize("bad", [0, 1, 3])
@pytest.mark.parametrize("fused", FUSED)
def test_a_loss_that_is_not_finite_never_reaches_the_weights(
    fused: bool, bad: int, precision: str
) -> None:
    batches = [batch(n) for n in range(4)]
    batches[bad]["image"][0] = float("nan")
    seen: list[list[Tensor]] = []

    class Watch(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, module: Any, *_: Any) -> None:
            seen.append(weights(module))

    method = method_of(fused=fused)
    with pytest.raises(RunError, match=rf"the loss is nan at step {bad}\b.*case_{bad}, other"):
        fit(method, batches, callbacks=[Watch()], **given(precision, 2.0**8))
    assert len(seen) == bad + 1 + (fused and bad < 3)  # a fused optimiser is read a step later
    assert same(seen[bad], weights(method))
    assert all(w.isfinite().all() for w in weights(method))


@pytest.mark.training
@pytest.mark.parametrize("fused", FUSED)
def test_gradients_that_are_not_finite_never_reach_the_weights(fused: bool) -> None:
    method = method_of(fused=fused)
    before = weights(method)
    method.network.main_decoder.head.bias.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(RunError, match=r"the gradient's norm is (inf|nan) at step 0.*case_0"):
        fit(method, [batch(n) for n in range(3)])
    assert same(before, weights(method))


@pytest.mark.training
def test_a_first_step_that_is_left_out_leaves_no_momentum() -> None:
    # 16-mixed begins with such steps; PyTorch's fused SGD would go on from unset memory.
    method, plain = method_of(fused=True), method_of(fused=False)
    batches = [batch(n) for n in range(6)]
    for each in (method, plain):
        trainer = fit(each, batches, **given("16-mixed", 2.0**17))
        scale = trainer.precision_plugin.scaler.get_scale()
        assert 2.0**11 < scale < 2.0**17  # some were left out, some were not
    assert same(weights(method), weights(plain), 1e-6)


@pytest.mark.training
@pytest.mark.parametrize("fused", FUSED)
def test_a_checkpoint_of_one_kind_of_optimiser_resumes_as_the_other(
    fused: bool, tmp_path: Any
) -> None:
    batches = [batch(n) for n in range(3)]
    whole = method_of(fused=fused)
    fit(whole, batches, max_epochs=2)
    first = method_of(fused=not fused)
    fit(first, batches, max_epochs=1).save_checkpoint(tmp_path / "last.ckpt")
    second = method_of(fused=fused)
    options = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(
        max_epochs=2, logger=False, enable_checkpointing=False, gradient_clip_val=12,
        limit_val_batches=0, **options,
    )  # fmt: skip
    trainer.fit(second, Batches(batches), ckpt_path=tmp_path / "last.ckpt", weights_only=False)
    assert [g["fused"] for g in trainer.optimizers[0].param_groups] == [fused]
    assert same(weights(second), weights(whole), 1e-6)
