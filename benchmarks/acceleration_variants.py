"""What `acceleration.py` compares: ways to run one training step, or one window of inference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Precision = Literal["fp32", "fp16", "bf16"]
Compilation = Literal["none", "default", "max-autotune-no-cudagraphs", "reduce-overhead"]


@dataclass(frozen=True)
class Variant:
    """One way to run it.

    Attributes:
        name: In the tables.
        kind: A training step, inference of windows, or each convolution by itself.
        precision: Of autocast; fp16 training has a gradient scaler.
        channels_last: Weights and images in `channels_last_3d`.
        planar: Convolutions whose kernel has one slice as 2D ones over all slices.
        compilation: Mode of `torch.compile`.
        whole: Network and loss as one compiled function instead of two.
        forced_layout: Inductor chooses the channels-last layout whatever its heuristics say.
        plain: Losses and optimiser of the stand-in for the authors' code.
        fused: Fused SGD.
        search_limit: Algorithms that cuDNN tries for each convolution; 0 = all.
        profiled: Kernels are listed.
    """

    name: str
    kind: Literal["training", "inference", "convolutions"] = "training"
    precision: Precision = "fp16"
    channels_last: bool = False
    planar: bool = False
    compilation: Compilation = "none"
    whole: bool = False
    forced_layout: bool = False
    plain: bool = False
    fused: bool = True
    search_limit: int = 10
    profiled: bool = False


def _compiled(name: str, **options: object) -> Variant:
    return Variant(name, **{"compilation": "default", **options})  # type: ignore[arg-type]


VARIANTS = (
    Variant("plain", plain=True, fused=False, profiled=True),
    _compiled("compiled fp16", profiled=True),
    _compiled("compiled fp16 cl", channels_last=True, profiled=True),
    _compiled("compiled fp16 cl planar", channels_last=True, planar=True, profiled=True),
    _compiled("compiled bf16 cl planar", precision="bf16", channels_last=True, planar=True),
    _compiled("compiled bf16 cl", precision="bf16", channels_last=True),
    Variant("convolutions", kind="convolutions"),
    _compiled("compiled fp16 forced layout", forced_layout=True),
    _compiled("compiled fp16 cl one graph", channels_last=True, whole=True),
    Variant("eager fp16"),
    Variant("inference eager fp32", kind="inference", precision="fp32"),
    Variant("inference eager fp16", kind="inference"),
    Variant("inference eager fp16 cl", kind="inference", channels_last=True),
    _compiled("inference fp16", kind="inference", profiled=True),
    _compiled("inference fp16 cl", kind="inference", channels_last=True, profiled=True),
    _compiled("inference fp16 cl planar", kind="inference", channels_last=True, planar=True),
    _compiled("inference bf16 cl", kind="inference", precision="bf16", channels_last=True),
    _compiled("compiled fp32", precision="fp32"),
    Variant("eager bf16", precision="bf16"),
    Variant("eager fp32", precision="fp32"),
    Variant("eager fp16 cl", channels_last=True),
    _compiled("compiled fp16 cl graphs", channels_last=True, compilation="reduce-overhead"),
    _compiled("compiled fp16 cl all algorithms", channels_last=True, search_limit=0),
    _compiled(
        "compiled fp16 cl autotuned", channels_last=True, compilation="max-autotune-no-cudagraphs"
    ),
)
"""In the order in which they are measured: what matters most comes first."""
