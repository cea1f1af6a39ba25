"""Work on every case in processes of its own; a case that kills one does not stop the others."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

import SimpleITK as sitk

from lnq.data.case import Case
from lnq.errors import CaseError

Result = TypeVar("Result")


def over_cases(
    task: Callable[[Case], Result],
    cases: Sequence[Case],
    num_workers: int,
    killed: Callable[[Case, CaseError], Result],
) -> Iterator[Result]:
    """Does something for every case; one that kills its process does not stop the others.

    Args:
        task: What is done; must be picklable.
        cases: For which cases.
        num_workers: Processes; 0 = this one, which then dies of what kills it.
        killed: The result of a case whose process died, with the error that says so.

    Yields:
        The results, in the order in which they end.
    """
    if num_workers == 0:
        yield from map(task, cases)
        return
    waiting, suspects = list(cases), list[Case]()
    while waiting or suspects:
        # A worker that dies takes its pool along. Whoever may have killed it is tried alone.
        batch, width = ([suspects.pop(0)], 1) if suspects else (waiting, num_workers)
        unfinished: list[Case] = []
        for case, result in _in_processes(task, batch, width):
            if result is not None:
                yield result
            elif len(batch) == 1:
                yield killed(case, _death(case))
            else:
                unfinished.append(case)
        if len(batch) > 1 or batch is waiting:
            # Processes take cases in order: those at work were the first of the unfinished.
            unfinished.sort(key=batch.index)
            suspects, waiting = unfinished[:width], unfinished[width:]


def _in_processes(
    task: Callable[[Case], Result], cases: Sequence[Case], width: int
) -> Iterator[tuple[Case, Result | None]]:
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


def _death(case: Case) -> CaseError:
    return CaseError(
        "the process that read this scan died",
        where=case.image, why="probably out of memory, or a file that crashes its reader",
        remedy="use fewer workers, or take the scan out of the dataset",
    )  # fmt: skip
