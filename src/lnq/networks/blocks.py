"""The blocks that encoder and decoders are built of (docs/explanation/method.md#network)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Triple = tuple[int, int, int]

NEGATIVE_SLOPE = 0.01


def conv_norm_act(
    in_channels: int, out_channels: int, kernel: Triple, *, act: bool = True
) -> nn.Sequential:
    """Convolution that keeps the size, InstanceNorm(affine), LeakyReLU unless `act` is false."""
    z, y, x = kernel
    layers: list[nn.Module] = [
        nn.Conv3d(in_channels, out_channels, kernel, padding=(z // 2, y // 2, x // 2)),
        nn.InstanceNorm3d(out_channels, affine=True),
    ]
    if act:
        layers.append(nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True))
    return nn.Sequential(*layers)


def down_sample(in_channels: int, out_channels: int, stride: Triple) -> nn.Sequential:
    """Convolution whose kernel is its stride, InstanceNorm, LeakyReLU."""
    return nn.Sequential(
        nn.Conv3d(in_channels, out_channels, kernel_size=stride, stride=stride),
        nn.InstanceNorm3d(out_channels, affine=True),
        nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
    )


def up_sample(in_channels: int, out_channels: int, stride: Triple) -> nn.Sequential:
    """Transposed convolution whose kernel is its stride, InstanceNorm, LeakyReLU."""
    return nn.Sequential(
        nn.ConvTranspose3d(in_channels, out_channels, kernel_size=stride, stride=stride),
        nn.InstanceNorm3d(out_channels, affine=True),
        nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True),
    )


class ResidualBlock(nn.Module):
    """Two convolutions with dropout between them, plus a residual, LeakyReLU after the sum.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        kernel: Kernel `(z, y, x)` of both convolutions.
        dropout: Rate of the element-wise dropout between the convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: Triple, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.conv1 = conv_norm_act(in_channels, out_channels, kernel)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = conv_norm_act(out_channels, out_channels, kernel, act=False)
        self.act = nn.LeakyReLU(NEGATIVE_SLOPE, inplace=True)

    def forward(self, x: Tensor, residual: Tensor) -> Tensor:
        """`x` (b, in, z, y, x) through the convolutions plus `residual` (b, out, z, y, x)."""
        return self.act(self.conv2(self.dropout(self.conv1(x))) + residual)


class EncoderLevel(nn.Module):
    """One level of the encoder: optional down-sampling, then a residual block.

    The residual is the block's own input; a 1x1x1 convolution matches it where the widths differ,
    which is only so at the first level.
    """

    def __init__(
        self, in_channels: int, width: int, stride: Triple | None, kernel: Triple, dropout: float
    ) -> None:
        super().__init__()
        self.down = None if stride is None else down_sample(in_channels, width, stride)
        block_in = in_channels if stride is None else width
        self.match = None if block_in == width else conv_norm_act(block_in, width, (1, 1, 1))
        self.block = ResidualBlock(block_in, width, kernel, dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Features of this level; (b, width, z, y, x), smaller by the stride."""
        if self.down is not None:
            x = self.down(x)
        return self.block(x, x if self.match is None else self.match(x))


class DecoderLevel(nn.Module):
    """One step of a decoder: up-sample, join with the skip, block around the up-sampled."""

    def __init__(self, in_channels: int, width: int, stride: Triple, kernel: Triple) -> None:
        super().__init__()
        self.up = up_sample(in_channels, width, stride)
        self.block = ResidualBlock(2 * width, width, kernel)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """From the deeper level's `x` and this level's `skip` to (b, width, z, y, x) of `skip`."""
        up = self.up(x)
        return self.block(torch.cat([skip, up], dim=1), up)


def initialise(module: nn.Module) -> None:
    """Kaiming-normal convolutions; norm weights N(1, 0.02); biases of both 0."""
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE)
    elif isinstance(module, nn.InstanceNorm3d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
