"""Workers of a training: a signal to all of them, and one that fails without dying."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from support import forked
from support.runs import TINY

from lnq.data.patches import workers

Train = Callable[..., int]

RUN = ("+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=0",
       "trainer.limit_val_batches=0", "datamodule.num_workers=2")  # fmt: skip
SCRIPT = """
import sys, time
from lnq.callbacks import StepSeed
from lnq.train import main

original = StepSeed.on_train_batch_start
def hook(self, trainer, *rest):
    if trainer.global_step == 5:
        print("READY", flush=True)
        while not trainer.received_sigterm:
            time.sleep(0.05)
        time.sleep(1)  # for whatever the workers do with it
    return original(self, trainer, *rest)
StepSeed.on_train_batch_start = hook
main()
"""


@pytest.mark.process
def test_a_signal_to_the_whole_group_saves_the_run(tiny_store: Path, tmp_path: Path) -> None:
    process = forked.start(
        [sys.executable, "-c", SCRIPT, *RUN, f"store={tiny_store}", f"run_dir={tmp_path}/run"],
        start_new_session=True,
    )
    assert process.stdout is not None
    assert "READY" in process.stdout.readline()
    os.killpg(process.pid, signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 143, errors
    assert "died" not in errors
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["global_step"] == 6


@pytest.mark.training
def test_a_worker_that_cannot_send_ends_the_training(
    tiny_store: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """As in a container with 64 MB of shared memory: torch fails in a thread of the queue's."""
    parent, original = os.getpid(), torch.UntypedStorage._share_fd_cpu_

    def full(self: torch.UntypedStorage, *rest: object) -> object:
        if os.getpid() == parent:
            return original(self, *rest)
        raise RuntimeError("unable to write to file </torch_1_2>: No space left on device (28)")

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)
    monkeypatch.setattr(workers, "SMALL", 1 << 60)
    assert train(*RUN, f"store={tiny_store}", f"run_dir={tmp_path}/run") == 4
    said = capfd.readouterr().err
    assert "could not be sent to the training: unable to write to file" in said
    assert "a process that cuts patches died" in said
    assert "--shm-size" in said
    assert "Traceback" not in said
