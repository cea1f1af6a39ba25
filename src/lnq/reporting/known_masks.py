"""The masks of background that came with a run's scans, for pictures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lnq.data.store.case_store import CaseStore
from lnq.errors import LnqError
from lnq.volume import Grid, Mask, Volume, resample


@dataclass(frozen=True, eq=False)
class KnownMasks:
    """Masks of background in a run's store, found by the scan that they are of.

    Attributes:
        store: The run's.
        cases: Ids in the store by the SHA-256 of the scan's bytes.
    """

    store: CaseStore
    cases: dict[str, str]

    def on(self, image_sha256: str | None, grid: Grid) -> Mask | None:
        """The masks of a scan on a grid, bool `z y x`; None where there are none of it."""
        case_id = None if image_sha256 is None else self.cases.get(image_sha256)
        try:
            mask = None if case_id is None else self.store.background(case_id)
        except LnqError:
            return None  # a damaged store ends no report
        if case_id is None or mask is None:
            return None
        stored = Volume(mask.whole(), self.store.record(case_id).grid)
        return resample(stored, grid, "nearest").array


def known_masks(config: dict[str, Any]) -> KnownMasks | None:
    """The masks of background in the store of a run, if there are any.

    None also where its store is gone, or was made anew by another version.

    Args:
        config: The run's, resolved.
    """
    try:
        store = CaseStore(Path(str(config.get("store"))))
        records = [store.record(case_id) for case_id in store.case_ids()]
    except LnqError:
        return None
    cases = {r.image_sha256: r.case_id for r in records if r.background_sha256 is not None}
    return KnownMasks(store, cases) if cases else None
