"""Which of a store's arrays were found to be what was written: each is read in full once."""

from __future__ import annotations

import hashlib
import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lnq.files import sha256

_BYTES = 8


class CheckedFiles:
    """Remembers files by their place on the disk, size and time, so that a replaced one is new.

    Processes that are forked share it: what one worker has checked, later ones need not.

    Args:
        names: What the files are called.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self._index = {name: number for number, name in enumerate(self.names)}
        self._seen = mmap.mmap(-1, max(1, len(self.names)) * _BYTES)

    def __reduce__(self) -> tuple[Any, ...]:
        """A process that is not forked begins anew."""
        return CheckedFiles, (self.names,)

    def holds(self, name: str, path: Path, digest: str) -> bool:
        """Whether a file has this SHA-256; read in full only where it was not seen before.

        Raises:
            OSError: It cannot be read.
        """
        state = path.stat()
        facts = (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, digest)
        mark = hashlib.sha256(repr(facts).encode()).digest()[:_BYTES]
        place = slice(self._index[name] * _BYTES, (self._index[name] + 1) * _BYTES)
        if self._seen[place] == mark:
            return True
        if sha256(path) != digest:
            return False
        self._seen[place] = mark
        return True
