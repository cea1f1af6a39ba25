"""Small networks."""

from __future__ import annotations

from lnq.networks import DualBranchVNet


def dual(out_channels: int = 2, widths: tuple[int, ...] = (4, 6, 8)) -> DualBranchVNet:
    return DualBranchVNet(1, out_channels, widths, (0.0,) * (len(widths) - 1))
