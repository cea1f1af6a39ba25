"""Batches prepared ahead are the same batches; workers by the CPUs there are; waiting is told."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from support import forked

from lnq import acceleration
from lnq.callbacks.performance import Performance
from lnq.data.patches import datamodule
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.patches.loader import PatchLoader, PatchStream
from lnq.data.patches.queue import DrawSampler, PatchQueue
from lnq.data.store.case_store import CaseStore
from lnq.errors import CaseError, RunError

PATCH = (4, 8, 8)


def stream(store: Path, *, ahead: bool) -> PatchStream:
    rule = PatchRule(CaseStore(store).case_ids(split="train"), PATCH, 0.5, seed=0)
    queue = PatchQueue(PatchDataset(CaseStore(store), rule, None), DrawSampler(0, 4, 2), 8, 0)
    return PatchStream(queue, 2, 0, 4, ahead=ahead)


def loader(store: Path, *, ahead: bool) -> PatchLoader:
    made = stream(store, ahead=ahead)
    return PatchLoader(lambda _: made, range(5), 5)


def test_batches_prepared_ahead_are_the_same(tiny_store: Path) -> None:
    plain, ahead = (list(loader(tiny_store, ahead=each)) for each in (False, True))
    assert len(plain) == 5
    for a, b in zip(plain, ahead, strict=True):
        assert a["case_id"] == b["case_id"]
        assert torch.equal(a["image"], b["image"])
        assert torch.equal(a["label"], b["label"])


@pytest.mark.parametrize("ahead", [False, True])
def test_a_case_that_cannot_be_read_is_told_from_the_thread_too(
    tiny_store: Path, ahead: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: PatchDataset, draw: int) -> Any:
        raise CaseError("no such case")

    monkeypatch.setattr(PatchDataset, "__getitem__", broken)
    with pytest.raises(RunError, match="a case stops the training"):
        list(loader(tiny_store, ahead=ahead))


@pytest.mark.slow
@pytest.mark.parametrize(("ahead", "least", "most"), [(False, 0.5, 9), (True, 0.1, 0.4)])
def test_only_what_is_not_ready_is_waited_for(
    tiny_store: Path, ahead: bool, least: float, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = PatchQueue.__getitem__

    def slow(self: PatchQueue, index: int) -> Any:
        time.sleep(0.05)
        return found(self, index)

    monkeypatch.setattr(PatchQueue, "__getitem__", slow)
    batches = loader(tiny_store, ahead=ahead)
    for _ in batches:
        time.sleep(0.15)  # longer than a batch takes: after the first, all are ready
    assert least <= batches.waited_s < most


def module_at(store: Path, workers: int, **trainer: Any) -> PatchDataModule:
    module = PatchDataModule(store, PATCH, 2, steps_per_epoch=3, num_workers=workers)
    module.trainer = SimpleNamespace(**{
        "global_step": 0, "current_epoch": 0, "global_rank": 0, "world_size": 1, "num_devices": 1,
        "strategy": SimpleNamespace(root_device=torch.device("cpu")), "max_epochs": 2,
        "max_steps": -1, **trainer,
    })  # fmt: skip
    return module


@pytest.mark.process
def test_the_processes_that_cut_go_on_from_epoch_to_epoch(tiny_store: Path) -> None:
    earlier = {child.pid for child in multiprocessing.active_children()}  # other tests' own
    module = module_at(tiny_store, workers=2)
    taken, pids = [], []
    for epoch in range(2):
        vars(module.trainer).update(current_epoch=epoch, global_step=3 * epoch)
        taken += list(module.train_dataloader())
        pids.append({child.pid for child in multiprocessing.active_children()} - earlier)
    assert pids[0] == pids[1]
    assert len(pids[0]) == 2
    expected = [module.patches[draw]["image"].data for draw in range(12)]
    assert torch.equal(torch.cat([batch["image"] for batch in taken]), torch.stack(expected))
    module.teardown("fit")
    assert {child.pid for child in multiprocessing.active_children()} <= earlier


ENDS = """
import sys
from lnq.data.patches.datamodule import PatchDataModule
module = PatchDataModule(sys.argv[1], (4, 8, 8), num_workers=2)
print(next(iter(module.train_dataloader()))["image"].shape)
"""


@pytest.mark.process
def test_a_program_that_ends_amid_an_epoch_ends(tiny_store: Path) -> None:
    ended = forked.run([sys.executable, "-c", ENDS, tiny_store])
    assert "[2, 1, 4, 8, 8]" in ended.stdout
    assert (ended.returncode, ended.stderr) == (0, "")


def test_no_patch_is_cut_for_a_step_beyond_the_end(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut: list[int] = []
    found = PatchDataset.__getitem__
    monkeypatch.setattr(
        PatchDataset, "__getitem__", lambda self, draw: cut.append(draw) or found(self, draw)
    )
    for ends, last in (({}, 11), ({"max_steps": 5}, 9), ({"max_epochs": -1, "max_steps": 4}, 7)):
        module = module_at(tiny_store, workers=0, global_step=3, current_epoch=1, **ends)
        cut.clear()
        batches = iter(module.train_dataloader())
        for _ in range(last // 2 - 2):
            next(batches)
        assert cut == list(range(6, last + 1))


@pytest.mark.parametrize(
    ("device", "cpus", "trainings", "expected"),
    [("cuda", 16, 1, 15), ("cuda", 16, 4, 3), ("cuda", 1, 1, 1), ("cuda", 128, 1, 16),
     ("cpu", 16, 1, 1)],
)  # fmt: skip
def test_workers_are_as_many_as_there_are_cpus_for(
    tiny_store: Path, monkeypatch: pytest.MonkeyPatch, device: str, cpus: int, trainings: int,
    expected: int,
) -> None:  # fmt: skip
    monkeypatch.setattr(datamodule, "available_cpus", lambda: cpus)
    module = PatchDataModule(tiny_store, PATCH, num_workers="auto")
    module.trainer = SimpleNamespace(
        global_step=0, current_epoch=0, global_rank=0, world_size=trainings,
        num_devices=trainings, strategy=SimpleNamespace(root_device=torch.device(device)),
        max_epochs=1, max_steps=-1,
    )  # fmt: skip
    made: list[int] = []
    monkeypatch.setattr(datamodule, "PatchQueue", lambda *given: made.append(given[-1]))

    def stream(*_: Any, ahead: bool) -> PatchStream:
        made.append(ahead)
        raise EOFError

    monkeypatch.setattr(datamodule, "PatchStream", stream)
    with pytest.raises(EOFError):
        next(iter(module.train_dataloader()))
    assert made == [expected, device == "cuda"]


def test_cpus_are_those_of_affinity_quota_and_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK", raising=False)
    monkeypatch.setattr(acceleration, "CGROUP", tmp_path)
    assert acceleration.available_cpus() == 12
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert acceleration.available_cpus() == 8
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu/cpu.cfs_quota_us").write_text("550000\n")
    (tmp_path / "cpu/cpu.cfs_period_us").write_text("100000\n")
    assert acceleration.available_cpus() == 6
    (tmp_path / "cpu.max").write_text("200000 100000\n")
    assert acceleration.available_cpus() == 2
    (tmp_path / "cpu.max").write_text("max 100000\n")
    assert acceleration.available_cpus() == 8


@pytest.mark.parametrize(("waited", "says"), [(0.5, False), (3.0, True)])
def test_a_training_that_waited_for_patches_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], waited: float, says: bool
) -> None:
    clock = iter([100.0, 110.0, 200.0, 210.0])
    monkeypatch.setattr("lnq.callbacks.performance.time.monotonic", lambda: next(clock))
    logged: list[float] = []

    class Module(pl.LightningModule):
        def log_dict(self, values: dict[str, float], **_: Any) -> None:
            logged.append(float(values["perf/wait_seconds"]))

    trainer = SimpleNamespace(
        world_size=1, is_global_zero=True, train_dataloader=SimpleNamespace(waited_s=waited)
    )
    callback, module = Performance(), Module()
    for _ in range(2):  # epochs
        callback.on_train_epoch_start(trainer, module)
        callback.on_train_batch_end(trainer, module, None, {"case_id": ["a"]}, 0)
        callback.on_train_epoch_end(trainer, module)
    callback.on_train_end(trainer, module)
    assert logged == [waited, waited]
    assert ("waiting for patches" in capsys.readouterr().out) is says
