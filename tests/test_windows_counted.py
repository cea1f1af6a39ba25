"""Progress of a prediction: windows are counted as they are, and lines tell the time left."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from lnq.inference.sliding_window import SlidingWindow, foreground_probability


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.7])
@pytest.mark.parametrize("size", [(4, 8, 8), (5, 9, 21), (13, 8, 3)])
def test_windows_are_counted_as_they_are(size: tuple[int, int, int], overlap: float) -> None:
    heard: list[tuple[int, int]] = []

    def branches(x: Tensor) -> list[Tensor]:
        return [torch.cat([x, -x], dim=1)]

    windows = SlidingWindow((4, 8, 8), overlap=overlap, batch_size=3)
    foreground_probability(
        branches, np.zeros(size, np.float32), windows, device=torch.device("cpu"),
        counted=lambda done, total: heard.append((done, total)),
    )  # fmt: skip
    assert heard[-1] == (windows.count(size), windows.count(size))
    assert [done for done, _ in heard] == sorted({done for done, _ in heard})
