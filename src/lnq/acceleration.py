"""The device, and what makes a training fast on it: chosen here, each part with a switch."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from pydantic import ConfigDict
from torch.utils._triton import has_triton

from lnq.errors import UsageError

Precision = Literal[32, "bf16-mixed", "16-mixed"]
Switch = Literal["auto"] | bool

DEVICES = r"auto|cpu|cuda(:\d+)?"
"""Names that `choose_device` takes."""

SMALL_WINDOW = 32 * 64 * 64
"""Voxels up to which a CPU takes three times as long for a window that comes alone."""
CGROUP = Path("/sys/fs/cgroup")
COMPILING_PAYS_FROM = 2000
"""Steps of a training: compiling takes one to three minutes, and saves a twentieth of a second a
step (docs/decisions/training.md#a-gpu-trains-in-half-precision-compiled)."""


@dataclass(frozen=True)
class Settings:
    """What a training does to be fast, every part decided.

    Attributes:
        precision: Of the network's arithmetic; weights and losses are float32 in any case.
        benchmark: cuDNN tries its algorithms at the first step of each shape.
        compile: Network and loss are compiled at the first step.
        channels_last: Weights and features lie with the channel as the fastest axis.
        fused: The optimiser is one kernel, which leaves out steps that are not finite by itself.
        async_checkpoint: Checkpoints are written in a thread while the next epoch is under way.
    """

    precision: Precision = 32
    benchmark: bool = False
    compile: bool = False
    channels_last: bool = False
    fused: bool = False
    async_checkpoint: bool = False

    def __str__(self) -> str:
        """What is done, in a line."""
        done = [name.replace("_", " ") for name, value in vars(self).items() if value is True]
        return ", ".join([str(self.precision), *done])


@dataclass(frozen=True)
class Acceleration:
    """Node `acceleration` of conf/train.yaml; `auto` is what is fastest on the device.

    Attributes:
        precision: As of `Settings`.
        benchmark: As of `Settings`.
        compile: As of `Settings`.
        channels_last: As of `Settings`.
        fused: As of `Settings`.
        async_checkpoint: As of `Settings`.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    precision: Literal["auto"] | Precision = "auto"
    benchmark: Switch = "auto"
    compile: Switch = "auto"
    channels_last: Switch = "auto"
    fused: Switch = "auto"
    async_checkpoint: Switch = "auto"

    def on(self, device: str, steps: int) -> Settings:
        """What is done on a device of this type.

        Args:
            device: `cuda`, `cpu`: a type of PyTorch's.
            steps: Of the whole training.
        """
        best: Mapping[str, Any] = vars(Settings())
        if device == "cuda":
            best = {
                "precision": "16-mixed",
                "benchmark": True,
                "compile": steps >= COMPILING_PAYS_FROM and can_compile(),
                "channels_last": False,
                "fused": True,
                "async_checkpoint": True,
            }
        chosen = {name: value for name, value in vars(self).items() if value != "auto"}
        return Settings(**{**best, **chosen})


@contextlib.contextmanager
def arithmetic(device: torch.device, precision: Precision) -> Iterator[None]:
    """Lets a network compute in this precision while the block runs, on a GPU by cuDNN's search."""
    dtype = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(str(precision))
    with contextlib.ExitStack() as stack:
        if dtype is not None:
            stack.enter_context(torch.autocast(device.type, dtype))
        if device.type == "cuda":
            stack.enter_context(torch.backends.cudnn.flags(enabled=True, benchmark=True))
        yield


def windows_at_a_time(device: torch.device, window: Sequence[int]) -> int:
    """Windows of inference that are fastest together (docs/decisions/inference.md)."""
    return 4 if device.type == "cuda" or math.prod(window) <= SMALL_WINDOW else 1


def reads_ahead(device: torch.device) -> bool:
    """Whether scans are read while the network works on others.

    On a CPU the network has all cores already; with a GPU it is the host that idles.
    """
    return device.type == "cuda" and available_cpus() > 1


def has_fused_kernel(optimizer: Callable[..., Any]) -> bool:
    """Whether an optimiser, its constructor's arguments bound, can be had as one kernel.

    Not where its arguments say how it computes, or SGD dampens: its fused form would do so from the
    first step on, and the other does not.
    """
    bound = getattr(optimizer, "keywords", {})
    takes_it = "fused" in inspect.signature(optimizer).parameters
    return takes_it and not any(bound.get(key) for key in ("fused", "foreach", "dampening"))


def can_compile() -> bool:
    """Whether there is what `torch.compile` needs for a GPU: Triton, which needs a C compiler."""
    return has_triton() and any(map(shutil.which, ("cc", "gcc", "clang")))


def available_cpus() -> int:
    """CPUs that this process may use: by its affinity, its cgroup's quota, its SLURM job."""
    affine = getattr(os, "sched_getaffinity", None)  # Linux alone has it
    counts = [len(affine(0)) if affine else os.cpu_count() or 1]
    if (asked := os.environ.get("SLURM_CPUS_PER_TASK", "")).isdigit():
        counts.append(int(asked))
    counts += _cgroup_cpus(CGROUP)
    return max(1, min(counts))


def _cgroup_cpus(root: Path) -> list[int]:
    """Whole CPUs of a quota, of either version of cgroups; none without one."""
    try:
        limit, period = (root / "cpu.max").read_text().split()
    except (OSError, ValueError):
        try:
            limit = (root / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (root / "cpu/cpu.cfs_period_us").read_text().strip()
        except OSError:
            return []
    return [math.ceil(int(limit) / int(period))] if limit.isdigit() else []


def device_type(accelerator: str) -> str:
    """The type of device that Lightning's `accelerator` comes to, of the two we know."""
    wants_gpu = accelerator in ("auto", "gpu", "cuda")
    return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


def choose_device(name: str) -> torch.device:
    """The device of that name: `auto` (a GPU if there is one), `cpu`, `cuda` or `cuda:N`.

    Raises:
        UsageError: It is another name, or the GPU that was asked for is not there.
    """
    if not re.fullmatch(DEVICES, name):
        raise UsageError(
            "no such device", where=f"device={name}", remedy="give auto, cpu, cuda or cuda:N"
        )
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(
            "there is no such GPU", where=f"device={name}", why=f"PyTorch sees {count} GPU(s)",
            remedy="use device=cpu or device=auto, or install a PyTorch build for your GPU",
        )  # fmt: skip
    return device
