"""Masks of whole scans in an eighth of their bytes, of which patches are cut."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lnq.volume import Array

_BITS = 8


def packed(mask: Array) -> Array:
    """A mask (z, y, x) as bits, uint8 (z, y, x / 8 rounded up)."""
    return np.packbits(mask.astype(bool), axis=-1)


def packed_size(size: Sequence[int]) -> tuple[int, ...]:
    """The shape of the packed form of a mask of `size` (z, y, x)."""
    return (*size[:-1], -(-size[-1] // _BITS))


@dataclass(frozen=True, eq=False)
class PackedMask:
    """A mask as it lies in the store.

    Attributes:
        bits: What `packed` gave, perhaps a memory map.
        size: Of the mask, z y x.
    """

    bits: Array
    size: tuple[int, int, int]

    def whole(self) -> Array:
        """The mask, bool z y x."""
        return self.cut((0, 0, 0), self.size)

    def cut(self, start: Sequence[int], size: Sequence[int]) -> Array:
        """A copy of `mask[start : start + size]`, bool; False beyond its edges."""
        found = np.zeros(tuple(size), bool)
        low = [max(0, s) for s in start]
        high = [min(s + n, end) for s, n, end in zip(start, size, self.size, strict=True)]
        if any(a >= b for a, b in zip(low, high, strict=True)):
            return found
        first = low[2] // _BITS
        read = self.bits[low[0] : high[0], low[1] : high[1], first : -(-high[2] // _BITS)]
        row = slice(low[2] - first * _BITS, high[2] - first * _BITS)
        place = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
        found[place] = np.unpackbits(read, axis=-1)[..., row]
        return found
