"""Filling a store from a dataset, in parallel; a bad case never stops the others."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
import SimpleITK as sitk

from lnq.data.alignment import align_label
from lnq.data.case import Case
from lnq.data.preprocessing import Preprocessing
from lnq.data.readers import Scan, content_hash, read_image_with_notes, read_label
from lnq.data.store import CaseRecord, CaseStore
from lnq.errors import CaseError
from lnq.volume import Grid, Volume

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
    task = partial(build_case, root=root)
    if num_workers == 0:
        yield from map(task, cases)
        return
    waiting, suspects = list(cases), list[Case]()
    while waiting or suspects:
        # A worker that dies takes its pool along. Whoever may have killed it is tried alone.
        batch, width = ([suspects.pop(0)], 1) if suspects else (waiting, num_workers)
        unfinished: list[Case] = []
        for case, outcome in _in_processes(task, batch, width):
            if outcome is not None:
                yield outcome
            elif len(batch) == 1:
                yield _killed(case)
            else:
                unfinished.append(case)
        if len(batch) > 1 or batch is waiting:
            # Processes take cases in order: those at work were the first of the unfinished.
            unfinished.sort(key=batch.index)
            suspects, waiting = unfinished[:width], unfinished[width:]


def build_case(case: Case, root: Path) -> Outcome:
    """Preprocesses one case into the store, unless the store holds it as it is now.

    Raises:
        RunError: The disk does not take it.
    """
    store = CaseStore(root)
    try:
        label_hash = _label_hash(case)
        hashes = content_hash(case.image), label_hash
        fault = store.fault(case, *hashes)
        if fault is None:
            return Outcome(case.case_id, "kept", record=store.record(case.case_id))
        record, image, label = prepare_case(case, Preprocessing.from_dict(store.settings), hashes)
    except CaseError as error:
        # What is there is stale or damaged: no training may take it for this case.
        shutil.rmtree(store.root / "cases" / case.case_id, ignore_errors=True)
        where = error.where or case.image
        located = CaseError(error.what, where=where, why=error.why, remedy=error.remedy)
        return Outcome(case.case_id, "failed", error=located)
    store.write(record, image.array, None if label is None else label.array)
    if fault == "missing":
        return Outcome(case.case_id, "built", record=record)
    return Outcome(case.case_id, "rebuilt", reason=fault, record=record)


def prepare_case(
    case: Case, preprocessing: Preprocessing, hashes: tuple[str, str | None]
) -> tuple[CaseRecord, Volume, Volume | None]:
    """Reads and preprocesses one case.

    Args:
        case: The case.
        preprocessing: The settings.
        hashes: SHA-256 of scan and annotation.

    Returns:
        Its record, the scan and the label on the working grid.

    Raises:
        CaseError: Scan or annotation cannot be used.
    """
    scan, scan_notes = read_image_with_notes(case.image)
    prepared = preprocessing.apply(scan)
    label, label_notes = _prepare_label(case, preprocessing, scan.grid, prepared.volume.grid)
    record = CaseRecord(
        case_id=case.case_id,
        split=case.split,
        supervision=case.supervision,
        group=case.group,
        image=case.image.absolute(),
        label=None if case.label is None else case.label.absolute(),
        image_sha256=hashes[0],
        label_sha256=hashes[1],
        source_grid=scan.grid,
        grid=prepared.volume.grid,
        mean=prepared.mean,
        sd=prepared.sd,
        num_foreground=0 if label is None else int(np.count_nonzero(label.array)),
        lungs_found=prepared.lungs_found,
        notes=(*scan_notes, *prepared.notes, *label_notes),
    )
    return record, prepared.volume, label


def _label_hash(case: Case) -> str | None:
    """SHA-256 of the annotation, and of which of its segments are meant where the case says so."""
    if case.label is None:
        return None
    digest = content_hash(case.label)
    if case.label_names is None:
        return digest
    return hashlib.sha256(f"{digest} {case.label_names}".encode()).hexdigest()


def _prepare_label(
    case: Case, preprocessing: Preprocessing, scan_grid: Grid, grid: Grid
) -> tuple[Volume | None, list[str]]:
    if case.label is None:
        return None, []
    annotation = read_label(case.label, scan=Scan(case.image, scan_grid), names=case.label_names)
    given, notes = align_label(annotation, scan_grid)
    label = preprocessing.apply_label(given, grid)
    return label, [*notes, *_loss(given, label)]


def _loss(label: Volume, kept: Volume) -> list[str]:
    """A note where the crop cuts annotated tissue off, or where nothing is annotated."""
    voxels = np.argwhere(label.array)
    if len(voxels) == 0:
        return ["the label holds no annotated voxel"]
    index = kept.grid.to_index(label.grid.to_world(voxels))
    inside = ((index >= -0.5) & (index <= np.asarray(kept.grid.size) - 0.5)).all(axis=1)
    lost = 1.0 - float(inside.mean())
    return [f"{lost:.0%} of the annotation lies outside the crop"] if lost > TOLERATED_LOSS else []


def _in_processes(
    task: partial[Outcome], cases: Sequence[Case], width: int
) -> Iterator[tuple[Case, Outcome | None]]:
    """Runs the cases; None for those whose process, or a neighbour of it, died."""
    threads = max(1, (os.cpu_count() or 1) // width)
    pool = ProcessPoolExecutor(width, get_context("spawn"), _begin_worker, (threads, os.getpid()))
    try:
        futures = {pool.submit(task, case): case for case in cases}
        for future in as_completed(futures):
            try:
                yield futures[future], future.result()
            except BrokenProcessPool:
                yield futures[future], None
    finally:
        pool.shutdown(cancel_futures=True)


def _begin_worker(threads: int, parent: int) -> None:
    """Shares the cores, and ends with the parent: a killed one cannot tell its workers."""
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(threads)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _killed(case: Case) -> Outcome:
    error = CaseError(
        "the process that prepared this scan died",
        where=case.image, why="probably out of memory, or a file that crashes its reader",
        remedy="use fewer workers, or take the scan out of the dataset",
    )  # fmt: skip
    return Outcome(case.case_id, "failed", error=error)
