"""DualBranchVNet: one encoder, two decoders; and VNet, the same with one decoder (baseline)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
from pydantic import Field
from torch import Tensor, nn

from lnq.networks.blocks import DecoderLevel, EncoderLevel, Triple, initialise

WIDTHS = (16, 32, 64, 128, 256, 512)
DROPOUTS = (0.05, 0.1, 0.2, 0.3, 0.5)

MOST_CHANNELS, MOST_LEVELS = 4096, 12
"""Bounds on sizes that come from a file: no network of such levels fits into a memory."""

Width = Annotated[int, Field(ge=1, le=MOST_CHANNELS)]
Widths = Annotated[Sequence[Width], Field(max_length=MOST_LEVELS)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def kernel_of_level(level: int) -> Triple:
    """In-plane at the first level, where slices are far apart; isotropic below."""
    return (1, 3, 3) if level == 0 else (3, 3, 3)


def stride_into_level(level: int) -> Triple:
    """Stride of the step from level - 1 to `level`: in-plane first, then isotropic."""
    return (1, 2, 2) if level == 1 else (2, 2, 2)


class Encoder(nn.Module):
    """Features of every level, from full resolution down to the bottleneck."""

    def __init__(self, in_channels: int, widths: Sequence[int], dropouts: Sequence[float]) -> None:
        super().__init__()
        levels = []
        for level, width in enumerate(widths):
            channels = widths[level - 1] if level else in_channels
            stride = stride_into_level(level) if level else None
            rate = dropouts[level] if level < len(dropouts) else 0.0
            levels.append(EncoderLevel(channels, width, stride, kernel_of_level(level), rate))
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> list[Tensor]:
        """From (b, c, z, y, x) to one tensor a level, the deepest last."""
        features = []
        for level in self.levels:
            x = level(x)
            features.append(x)
        return features


class Decoder(nn.Module):
    """From the encoder's features to logits at full resolution."""

    def __init__(self, out_channels: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            DecoderLevel(
                widths[level + 1], widths[level], stride_into_level(level + 1),
                kernel_of_level(level),
            )
            for level in reversed(range(len(widths) - 1))
        )  # fmt: skip
        self.head = nn.Conv3d(widths[0], out_channels, kernel_size=1)

    def forward(self, features: list[Tensor]) -> Tensor:
        """Logits (b, out_channels, z, y, x)."""
        *skips, x = features
        for level, skip in zip(self.levels, reversed(skips), strict=True):
            x = level(x, skip)
        return self.head(x)


class VNet(nn.Module):
    """Encoder and one decoder: the network of the paper's baseline row.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the logits: 2 classes, or 1 for restoration.
        widths: Channels of every level; as many levels as widths.
        dropouts: Element-wise dropout of every level but the bottleneck.

    Raises:
        ValueError: Not one dropout rate for every level but the bottleneck.
    """

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        widths: Widths = WIDTHS,
        dropouts: Sequence[Rate] = DROPOUTS,
    ) -> None:
        super().__init__()
        if len(widths) < 2 or len(dropouts) != len(widths) - 1:
            raise ValueError(
                f"{len(widths)} widths need {len(widths) - 1} dropout rates, got {len(dropouts)}"
            )
        self.out_channels = out_channels
        self.encoder = Encoder(in_channels, widths, dropouts)
        self.main_decoder = Decoder(out_channels, widths)
        self.apply(initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits (b, out_channels, z, y, x) of each decoder, the main one first."""
        return (self.main_logits(x),)

    def main_logits(self, x: Tensor) -> Tensor:
        """Logits of the main decoder alone: what inference uses."""
        return self.main_decoder(self.encoder(x))


class DualBranchVNet(VNet):
    """One shared encoder and two decoders of the same structure with their own weights.

    The auxiliary decoder sees every encoder feature, skips and bottleneck, through channel-wise
    dropout; the main decoder sees them as they are.

    Args:
        in_channels: Channels of the image.
        out_channels: Channels of the logits of each head: 2 classes, or 1 for restoration.
        widths: Channels of every level; as many levels as widths.
        dropouts: Element-wise dropout of every level but the bottleneck.
        feature_dropout: Channel-wise dropout of what the auxiliary decoder sees.
    """

    def __init__(
        self,
        in_channels: Width = 1,
        out_channels: Width = 2,
        widths: Widths = WIDTHS,
        dropouts: Sequence[Rate] = DROPOUTS,
        feature_dropout: Rate = 0.5,
    ) -> None:
        super().__init__(in_channels, out_channels, widths, dropouts)
        self.feature_dropout = nn.Dropout3d(feature_dropout)
        self.aux_decoder = Decoder(out_channels, widths)
        self.aux_decoder.apply(initialise)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Logits (main, auxiliary), each (b, out_channels, z, y, x)."""
        features = self.encoder(x)
        dropped = [self.feature_dropout(f) for f in features]
        return self.main_decoder(features), self.aux_decoder(dropped)


def total_stride(num_levels: int) -> Triple:
    """By what the patch size `(z, y, x)` must be divisible for a network of `num_levels`."""
    strides = [stride_into_level(level) for level in range(1, num_levels)]
    z, y, x = (int(v) for v in np.prod(strides, axis=0))
    return z, y, x
