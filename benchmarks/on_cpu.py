"""What the processor does: the losses, and the answer to `--help`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from plain import plain_loss
from torch import Tensor

from lnq.__main__ import STAGES
from lnq.config import instantiate
from lnq.config.composition import compose
from lnq.losses.kinds import Kinds


def losses(patch: tuple[int, int, int], rounds: int) -> dict[str, float]:
    """Forward and backward of Eq. 10 from two branches' logits, in turn with the stand-in's."""
    cfg = compose("train", ["+experiment=dbdmp", "store=.", "network.widths=[2,4,4]",
                            "network.dropouts=[0.1,0.1]"])  # fmt: skip
    method = instantiate(
        cfg.method, network=instantiate(cfg.network), optimizer=instantiate(cfg.optimizer)
    )
    generator = torch.Generator().manual_seed(0)
    main, aux = (torch.randn((2, 2, *patch), generator=generator).requires_grad_() for _ in "ab")
    y = (torch.rand((2, 1, *patch), generator=generator) < 0.01).float()
    theta, lambda_p = torch.tensor(0.4), torch.tensor(2.0)
    ways: dict[str, Callable[[], Tensor]] = {
        "ms": lambda: method.objective((main, aux), Kinds(y), theta, lambda_p)[0],
        "plain_ms": lambda: plain_loss(main, aux, y, theta, lambda_p),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, loss in ways.items():
            begun = time.perf_counter()
            loss().backward()
            taken[name].append(1e3 * (time.perf_counter() - begun))
            main.grad = aux.grad = None
    found = {name: float(np.median(times)) for name, times in taken.items()}
    return {**found, "times_plain": found["plain_ms"] / found["ms"]}


def helps() -> dict[str, float]:
    """Seconds of the slowest command's `--help`, and beside it those of importing torch."""
    slowest = max(_seconds("-m", f"lnq.{stage}", "--help") for stage in STAGES)
    return {"s": slowest, "import_torch_s": _seconds("-c", "import torch")}


def _seconds(*python: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *python], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
