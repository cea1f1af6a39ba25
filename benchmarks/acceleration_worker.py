"""One variant in a process of its own: prepares itself, waits for its turn, measures, reports.

Preparation compiles, beside others that do; what it runs meanwhile is not measured, and cuDNN's
choices of then are not kept: they are stored by the permission to use TF32, which is off in
preparation and on in the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
import torch._dynamo
import torch._inductor.config
from acceleration_variants import VARIANTS, Variant
from kernels import convolution_times, profile
from plain import plain_loss
from planar import make_planar
from torch import Tensor

from lnq.losses import mix_branches, pseudo_terms, sharpen, soft_pseudo_label, supervised_terms
from lnq.networks import DualBranchVNet

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
CLIP = 12.0
Step = Callable[[int], Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("variant")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--patch", type=int, nargs=3, default=(64, 128, 224))
    parser.add_argument("--levels", type=int, default=6)
    parser.add_argument("--steps", type=int, default=15)
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to the log

    variant = next(each for each in VARIANTS if each.name == options.variant)
    runner = RUNNERS[variant.kind](
        variant, torch.device(options.device), tuple(options.patch), options.levels, options.steps
    )
    begun = time.perf_counter()
    runner.prepare()
    _say(answers, {"prepared_s": round(time.perf_counter() - begun, 1)})
    if sys.stdin.readline().strip() == "go":
        _say(answers, {**asdict(variant), **runner.measure()})


def _say(answers: Any, value: dict[str, Any]) -> None:
    answers.write(json.dumps(value) + "\n")
    answers.flush()


class Runner:
    """Shared by the kinds: the network, the flags of cuDNN, the clock."""

    def __init__(
        self, variant: Variant, device: torch.device, patch: tuple[int, ...], levels: int,
        steps: int,
    ) -> None:  # fmt: skip
        self.variant, self.device, self.patch, self.steps = variant, device, patch, steps
        # A CPU has no fast fp16; there the variants are only tried out.
        self.dtype = DTYPES[variant.precision if device.type == "cuda" else "bf16"]
        torch.manual_seed(0)
        widths = (16, 32, 64, 128, 256, 512)[:levels]
        network = DualBranchVNet(widths=widths, dropouts=(0.05, 0.1, 0.2, 0.3, 0.5)[: levels - 1])
        if variant.planar:
            make_planar(network)
        self.network = network.to(device)
        if variant.channels_last:
            network.to(memory_format=torch.channels_last_3d)
        torch._inductor.config.force_layout_optimization = variant.forced_layout

    def images(self, count: int, batch_size: int) -> list[Tensor]:
        """Random images, in the variant's layout."""
        layout = torch.channels_last_3d if self.variant.channels_last else torch.contiguous_format
        shape = (batch_size, 1, *self.patch)
        return [
            torch.randn(shape, device=self.device).contiguous(memory_format=layout)
            for _ in range(count)
        ]

    def autocast(self) -> contextlib.AbstractContextManager[None]:
        """Of the variant's precision."""
        if self.variant.precision == "fp32":
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, self.dtype)

    def compile(self, function: Any) -> Any:
        """`function`, compiled as the variant says."""
        mode = self.variant.compilation
        if mode == "none":
            return function
        return torch.compile(function, mode=mode, fullgraph=True, dynamic=False)

    def allow_search(self, allowed: bool) -> None:
        """Whether cuDNN looks for the fastest algorithm; choices are kept apart by the answer."""
        torch.backends.cudnn.allow_tf32 = allowed
        torch.backends.cudnn.benchmark = allowed
        torch.backends.cudnn.benchmark_limit = self.variant.search_limit

    def synchronise(self) -> None:
        """Waits for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def milliseconds(self, step: Step) -> dict[str, float]:
        """Median of steps by device events, of the host's part, and of all by the clock."""
        for i in range(3):
            step(i)
        self.synchronise()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        begun = time.perf_counter()
        marks, host = [self._mark()], []
        for i in range(self.steps):
            before = time.perf_counter()
            step(i)
            host.append((time.perf_counter() - before) * 1e3)
            marks.append(self._mark())
        self.synchronise()
        wall = (time.perf_counter() - begun) * 1e3 / self.steps
        times = [_between(a, b) for a, b in itertools.pairwise(marks)]
        return {
            "ms": statistics.median(times), "ms_fastest": min(times), "ms_slowest": max(times),
            "host_ms": statistics.median(host), "wall_ms": wall, **self._memory(),
        }  # fmt: skip

    def _mark(self) -> Any:
        if self.device.type != "cuda":
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _memory(self) -> dict[str, float]:
        if self.device.type != "cuda":
            return {}
        return {
            "allocated_gib": torch.cuda.max_memory_allocated() / 2**30,
            "reserved_gib": torch.cuda.max_memory_reserved() / 2**30,
        }


def _between(a: Any, b: Any) -> float:
    return (b - a) * 1e3 if isinstance(a, float) else a.elapsed_time(b)


class Training(Runner):
    """Steps of fine-tuning on a rotating set of random batches."""

    def prepare(self) -> None:
        """Compiles with a step; what runs eagerly has nothing to prepare."""
        self.batches = [
            (image, (torch.rand_like(image) < 0.002).float()) for image in self.images(4, 2)
        ]
        self.thetas = torch.rand(64, device=self.device)
        self.lambda_p = torch.tensor(0.5, device=self.device)
        self.loss_of = plain_loss if self.variant.plain else _loss
        self.forward: Any = self.network
        self._compile()
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), lr=1e-4, momentum=0.9, nesterov=True, weight_decay=3e-5,
            fused=self.variant.fused,
        )  # fmt: skip
        scaled = self.variant.precision == "fp16"
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=scaled)
        self.phases: list[list[Any]] = []
        self.allow_search(False)
        if self.variant.compilation != "none":
            self.step(0)
            self.synchronise()
            self.optimizer.zero_grad()
            self.phases.clear()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _compile(self) -> None:
        if self.variant.whole:

            def whole(image: Tensor, y: Tensor, theta: Tensor, lambda_p: Tensor) -> Tensor:
                return self.loss_of(*self.network(image), y, theta, lambda_p)

            self.whole = self.compile(whole)
        else:
            self.forward, self.loss_of = self.compile(self.network), self.compile(self.loss_of)

    def step(self, i: int) -> Tensor:
        """One step, the loss of it; the times between its phases are kept."""
        image, y = self.batches[i % len(self.batches)]
        theta = self.thetas[i % len(self.thetas)]
        if self.variant.compilation == "reduce-overhead":
            torch.compiler.cudagraph_mark_step_begin()
        marks = [self._mark()]
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            if self.variant.whole:
                loss = self.whole(image, y, theta, self.lambda_p)
                marks += [self._mark(), self._mark()]
            else:
                branches = self.forward(image)
                marks.append(self._mark())
                loss = self.loss_of(*branches, y, theta, self.lambda_p)
                marks.append(self._mark())
        self.scaler.scale(loss).backward()
        marks.append(self._mark())
        self.scaler.unscale_(self.optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        marks.append(self._mark())
        self.phases.append(marks)
        if self.variant.plain:
            loss.item()
        return loss

    def measure(self) -> dict[str, Any]:
        """Times, memory, and what the compiler counted."""
        if self.variant.compilation == "reduce-overhead":
            torch._dynamo.reset()  # graphs are recorded anew, with what cuDNN then chooses
        graphs = _graphs()
        self.allow_search(True)
        begun = time.perf_counter()
        loss = float(self.step(0).detach())
        self.synchronise()
        searched = time.perf_counter() - begun
        result = self.milliseconds(self.step)
        names = ("forward_ms", "loss_ms", "backward_ms", "optimiser_ms")
        phases = [
            statistics.median(_between(marks[n], marks[n + 1]) for marks in self.phases[-10:])
            for n in range(4)
        ]
        result |= dict(zip(names, phases, strict=True))
        compiler = {"graphs": _graphs(), "graphs_before": graphs, "breaks": _breaks()}
        texts = profile(self.step, self.device) if self.variant.profiled else {}
        return {"first_step_s": searched, "first_loss": loss, **result, **compiler, **texts}


class Inference(Runner):
    """Windows through the main decoder."""

    BATCH_SIZES = (1, 4)

    def prepare(self) -> None:
        """Compiles with a batch of each size."""
        self.network.eval()
        self.logits = self.compile(self.network.main_logits)
        self.inputs = {size: self.images(3, size) for size in self.BATCH_SIZES}
        self.allow_search(False)
        if self.variant.compilation != "none":
            for size in self.BATCH_SIZES:
                self.step(size, 0)
            self.synchronise()

    def step(self, size: int, i: int) -> Tensor:
        """Logits of one batch."""
        with torch.inference_mode(), self.autocast():
            return self.logits(self.inputs[size][i % 3])

    def measure(self) -> dict[str, Any]:
        """Times and memory of each batch size, and the distance from float32 without TF32."""
        result: dict[str, Any] = {}
        with torch.inference_mode():
            reference = self.network.main_logits(self.inputs[1][0])
        self.allow_search(True)
        for size in self.BATCH_SIZES:
            begun = time.perf_counter()
            out = self.step(size, 0)
            self.synchronise()
            found = {"first_step_s": time.perf_counter() - begun}
            if size == 1:
                off = (out.float() - reference).norm() / reference.norm()
                found["distance"] = float(off)
            found |= self.milliseconds(lambda i, size=size: self.step(size, i))
            found["ms_per_window"] = found["ms"] / size
            result |= {f"{key}_of_{size}": value for key, value in found.items()}
        if self.variant.profiled:
            result |= profile(lambda i: self.step(4, i), self.device)
        return result


class Convolutions(Runner):
    """Each convolution of the network by itself, in each layout."""

    def prepare(self) -> None:
        """Nothing."""

    def measure(self) -> dict[str, Any]:
        """A list of convolutions with their times."""
        self.allow_search(True)
        return {
            "convolutions": convolution_times(
                self.network, (2, 1, *self.patch), self.device, self.dtype
            )
        }


def _loss(main: Tensor, aux: Tensor, y: Tensor, theta: Tensor, lambda_p: Tensor) -> Tensor:
    """Eq. 10 by the library."""
    names = {"sce": 1.0, "pce": 1.0, "tversky": 1.0}
    terms = [supervised_terms(z, y, names, gamma=0.8, alpha=0.4) for z in (main, aux)]
    target = soft_pseudo_label(y, sharpen(mix_branches(main, aux, theta), 0.3))
    pseudo = pseudo_terms(main, aux, target, {"klce": 1.0})
    return sum(sum(each.values()) for each in terms) + lambda_p * pseudo["klce"]


def _graphs() -> int:
    return int(torch._dynamo.utils.counters["stats"]["unique_graphs"])


def _breaks() -> int:
    return sum(torch._dynamo.utils.counters["graph_break"].values())


RUNNERS: dict[str, Any] = {
    "training": Training, "inference": Inference, "convolutions": Convolutions,
}  # fmt: skip


if __name__ == "__main__":
    main()
