"""Filling a store from a dataset, in parallel; a bad case never stops the others."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from lnq.data.case import Case, first_path
from lnq.data.datasets.source_hash import SourceHashes, source_hashes
from lnq.data.preparation.chest_distance import chest_distances
from lnq.data.preparation.examination import examine, joined_notes
from lnq.data.preparation.label_field import SURFACE
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.preparation.processes import over_cases
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.errors import CaseError, memory_for
from lnq.volume import Array, Grid, Volume

# Of a label, what may lie outside the crop without a note: partial voxels at its edge.
TOLERATED_LOSS = 0.01


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case_id: The case.
        status: `built`; `kept` = was there and is sound; `rebuilt` = was there, damaged or stale.
        reason: Why it was rebuilt.
        record: What is known of it now; None where it failed.
        error: Why it failed.
    """

    case_id: str
    status: Literal["built", "kept", "rebuilt", "failed"]
    reason: str | None = None
    record: CaseRecord | None = None
    error: CaseError | None = None


def build_store(cases: Sequence[Case], root: Path, num_workers: int) -> Iterator[Outcome]:
    """Preprocesses what a store does not hold yet.

    Args:
        cases: The dataset.
        root: The store; its manifest is written already and holds the settings.
        num_workers: Processes; 0 = this one.

    Yields:
        One outcome a case, in the order in which they end.

    Raises:
        RunError: The disk does not take a case.
    """
    for leftover in (root / "cases").glob(".*.tmp.*"):  # of a run that was killed while writing
        shutil.rmtree(leftover, ignore_errors=True)
    yield from over_cases(partial(build_case, root=root), cases, num_workers, _killed)


def build_case(case: Case, root: Path) -> Outcome:
    """Preprocesses one case into the store, unless the store holds it as it is now.

    Raises:
        RunError: The disk does not take it.
    """
    store = CaseStore(root)
    if case.refusal is not None:
        return failed(case, case.refusal, store)
    try:
        with memory_for(case.image):
            hashes = source_hashes(case)
            fault = store.fault(case, hashes)
            if fault is None:
                return Outcome(case.case_id, "kept", record=store.record(case.case_id))
            settings = Preprocessing.from_dict(store.settings)
            prepared = prepare_case(case, settings, hashes)
            if source_hashes(case) != hashes:
                raise CaseError(
                    "the scan or its label changed while it was used",
                    remedy="run this again when nothing writes it any more",
                )
            store.write(*prepared)
    except CaseError as error:
        return failed(case, error, store)
    if fault == "missing":
        return Outcome(case.case_id, "built", record=prepared.record)
    return Outcome(case.case_id, "rebuilt", reason=fault, record=prepared.record)


class PreparedCase(NamedTuple):
    """What `CaseStore.write` takes.

    Attributes:
        record: Of the case.
        image: The scan on the working grid, normalised.
        field: The label's field there, or None.
        background: What masks say can be no node, bool, or None.
        distances: From lungs and body, uint8 (2, z, y, x), on `record.chest_grid`.
    """

    record: CaseRecord
    image: Array
    field: Array | None
    background: Array | None
    distances: Array


def prepare_case(case: Case, preprocessing: Preprocessing, hashes: SourceHashes) -> PreparedCase:
    """Reads and preprocesses one case.

    Args:
        case: The case.
        preprocessing: The settings.
        hashes: Of its files.

    Raises:
        CaseError: Scan or annotation cannot be used.
    """
    examined = examine(case)
    chest = None if examined.anatomy is None else examined.anatomy.chest
    if examined.image is None or chest is None or examined.problems:
        raise examined.problems[0]
    prepared = preprocessing.apply(examined.image, chest)
    field, loss = None, list[str]()
    if examined.label is not None:
        field = preprocessing.label_field(examined.label, prepared.volume.grid)
        loss = _loss(examined.label, field.grid)
    background = None
    if examined.background is not None:
        background = preprocessing.apply_mask(examined.background, prepared.volume.grid).array
    distances, chest_grid = chest_distances(chest, prepared.volume.grid)
    record = CaseRecord(
        case_id=case.case_id,
        split=case.split,
        supervision=case.supervision,
        group=case.group,
        image=first_path(case.image).absolute(),
        label=None if case.label is None else case.label.absolute(),
        image_sha256=hashes.image,
        label_sha256=hashes.label,
        voxel_sha256=examined.voxel_hash,
        source_grid=examined.image.grid,
        grid=prepared.volume.grid,
        mean=prepared.mean,
        sd=prepared.sd,
        num_foreground=0 if field is None else int(np.count_nonzero(field.array >= SURFACE)),
        lungs_found=prepared.lungs_found,
        notes=(*joined_notes(examined.notes, prepared.notes), *loss),
        mask_sha256=examined.mask_hash,
        background_sha256=hashes.background,
        chest_grid=chest_grid,
    )
    return PreparedCase(
        record, prepared.volume.array, None if field is None else field.array, background, distances
    )


def failed(case: Case, error: CaseError, store: CaseStore) -> Outcome:
    """The outcome of a case that cannot be used; what the store holds of it is removed.

    It is stale, damaged or not to be trained on: no training may take it for this case.

    Raises:
        RunError: The disk does not allow it.
    """
    store.remove(case.case_id)
    return Outcome(case.case_id, "failed", error=error.at(case.image))


def _loss(label: Volume, kept: Grid) -> list[str]:
    """A note where the crop cuts annotated tissue off."""
    voxels = np.argwhere(label.array)
    if len(voxels) == 0:
        return []
    index = kept.to_index(label.grid.to_world(voxels))
    inside = ((index >= -0.5) & (index <= np.asarray(kept.size) - 0.5)).all(axis=1)
    lost = 1.0 - float(inside.mean())
    if lost <= TOLERATED_LOSS:
        return []
    return [f"{lost:.0%} of the annotation lies outside the crop. Raise preprocessing.margin_mm"]


def _killed(case: Case, error: CaseError) -> Outcome:
    return Outcome(case.case_id, "failed", error=error)
