"""What a case was made from, as hashes that change with it."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from lnq.data.case import Case
from lnq.data.readers import content_hash


class SourceHashes(NamedTuple):
    """SHA-256 of a case's files.

    Attributes:
        image: The scan.
        label: The annotation, or None.
        background: All masks of background and their names, or None.
    """

    image: str
    label: str | None = None
    background: str | None = None


def source_hashes(case: Case) -> SourceHashes:
    """The hashes of a case as its files are now.

    Raises:
        CaseError: A file is missing or empty, or its header cannot be read.
    """
    return SourceHashes(content_hash(case.image), label_hash(case), background_hash(case))


def label_hash(case: Case) -> str | None:
    """SHA-256 of the annotation, and of which of its segments are meant where the case says so."""
    if case.label is None:
        return None
    digest = content_hash(case.label)
    if case.label_names is None:
        return digest
    return hashlib.sha256(f"{digest} {case.label_names}".encode()).hexdigest()


def background_hash(case: Case) -> str | None:
    """SHA-256 of the masks of background, each with its name."""
    if not case.background:
        return None
    parts = (f"{content_hash(path)} {path.name}\n" for path in case.background)
    return hashlib.sha256("".join(parts).encode()).hexdigest()
