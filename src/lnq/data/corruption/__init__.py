"""The corruptions of Model Genesis (Zhou et al. 2021), as TorchIO transforms."""

from lnq.data.corruption.bezier import BezierCurve
from lnq.data.corruption.genesis import GenesisCorruption
from lnq.data.corruption.painting import Boxes
from lnq.data.corruption.shuffling import LocalShuffling

__all__ = ["BezierCurve", "Boxes", "GenesisCorruption", "LocalShuffling"]
