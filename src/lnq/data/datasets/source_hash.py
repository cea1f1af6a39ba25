"""What a case's annotation was made from, as a hash that changes with it."""

from __future__ import annotations

import hashlib

from lnq.data.case import Case
from lnq.data.readers import content_hash


def label_hash(case: Case) -> str | None:
    """SHA-256 of the annotation, and of which of its segments are meant where the case says so."""
    if case.label is None:
        return None
    digest = content_hash(case.label)
    if case.label_names is None:
        return digest
    return hashlib.sha256(f"{digest} {case.label_names}".encode()).hexdigest()
