"""The corruptions of Model Genesis (Zhou et al. 2021), as TorchIO transforms.

As in TorchIO, `Random...` draws parameters and hands them to a transform that applies them.
"""

from lnq.data.patches.corruption.base import Corruption, RandomCorruption
from lnq.data.patches.corruption.bezier import BezierIntensity, RandomBezierIntensity
from lnq.data.patches.corruption.genesis_corruption import GenesisCorruption
from lnq.data.patches.corruption.painting import (
    InPainting,
    OutPainting,
    RandomInPainting,
    RandomOutPainting,
)
from lnq.data.patches.corruption.shuffling import LocalShuffling, RandomLocalShuffling

__all__ = [
    "BezierIntensity",
    "Corruption",
    "GenesisCorruption",
    "InPainting",
    "LocalShuffling",
    "OutPainting",
    "RandomBezierIntensity",
    "RandomCorruption",
    "RandomInPainting",
    "RandomLocalShuffling",
    "RandomOutPainting",
]
