"""A window of inference by precision, and a long scan from file to nodes."""

from __future__ import annotations

import resource
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from made_up import Size, make_scan

from lnq import Segmenter
from lnq.acceleration import arithmetic
from lnq.networks import DualBranchVNet


def windows(patch: Size, network: Any, steps: int) -> dict[str, float]:
    """Milliseconds a window through the main decoder takes, alone and in fours."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    net = DualBranchVNet(**network).to(device).eval()
    found = {}
    for precision in (32, "16-mixed") if device.type == "cuda" else (32,):
        for together in (1, 4):
            x, times = torch.randn(together, 1, *patch, device=device), []
            with torch.inference_mode(), arithmetic(device, precision):
                for _ in range(steps):
                    begun = time.perf_counter()
                    net.main_logits(x)[0, 0, 0, 0, 0].item()
                    times.append(1e3 * (time.perf_counter() - begun) / together)
            found[f"ms_{precision}_of_{together}"] = statistics.median(times[1:])
    return found


def long_scan(place: Path, size: Size, checkpoint: Path) -> dict[str, float]:
    """Seconds and memory of one scan, with the network of a run.

    The slower of `prepare_s` and `segment_s` is what `predict` takes for each of many on a GPU.
    """
    file = place / "scan.nrrd"
    if not file.exists():
        make_scan(file, size)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    segmenter = Segmenter.load(checkpoint)
    begun = time.perf_counter()
    prepared = segmenter.prepare(file)
    between = time.perf_counter()
    segmenter.segment(prepared)
    ended = time.perf_counter()
    found = {
        "s": ended - begun,
        "prepare_s": between - begun,
        "segment_s": ended - between,
        "ram_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "ram_before_gib": before / 2**20,
    }
    if torch.cuda.is_available():
        found["gpu_gib"] = torch.cuda.max_memory_reserved() / 2**30
    return found
