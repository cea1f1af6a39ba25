"""Pre-training restores patches: its loss by hand, in float32, stopped where it is not finite."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support.methods import (
    FixedOutputs,
    sgd,
)
from torch import Tensor

from lnq.errors import RunError
from lnq.methods import Genesis


class QuietGenesis(Genesis):
    def log_dict(self, dictionary: Any, **_: Any) -> None:
        """Says nothing: there is no trainer."""


def genesis(main: Tensor, aux: Tensor) -> Genesis:
    return QuietGenesis(FixedOutputs(main, aux), sgd)


def test_restoration_loss_by_hand() -> None:
    # target (1, 2): main (1, 4) errs by (0, 2), MSE 2; aux (0, 5) by (1, 3), MSE 5: 7
    def tensor(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, 1, 2)

    main, aux = tensor(1, 4), tensor(0, 5)
    given = {"image": tensor(9, 9), "target": tensor(1, 2), "case_id": ["case_0"]}
    assert genesis(main, aux).training_step(given, 0).item() == pytest.approx(7.0)


def test_restoration_loss_is_taken_in_float32() -> None:
    # 300² overflows float16
    main = torch.full((1, 1, 1, 1, 2), 300.0, dtype=torch.float16)
    given = {"image": main, "target": torch.zeros(1, 1, 1, 1, 2), "case_id": ["case_0"]}
    loss = genesis(main, main.clone()).training_step(given, 0)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(180_000.0)


def test_restoration_loss_that_is_not_finite_stops() -> None:
    main = torch.full((1, 1, 1, 1, 2), float("nan"))
    given = {"image": main, "target": torch.zeros(1, 1, 1, 1, 2), "case_id": ["case_5"]}
    with pytest.raises(RunError, match="case_5"):
        genesis(main, main.clone()).training_step(given, 0)
