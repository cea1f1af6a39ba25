"""Steps of training: the reference's, and those of `lnq.train` as a user starts it."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from made_up import Size, make_store
from original import reference

from lnq.curves import read_rows
from lnq.run_folder import RunFolder

BATCH = 2
DBDMP = ("+experiment=dbdmp", "callbacks.ramp_up.t_max=1")
GENESIS = ("+experiment=genesis",)
Network = Mapping[str, Any]
"""Widths and dropouts."""


def reference_step(
    patch: Size, network: Network, steps: int, checkout: Path | None
) -> dict[str, float]:
    """Milliseconds of a step as the authors' trainer takes it, with patches that are there.

    Args:
        patch: Of its patches.
        network: Of the stand-in.
        steps: How many are taken, three at least.
        checkout: Of the authors' code, which is timed then; None = the stand-in is.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(0)
    held_against = reference(checkout, network, device)
    net = held_against.network.train()
    optimizer = torch.optim.SGD(net.parameters(), 1e-4, 0.9, nesterov=True, weight_decay=3e-5)
    half = device.type == "cuda"
    scaler = torch.amp.GradScaler(device.type, enabled=half)
    image = torch.randn(BATCH, 1, *patch, device=device)
    y = (torch.rand_like(image) < 0.002).float()
    theta, lambda_p = torch.tensor(0.3, device=device), torch.tensor(0.5, device=device)
    times = []
    for _ in range(steps):
        begun = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.float16, enabled=half):
            main, aux = net(image)
            if held_against.half:
                loss = held_against.loss(main, aux, y, theta, lambda_p)
        if not held_against.half:
            loss = held_against.loss(main, aux, y, theta, lambda_p)
        torch.autograd.backward(scaler.scale(loss))
        scaler.unscale_(optimizer)
        torch.nn.utils.clip_grad_norm_(net.parameters(), 12.0)
        scaler.step(optimizer)
        scaler.update()
        loss.item()
        times.append(1e3 * (time.perf_counter() - begun))
    found = {"ms": statistics.median(times[2:]), "first_s": times[0] / 1e3}
    if half:
        found["gib"] = torch.cuda.max_memory_allocated() / 2**30
    return found


def lnq_train(
    place: Path, name: str, patch: Size, network: Network, steps: int, *more: str
) -> dict[str, float]:
    """Milliseconds of a step of the last epoch, everything included, by the run's own curves."""
    begun = time.perf_counter()
    _start(["-m", "lnq.train"], place, name, patch, network, steps, DBDMP + more)
    return {**_last_epoch(place / name), "all_s": time.perf_counter() - begun}


def pretraining(
    place: Path, patch: Size, network: Network, steps: int, *more: str
) -> dict[str, float]:
    """The same of Model Genesis, whose patches the host corrupts meanwhile."""
    _start(["-m", "lnq.train"], place, "genesis", patch, network, steps, GENESIS + more)
    return _last_epoch(place / "genesis")


def _last_epoch(run: Path) -> dict[str, float]:
    """What the run's own curves say of its speed."""
    last = [row for row in read_rows(RunFolder(run)) if row.get("train/loss")][-1]
    found = {
        "ms": 1e3 * BATCH / float(last["perf/patches_per_second"]),
        "wait_ms": 1e3 * float(last["perf/wait_seconds"]),
        "loss": float(last["train/loss"]),
    }
    if last.get("perf/gpu_memory_gb"):
        found["gib"] = float(last["perf/gpu_memory_gb"]) * 1e9 / 2**30
    return found


def resumed(place: Path, patch: Size, network: Network) -> dict[str, float]:
    """How far a run that was stopped in an epoch ends from one that was not, by their weights."""
    short = (*DBDMP, "acceleration.compile=false", "trainer.max_epochs=2")
    given = (patch, network, 5)
    _start(["-m", "lnq.train"], place, "whole", *given, short)
    _start(["-c", _STOPS_AT_7], place, "stopped", *given, short, check=False)
    last = [RunFolder(place / name).checkpoint for name in ("stopped", "whole")]
    _start(["-m", "lnq.train"], place, "stopped", *given, (*short, f"ckpt_path={last[0]}"))
    stopped, whole = (
        torch.load(file, map_location="cpu", weights_only=True)["state_dict"] for file in last
    )
    off = sum((whole[key] - stopped[key]).double().square().sum() for key in whole)
    size = sum(whole[key].double().square().sum() for key in whole)
    return {"relative_distance": float((off / size) ** 0.5)}


_STOPS_AT_7 = """
import sys
from lnq.methods import DBDMP
from lnq.train import main
step = DBDMP.training_step
def stopping(self, batch, index):
    if self.global_step == 7:
        raise KeyboardInterrupt
    return step(self, batch, index)
DBDMP.training_step = stopping
main(sys.argv[1:])
"""


def _start(
    python: list[str], place: Path, name: str, patch: Size, network: Network, steps: int,
    more: Sequence[str], *, check: bool = True,
) -> None:  # fmt: skip
    store = place / "store"
    if not store.exists():
        make_store(store, (patch[0] + 40, patch[1] + 110, patch[2] + 120))
    options = [
        "logger=csv", f"store={store}", f"run_dir={place / name}",
        f"datamodule.patch_size={list(patch)}", f"datamodule.steps_per_epoch={steps}",
        *(f"network.{key}={list(value)}" for key, value in network.items()),
        "callbacks.panels=null", "trainer.max_epochs=3",
    ]  # fmt: skip
    subprocess.run([sys.executable, *python, *options, *more], check=check)
