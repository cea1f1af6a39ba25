"""Random numbers as a function of what they are for.

Nothing that must be repeated draws from a global generator: each purpose derives its own seed from
(seed, purpose, epoch, case, draw ...), so that a resumed run repeats an uninterrupted one.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, *purpose: int | str) -> int:
    """A 63-bit seed that depends on `seed` and on every part of `purpose`, the same everywhere."""
    text = "\x1f".join([str(seed), *map(str, purpose)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """A NumPy generator of its own for one purpose."""
    return np.random.default_rng(derive_seed(seed, *purpose))
