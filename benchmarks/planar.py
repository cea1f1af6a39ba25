"""Convolutions whose kernel has one slice, computed in 2D over the slices of all images.

In `channels_last_3d` a volume is a stack of channels-last slices, so that no value is moved.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def make_planar(network: nn.Module) -> None:
    """Replaces each such convolution by one of the same weights under the same names."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d) and module.kernel_size[0] == 1:
            planar = isinstance(module, nn.ConvTranspose3d)
            module.__class__ = PlanarTransposed if planar else Planar


class Planar(nn.Conv3d):
    """`Conv3d` of one slice."""

    def forward(self, x: Tensor) -> Tensor:
        """As `Conv3d`."""
        slices, weight = _slices(x), self.weight.squeeze(2)
        out = functional.conv2d(slices, weight, self.bias, self.stride[1:], self.padding[1:])
        return _volume(out, len(x))


class PlanarTransposed(nn.ConvTranspose3d):
    """`ConvTranspose3d` of one slice."""

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """As `ConvTranspose3d`."""
        slices, weight = _slices(x), self.weight.squeeze(2)
        out = functional.conv_transpose2d(slices, weight, self.bias, self.stride[1:])
        return _volume(out, len(x))


def _slices(x: Tensor) -> Tensor:
    """(b, c, z, y, x) to (b z, c, y, x)."""
    return x.transpose(1, 2).flatten(0, 1)


def _volume(slices: Tensor, batch_size: int) -> Tensor:
    """(b z, c, y, x) to (b, c, z, y, x)."""
    return slices.unflatten(0, (batch_size, -1)).transpose(1, 2)
