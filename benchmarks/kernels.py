"""What the device spends its time on: kernels of a step, and each convolution by itself."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity

STEPS = 3
LONGEST_S = 30
"""What the convolutions may take, each by itself; the largest come first."""
GROUPS = {
    "convolution, weights' gradient": ("wgrad",),
    "convolution, input's gradient": ("dgrad",),
    "change of layout": ("nchwtonhwc", "nhwctonchw", "transpose", "permute"),
    "convolution": ("fprop", "conv", "implicit", "xmma", "cutlass", "gemm", "cudnn"),
    "triton": ("triton",),
    "copy": ("memcpy", "memset", "copy"),
    "optimiser": ("multi_tensor",),
    "normalisation": ("batch_norm",),
    "elementwise": ("elementwise", "dropout"),
    "reduction": ("reduce",),
}
"""Kernels by what their lower-case name holds, the first that fits."""


def profile(step: Callable[[int], Any], device: torch.device) -> dict[str, Any]:
    """Milliseconds a step by group, and tables of kernels and of convolutions by shape."""
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities, record_shapes=True) as recorded:
        for i in range(STEPS):
            step(i)
        if device.type == "cuda":
            torch.cuda.synchronize()
    kernels: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in recorded.events():
        on_device = event.device_type == torch.autograd.DeviceType.CUDA
        if on_device and not event.is_user_annotation:
            kernels[event.name] += event.device_time_total / 1e3 / STEPS
            calls[event.name] += 1
    groups: Counter[str] = Counter()
    for name, spent in kernels.items():
        groups[_group(name)] += spent
    lines = [
        f"{spent:8.3f} ms {calls[name] / STEPS:6.1f} x  {name[:150]}"
        for name, spent in kernels.most_common(70)
    ]
    shapes = [
        f"{event.device_time_total / 1e3 / STEPS:8.3f} ms {event.count / STEPS:5.1f} x  "
        f"{event.key[:40]:40} {event.input_shapes[:3]}"
        for event in sorted(
            recorded.key_averages(group_by_input_shape=True), key=lambda e: -e.device_time_total
        )
        if event.key.startswith("aten::cudnn_conv") or event.key == "aten::convolution_backward"
    ]
    return {
        "groups_ms": {name: round(spent, 3) for name, spent in groups.most_common()},
        "busy_ms": round(sum(kernels.values()), 3),
        "kernels_a_step": sum(calls.values()) / STEPS,
        "text": "\n".join([*lines, "", *shapes[:60]]),
    }


def _group(name: str) -> str:
    lower = name.lower()
    for group, words in GROUPS.items():
        if any(word in lower for word in words):
            return group
    return "other"


def convolution_times(
    network: nn.Module, shape: tuple[int, ...], device: torch.device, dtype: torch.dtype
) -> list[dict[str, Any]]:
    """Milliseconds of each different convolution: forward, input's and weights' gradient."""
    found: dict[tuple[Any, ...], int] = Counter()

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        found[
            tuple(inputs[0].shape), tuple(module.weight.shape), module.stride, module.padding,
            isinstance(module, nn.ConvTranspose3d),
        ] += 1  # fmt: skip

    hooks = [
        module.register_forward_hook(note) for module in network.modules()
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d)
    ]  # fmt: skip
    with torch.no_grad(), torch.autocast(device.type, dtype):
        network(torch.randn(shape, device=device))
    for hook in hooks:
        hook.remove()
    rows = []
    begun = time.monotonic()
    largest_first = sorted(found.items(), key=lambda item: -math.prod(item[0][0]))
    for (size, weight, stride, padding, transposed), count in largest_first:
        if time.monotonic() - begun > LONGEST_S:
            break
        row: dict[str, Any] = {
            "input": size, "weight": weight, "stride": stride, "transposed": transposed,
            "count": count,
        }  # fmt: skip
        for layout in ("contiguous", "channels_last", "planar"):
            if layout == "planar" and not (weight[2] == 1 and stride[0] == 1):
                continue
            row[layout] = _times(size, weight, stride, padding, transposed, layout, device, dtype)
        rows.append(row)
    return rows


def _times(
    size: tuple[int, ...], weight: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...], transposed: bool, layout: str, device: torch.device,
    dtype: torch.dtype,
) -> list[float]:  # fmt: skip
    if layout == "planar":
        size = (size[0] * size[2], size[1], *size[3:])
        weight = (*weight[:2], *weight[3:])
        stride, padding = stride[1:], padding[1:]
    formats = {
        "contiguous": torch.contiguous_format, "channels_last": torch.channels_last_3d,
        "planar": torch.channels_last,
    }  # fmt: skip

    def make(shape: tuple[int, ...]) -> Tensor:
        x = torch.randn(shape, device=device, dtype=dtype)
        return x.contiguous(memory_format=formats[layout])

    image, kernel = make(size), make(weight) * 0.1
    ones = [1] * len(stride)
    zeros = [0] * len(stride)

    def forward() -> Tensor:
        return torch.ops.aten.convolution(
            image, kernel, None, stride, padding, ones, transposed, zeros, 1
        )

    gradient = make(tuple(forward().shape))

    def backward(to_input: bool) -> Any:
        return torch.ops.aten.convolution_backward(
            gradient, image, kernel, None, stride, padding, ones, transposed, zeros, 1,
            [to_input, not to_input, False],
        )  # fmt: skip

    return [_median(forward), _median(lambda: backward(True)), _median(lambda: backward(False))]


def _median(run: Callable[[], Any]) -> float:
    run()
    times = []
    for _ in itertools.repeat(None, 7):
        if torch.cuda.is_available():
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            run()
            last.record()
            torch.cuda.synchronize()
            times.append(first.elapsed_time(last))
        else:
            begun = time.perf_counter()
            run()
            times.append((time.perf_counter() - begun) * 1e3)
    return round(statistics.median(times), 4)
