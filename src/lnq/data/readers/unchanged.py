"""What is recorded of a file is the hash of what was used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lnq.data.case import ScanPath
from lnq.data.readers.reading import content_hash
from lnq.errors import CaseError


@contextmanager
def unchanged(path: ScanPath) -> Iterator[str]:
    """Gives the hash of a scan or label that the block reads.

    Raises:
        CaseError: It cannot be read, or has changed or gone meanwhile.
    """
    digest = content_hash(path)
    yield digest
    require_unchanged(path, digest)


def require_unchanged(path: ScanPath, digest: str) -> None:
    """Refuses a scan or label whose hash is not `digest`, which it had before it was read.

    Raises:
        CaseError: It has changed or gone since.
    """
    if content_hash(path) != digest:
        raise CaseError(
            "the file changed while it was used", where=path,
            remedy="run this again when nothing writes it any more",
        )  # fmt: skip
