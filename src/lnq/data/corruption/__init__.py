"""The corruptions of Model Genesis (Zhou et al. 2021), as TorchIO transforms.

As in TorchIO, `Random...` draws parameters and hands them to a transform that applies them.
"""

from lnq.data.corruption.base import Corruption, RandomCorruption
from lnq.data.corruption.bezier import BezierIntensity, RandomBezierIntensity
from lnq.data.corruption.genesis import GenesisCorruption
from lnq.data.corruption.painting import (
    InPainting,
    OutPainting,
    RandomInPainting,
    RandomOutPainting,
)
from lnq.data.corruption.shuffling import LocalShuffling, RandomLocalShuffling

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
