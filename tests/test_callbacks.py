"""Schedules, seeds, checkpoints, curves and W&B, each on its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import wandb
from support.faults import fill_disk_under
from support.folders import names

from lnq.callbacks import (
    AtomicCheckpointIO,
    BetweenSteps,
    CurvesLogger,
    OfflineFirstWandbLogger,
    PolynomialLR,
    RampUp,
    StepSeed,
)
from lnq.schedules import polynomial_decay, ramp_up
from lnq.seeding import derive_seed


def trainer_at(epoch: int, **more: Any) -> Any:
    return SimpleNamespace(current_epoch=epoch, max_epochs=10, **more)


def test_schedules_at_their_ends() -> None:
    assert ramp_up(0, 2.0, 99) == pytest.approx(2 * 0.006737947)
    assert ramp_up(99, 2.0, 99) == ramp_up(400, 2.0, 99) == ramp_up(0, 2.0, 0) == 2.0
    assert ramp_up(49, 2.0, 99) == pytest.approx(0.55865, abs=1e-5)
    assert polynomial_decay(0, 0.01, 300) == 0.01
    assert polynomial_decay(150, 0.01, 300) == pytest.approx(0.01 * 0.5**0.9)
    assert polynomial_decay(300, 0.01, 300) == polynomial_decay(301, 0.01, 300) == 0


def test_ramp_up_sets_lambda_p_from_the_epoch() -> None:
    module = SimpleNamespace(lambda_max=1.6, lambda_p=None)
    for epoch in (3, 0, 5, 9):  # in any order: nothing is carried over
        RampUp(t_max=5).on_train_batch_start(trainer_at(epoch), module, None, 0)
        assert module.lambda_p == ramp_up(epoch, 1.6, 5)


def test_polynomial_lr_sets_every_group_from_the_epoch() -> None:
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))]} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, lr=0.02)
    logged: list[tuple[str, Any]] = []
    module = SimpleNamespace(
        _trainer=None, log_dict=lambda values, **_: logged.extend(values.items())
    )
    for epoch in (4, 0, 9):
        at = trainer_at(epoch, optimizers=[optimizer])
        PolynomialLR(power=0.9).on_train_batch_start(at, module, None, 0)
        expected = polynomial_decay(epoch, 0.02, 10)
        assert [group["lr"] for group in optimizer.param_groups] == [expected] * 2
        assert logged[-1] == ("train/lr", expected)


def test_step_seed_repeats_by_step_and_differs_by_rank() -> None:
    def drawn(step: int, rank: int = 0, seed: int = 7) -> float:
        loops = SimpleNamespace(epoch_loop=SimpleNamespace())
        at = trainer_at(0, global_step=step, global_rank=rank, fit_loop=loops)
        StepSeed(seed).on_train_batch_start(at, SimpleNamespace(), None, 0)
        return float(torch.rand(()))

    assert drawn(4) == drawn(4)
    assert len({drawn(4), drawn(5), drawn(4, rank=1), drawn(4, seed=8)}) == 4
    torch.manual_seed(derive_seed(7, "step", 4, 0))
    expected = float(torch.rand(()))
    assert drawn(4) == expected


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_checkpoint_is_replaced_whole_and_the_old_one_kept(
    tmp_path: Path, asynchronous: bool
) -> None:
    saver, path = AtomicCheckpointIO(asynchronous=asynchronous), tmp_path / "last.ckpt"
    for number in range(3):
        saver.save_checkpoint({"number": number}, path)
    saver.teardown()
    assert torch.load(path, weights_only=True) == {"number": 2}
    assert torch.load(tmp_path / "last.ckpt.previous", weights_only=True) == {"number": 1}
    assert names(tmp_path) == ["last.ckpt", "last.ckpt.previous"]


def test_an_asynchronous_checkpoint_holds_what_was_there_when_it_was_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saver, path, trained_on = AtomicCheckpointIO(asynchronous=True), tmp_path / "a", Event()
    save = torch.save
    monkeypatch.setattr(torch, "save", lambda *given: trained_on.wait(10) and save(*given))
    weight = torch.zeros(3)
    saver.save_checkpoint({"weight": weight}, path)
    weight += 1  # the next step, while the thread is still at its work
    assert not path.exists()
    trained_on.set()
    saver.teardown()
    assert torch.load(path, weights_only=True)["weight"].tolist() == [0, 0, 0]


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("before", [0, 2])
def test_a_full_disk_leaves_the_old_checkpoint(
    tmp_path: Path, before: int, asynchronous: bool
) -> None:
    saver, path = AtomicCheckpointIO(asynchronous=asynchronous), tmp_path / "last.ckpt"
    for number in range(before):
        saver.save_checkpoint({"number": number}, path)
    saver.teardown()
    kept = names(tmp_path)
    fill_disk_under(path)
    with pytest.raises(OSError, match=r"No space left on device: .*last\.ckpt"):
        saver.save_checkpoint({"number": 2}, path) or saver.teardown()
    saver.teardown()  # told once
    assert names(tmp_path) == kept
    if before:
        assert torch.load(path, weights_only=True) == {"number": 1}
        assert torch.load(tmp_path / "last.ckpt.previous", weights_only=True) == {"number": 0}


def test_ctrl_c_waits_for_the_next_step() -> None:
    previous = signal.getsignal(signal.SIGINT)
    callback, nothing = BetweenSteps(), SimpleNamespace()
    with callback.handler():
        callback.on_train_batch_start(nothing, nothing, None, 0)
        os.kill(os.getpid(), signal.SIGINT)  # in the middle of a step: nothing happens
        time.sleep(0.01)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL  # a second one ends the process
        with pytest.raises(KeyboardInterrupt):
            callback.on_train_batch_start(nothing, nothing, None, 1)
    assert signal.getsignal(signal.SIGINT) is previous


def test_a_signal_of_the_last_step_is_heard_at_the_end() -> None:
    heard: list[int] = []
    previous = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    try:
        with BetweenSteps().handler():
            os.kill(os.getpid(), signal.SIGUSR2)
            assert heard == []
        assert heard == [signal.SIGUSR2]
    finally:
        signal.signal(signal.SIGUSR2, previous)


def test_curves_go_on_where_a_resumed_run_does(tmp_path: Path) -> None:
    first = CurvesLogger(tmp_path)
    for step in range(4):
        first.log_metrics({"train/loss": step / 4}, step)
    first.log_metrics({"val/dice": 0.5, "epoch": 0}, 4)
    with (tmp_path / "curves.csv").open("a") as handle:
        handle.write("0,5")  # cut by a kill
    second = CurvesLogger(tmp_path)
    second.log_metrics({"train/loss": 9.0, "epoch": 0}, 3)
    second.log_metrics({"train/loss": 8.0, "epoch": 1, "train/lr": 0.1}, 4)
    assert (tmp_path / "curves.csv").read_text().splitlines() == [
        "epoch,step,train/loss,train/lr,val/dice",
        ",0,0.0,,",
        ",1,0.25,,",
        ",2,0.5,,",
        "0,3,9.0,,",
        "1,4,8.0,0.1,",
    ]


WANDB = """
import os, sys, time
from pathlib import Path
import wandb
from lnq.callbacks import CurvesLogger, OfflineFirstWandbLogger

def log(folder, mode="auto"):
    start = time.monotonic()
    folder.mkdir()
    for logger in (OfflineFirstWandbLogger("lnq", "test", folder, mode), CurvesLogger(folder)):
        logger.log_metrics({"train/loss": 1.0}, 0)
        logger.finalize("success")
    print("SECONDS", time.monotonic() - start, flush=True)

log(Path("no key"))
log(Path("no key, asked for"), "online")
wandb.teardown()
os.environ.update(WANDB_BASE_URL="http://127.0.0.1:9", WANDB_API_KEY=40 * "a")
log(Path("no server"))
"""


@pytest.mark.slow
def test_a_server_that_refuses_the_key_leaves_the_run_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = wandb.init

    def refuse(**options: object) -> object:
        if options["mode"] != "offline":
            raise wandb.errors.AuthenticationError("invalid key")
        return started(**options)

    monkeypatch.setenv("WANDB_API_KEY", 40 * "a")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    wandb.teardown()  # it keeps the settings it began with
    monkeypatch.setattr(wandb, "init", refuse)
    logger = OfflineFirstWandbLogger("lnq", "test", tmp_path, mode="online")
    with pytest.warns(UserWarning, match="offline: invalid key"):
        logger.log_hyperparams({"method": {"tau": 0.3}})
    assert logger.experiment.config["method"] == {"tau": 0.3}
    logger.finalize("success")
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


@pytest.mark.process
def test_wandb_goes_offline_without_asking(tmp_path: Path) -> None:
    terminal, its_end = pty.openpty()  # with a terminal, W&B would open a menu and wait
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("WANDB", "NETRC"))}
    process = subprocess.Popen(
        [sys.executable, "-W", "always", "-c", WANDB], cwd=tmp_path, stdin=its_end, stdout=its_end,
        stderr=its_end, env={**kept, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
    )  # fmt: skip
    os.close(its_end)
    printed = b""
    with contextlib.suppress(OSError):  # the terminal's, at the process's end
        while select.select([terminal], [], [], 100)[0]:
            printed += os.read(terminal, 10_000)
    process.kill()  # if it waits for an answer
    said = printed.decode()
    os.close(terminal)
    assert process.wait() == 0, said
    assert said.count("W&B logs offline: no API key") == 2
    assert "W&B logs offline: 127.0.0.1 does not answer" in said
    assert 40 * "a" not in said
    seconds = [float(part.split()[0]) for part in said.split("SECONDS")[1:]]
    assert len(seconds) == 3
    assert max(seconds) < 10
    for name in ("no key", "no key, asked for", "no server"):
        assert list((tmp_path / name).glob("wandb/offline-run-*/*.wandb"))
        assert (tmp_path / name / "curves.csv").exists()
