"""Methods whose networks give known logits, without a trainer."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from lnq.methods import DBDMP
from lnq.methods import dbdmp as dbdmp_module

SHAPE = (2, 2, 2, 3, 2)
PAPER = {"sce": 1.0, "pce": 1.0, "tversky": 1.0}
KLCE = {"klce": 1.0}


class FixedOutputs(nn.Module):
    """Gives the same logits whatever it is given."""

    def __init__(self, main: Tensor, aux: Tensor) -> None:
        super().__init__()
        self.out_channels = main.shape[1]
        self.main, self.aux_decoder = nn.Parameter(main), nn.ParameterList([aux])

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return self.main, self.aux_decoder[0]

    def main_logits(self, x: Tensor) -> Tensor:
        return self.main


class OneBranch(nn.Module):
    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.out_channels = logits.shape[1]
        self.logits = nn.Parameter(logits)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        return (self.logits,)


def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01)


def logits(seed: int, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(scale=2, size=shape))


def batch(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> dict[str, Any]:
    rng = np.random.default_rng([seed, 1])
    y = (rng.random((shape[0], 1, *shape[2:])) < 0.3).astype(np.uint8)
    return {
        "image": torch.zeros(y.shape),
        "label": torch.from_numpy(y),
        "case_id": [f"case_{i}" for i in range(shape[0])],
    }


class Recorded(DBDMP):
    """Keeps what is logged; no trainer needed."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.logged: dict[str, Any] = {}

    def log_dict(self, dictionary: Any, **_: Any) -> None:
        self.logged.update(dictionary)

    def log(self, name: str, value: Any, **_: Any) -> None:
        self.logged[name] = value


def dbdmp(network: nn.Module | None = None, **changes: Any) -> Recorded:
    network = network or FixedOutputs(logits(1), logits(2))
    terms: dict[str, Any] = {"supervised": PAPER, "pseudo": KLCE}
    return Recorded(network, sgd, SimpleInferer(), **(terms | changes))


def fix_theta(monkeypatch: pytest.MonkeyPatch, theta: float) -> None:
    mix = dbdmp_module.mix_branches
    monkeypatch.setattr(dbdmp_module, "mix_branches", lambda a, b, _: mix(a, b, theta))
