"""The next scan is read while the network works on this one: faster, and nothing else."""

from __future__ import annotations

import gc
import json
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.stand_ins import StandIn, masks_by
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

from lnq import Segmentation, Segmenter, acceleration
from lnq.acceleration import reads_ahead
from lnq.inference.mask_files import Job
from lnq.inference.one_ahead import OneAhead
from lnq.inference.scan_folder import predict_folder
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

GRID = Grid((6, 8, 8), (3.0, 1.0, 1.0))
FOUND = Segmentation(
    Volume(np.zeros(GRID.size, np.uint8), GRID), Volume(np.zeros(GRID.size, np.float32), GRID),
    (), (),
)  # fmt: skip
LONG_S = 60.0


def jobs_of(folder: Path, names: str) -> list[Job]:
    return [Job(name, folder / f"{name}.nrrd", f"{name}.nrrd") for name in names]


def files(folder: Path) -> dict[str, bytes]:
    """All of a folder but its manifest."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in (".lock", "manifest.json")
    }


def cases(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())["cases"]


def test_a_gpu_s_host_reads_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acceleration, "available_cpus", lambda: 2)
    assert reads_ahead(torch.device("cuda"))
    assert not reads_ahead(torch.device("cpu"))
    monkeypatch.setattr(acceleration, "available_cpus", lambda: 1)
    assert not reads_ahead(torch.device("cuda"))


@pytest.mark.slow
def test_masks_and_tables_are_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = untrained_run(tmp_path / "run", (16, 32, 32), {"spacing_mm": [10.0, 8.0, 8.0]})
    for name, shift in (("a", 0), ("b", 10), ("c", 0), ("d", 20)):
        scan = chest_with_spine()
        array = np.roll(scan.array, shift, axis=0) if name != "c" else np.zeros_like(scan.array)
        write_volume(Volume(array, scan.grid), tmp_path / f"{name}.nrrd")
    damaged = tmp_path / "b.nrrd"
    damaged.write_bytes(damaged.read_bytes()[:-200])
    threads: list[tuple[str, str]] = []
    prepare = Segmenter.prepare

    def noted(segmenter: Segmenter, path: Any) -> Any:
        threads.append((path.stem, threading.current_thread().name))
        return prepare(segmenter, path)

    monkeypatch.setattr(Segmenter, "prepare", noted)
    segmenter, told = Segmenter.load(run, "cpu"), []
    for ahead in (False, True):
        said = list[str]()
        output = tmp_path / f"masks{ahead}"
        code = predict_folder(
            segmenter, jobs_of(tmp_path, "abcd"), output, config={}, say=said.append,
            ahead=ahead, save_probabilities=True,
        )  # fmt: skip
        told.append([code, *(line.replace(str(output), "") for line in said)])
    plain, ahead_ = tmp_path / "masksFalse", tmp_path / "masksTrue"
    assert told[0] == told[1]
    assert told[0][0] == 3
    assert sorted(files(plain)) == [
        "a.nrrd", "d.nrrd", "failures.json", "nodes.csv", "probabilities/a.nrrd",
        "probabilities/d.nrrd",
    ]  # fmt: skip
    assert files(plain) == files(ahead_)
    assert cases(plain) == cases(ahead_)
    main = threading.current_thread().name
    assert [name for name, thread in threads[:4] if thread == main] == ["a", "b", "c", "d"]
    # Ahead of b's turn b is read, which fails; so it is read again in its turn, as is c.
    assert threads[4:] == [
        ("a", main), ("b", "one ahead"), ("b", main), ("c", main), ("d", main),
    ]  # fmt: skip


def test_a_scan_that_changes_after_it_was_read_ahead_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_volume(FOUND.mask_volume, tmp_path / f"{name}.nrrd")

    def write(job: Job, output: Path) -> None:
        write_volume(FOUND.mask_volume, output / job.mask_name)
        if job.name == "a":
            write_volume(FOUND.probability_volume, tmp_path / "b.nrrd")

    masks_by(monkeypatch, write)
    said = list[str]()
    code = predict_folder(
        StandIn(lambda _: FOUND), jobs_of(tmp_path, "abc"), tmp_path / "masks", config={},
        say=said.append, ahead=True,
    )  # fmt: skip
    assert code == 3
    assert "b: failed: the file changed while it was used" in said[0]
    assert [case["case"] for case in cases(tmp_path / "masks")] == ["a", "c"]


def waits(_: object) -> object:
    end = time.monotonic() + LONG_S
    while time.monotonic() < end:
        time.sleep(0.01)
    return _


def test_an_interrupt_does_not_wait_for_what_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in "abc":
        write_volume(FOUND.mask_volume, tmp_path / f"{name}.nrrd")
    monkeypatch.setattr(StandIn, "prepare", lambda _, p: waits(p) if p.stem == "c" else p)

    def find(name: str) -> Segmentation:
        if name == "b":
            raise KeyboardInterrupt
        return FOUND

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        predict_folder(
            StandIn(find), jobs_of(tmp_path, "abc"), tmp_path / "masks", config={}, say=str,
            ahead=True,
        )  # fmt: skip
    for thread in threading.enumerate():
        if thread.name == "one ahead":
            thread.join(LONG_S / 2)
    assert time.monotonic() - begun < LONG_S / 2
    assert sorted(files(tmp_path / "masks")) == ["a.nrrd", "nodes.csv"]
    assert [case["case"] for case in cases(tmp_path / "masks")] == ["a"]


class Large:
    """Something of which at most two may be alive."""


@pytest.mark.slow
def test_two_results_at_most_are_alive() -> None:
    alive: weakref.WeakSet[Large] = weakref.WeakSet()
    most = []

    def work(_: int) -> Large:
        gc.collect()
        most.append(len(alive))  # before this one
        made = Large()
        alive.add(made)
        return made

    ahead = OneAhead(work, range(5), ahead=True)
    for _ in range(5):
        used = ahead.take()
        with ahead.meanwhile():
            pass
        del used
    assert most == [0, 1, 1, 1, 1]


@pytest.mark.parametrize("ahead", [False, True])
def test_what_fails_ahead_is_done_again_in_its_turn(ahead: bool) -> None:
    tried: list[int] = []

    def work(number: int) -> int:
        tried.append(number)
        if number == 2 or (number == 1 and tried.count(1) == 1 and ahead):
            raise MemoryError  # 1: only beside another
        return 10 * number

    each = OneAhead(work, range(4), ahead=ahead)
    found: list[int | None] = []
    for _ in range(4):
        try:
            value: int | None = each.take()
        except MemoryError:
            value = None
        with each.meanwhile():
            found.append(value)
    assert found == [0, 10, None, 30]


def test_an_error_in_the_block_waits_for_the_work_and_keeps_it() -> None:
    begun: list[int] = []

    def work(number: int) -> int:
        begun.append(number)
        time.sleep(0.2 * number)  # the second is at work when the block fails
        return number

    each = OneAhead(work, range(2), ahead=True)
    assert each.take() == 0
    with pytest.raises(ValueError, match="the first"), each.meanwhile():
        raise ValueError("the first")
    assert each.take() == 1
    assert begun == [0, 1]
