"""What the processor does: losses, corruption, evaluation, and the answer to `--help`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torchio as tio
from original import reference
from plain import plain_corruption
from torch import Tensor

from lnq.__main__ import STAGES
from lnq.config import instantiate
from lnq.config.composition import compose
from lnq.evaluation.case_evaluation import evaluate_case
from lnq.evaluation.matching import Match
from lnq.losses.kinds import Kinds


def losses(patch: tuple[int, int, int], rounds: int, checkout: Path | None) -> dict[str, float]:
    """Forward and backward of Eq. 10 from two branches' logits, in turn with the reference's."""
    cfg = compose("train", ["+experiment=dbdmp", "store=.", "network.widths=[2,4,4]",
                            "network.dropouts=[0.1,0.1]"])  # fmt: skip
    method = instantiate(
        cfg.method, network=instantiate(cfg.network), optimizer=instantiate(cfg.optimizer)
    )
    generator = torch.Generator().manual_seed(0)
    main, aux = (torch.randn((2, 2, *patch), generator=generator).requires_grad_() for _ in "ab")
    y = (torch.rand((2, 1, *patch), generator=generator) < 0.01).float()
    theta, lambda_p = torch.tensor(0.4), torch.tensor(2.0)
    small = {"widths": (2, 4), "dropouts": (0.1,)}
    theirs = reference(checkout, small, torch.device("cpu")).loss
    ways: dict[str, Callable[[], Tensor]] = {
        "ms": lambda: method.objective((main, aux), Kinds(y), theta, lambda_p)[0],
        "reference_ms": lambda: theirs(main, aux, y, theta, lambda_p),
    }
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, loss in ways.items():
            begun = time.perf_counter()
            torch.autograd.backward(loss())
            taken[name].append(1e3 * (time.perf_counter() - begun))
            main.grad = aux.grad = None
    found = {name: float(np.median(times)) for name, times in taken.items()}
    return {**found, "times_reference": found["reference_ms"] / found["ms"]}


def corruption(patch: tuple[int, int, int], patches: int) -> dict[str, float]:
    """Milliseconds of a core a patch, of the experiment's corruption and of the stand-in's."""
    torch.set_num_threads(1)
    cfg = compose("train", ["+experiment=genesis", "store=."])
    corrupt = instantiate(cfg.datamodule.transform)["corruption"]
    given = np.random.default_rng(0).standard_normal(patch, np.float32)
    subject = tio.Subject(image=tio.ScalarImage(tensor=torch.from_numpy(given)[None]))
    taken = {"ms": 0.0, "plain_ms": 0.0}
    for number in range(patches):
        torch.manual_seed(number)
        begun = time.process_time()
        corrupt(subject)
        between = time.process_time()
        plain_corruption(given, np.random.default_rng(number))
        taken["ms"] += 1e3 * (between - begun) / patches
        taken["plain_ms"] += 1e3 * (time.process_time() - between) / patches
    return {**taken, "times_plain": taken["plain_ms"] / taken["ms"]}


def evaluation(reference: Path, prediction: Path, rounds: int) -> dict[str, float]:
    """Seconds that a pair of masks takes to be read and measured."""
    match = Match("case", reference, prediction, None)
    taken = []
    for _ in range(rounds):
        begun = time.perf_counter()
        found = evaluate_case(match, "instances", 0.5)
        taken.append(time.perf_counter() - begun)
    return {"s": float(np.median(taken)), "dice": found.metrics.dice}


def helps() -> dict[str, float]:
    """Seconds of the slowest command's `--help`, and beside it those of importing torch."""
    slowest = max(_seconds("-m", f"lnq.{stage}", "--help") for stage in STAGES)
    return {"s": slowest, "import_torch_s": _seconds("-c", "import torch")}


def _seconds(*python: str) -> float:
    begun = time.perf_counter()
    subprocess.run([sys.executable, *python], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - begun
