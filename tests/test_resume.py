"""A run that is stopped and resumed ends with the very weights of one that was not."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support import forked
from support.faults import fill_disk_under
from support.resumed_runs import arguments, assert_same, saved
from support.runs import PICTURED

from lnq.callbacks import StepSeed
from lnq.methods import DBDMP

Train = Callable[..., int]

SCRIPT = """
import os, signal, sys, time
from lnq.callbacks import StepSeed
from lnq.train import main
original, step, kill = StepSeed.on_train_batch_start, int(sys.argv.pop(1)), sys.argv.pop(1)
def hook(self, trainer, *rest):
    if trainer.global_step == step:
        if kill == "itself":
            os.kill(os.getpid(), signal.SIGKILL)
        print("READY", flush=True)
        while not trainer.received_sigterm:
            time.sleep(0.05)
    return original(self, trainer, *rest)
StepSeed.on_train_batch_start = hook
main()
"""


@pytest.fixture(scope="module")
def undisturbed(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from lnq.train import main

    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    with pytest.raises(SystemExit) as stop:
        main(arguments(tiny_store, folder, PICTURED))
    assert not stop.value.code
    return folder


@pytest.mark.training
@pytest.mark.parametrize(
    ("sent", "step", "stopped_after", "code"),
    [
        (signal.SIGINT, 1, 2, 130),  # in the middle of the first epoch
        (signal.SIGINT, 3, 4, 130),  # at the end of an epoch
        (signal.SIGINT, 8, 9, 130),  # at the beginning of one
        (signal.SIGTERM, 5, 6, 143),
        (signal.SIGTERM, 7, 8, 143),  # at the end of an epoch, after validation
    ],
)
def test_a_signal_between_steps(
    tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    recwarn: pytest.WarningsRecorder,
    sent: signal.Signals, step: int, stopped_after: int, code: int,
) -> None:  # fmt: skip
    original = StepSeed.on_train_batch_start

    def hook(self: StepSeed, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), sent)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", hook)
    run = arguments(tiny_store, tmp_path / "run")
    assert train(*run) == code
    assert saved(tmp_path / "run")["global_step"] == stopped_after
    assert "Traceback" not in capsys.readouterr().err
    monkeypatch.undo()
    assert train(*run, "ckpt_path=last") == 0
    assert_same(tmp_path / "run", undisturbed)
    told = [str(w.message) for w in recwarn.list]
    assert not [t for t in told if "not resumable" in t or "will be deleted" in t]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.training
def test_slurm_s_signal_waits_for_a_whole_step(
    tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original, steps = torch.optim.SGD.step, itertools.count()

    def half(self: torch.optim.SGD, closure: Callable[[], float]) -> float:
        loss = closure()
        if next(steps) == 6:
            with torch.no_grad():  # what an optimiser has done when the signal meets it
                first = self.param_groups[0]["params"][0]
                before = first.clone()
                first.add_(1.0)
                os.kill(os.getpid(), signal.SIGUSR2)
                first.copy_(before)
        original(self)
        return loss

    monkeypatch.setattr(torch.optim.SGD, "step", half)
    # As submitit does at a job's time limit, once it has queued the job again.
    previous = signal.signal(signal.SIGUSR2, lambda *_: sys.exit(-1))
    run = arguments(tiny_store, tmp_path / "run")
    try:
        assert train(*run) == 130
        assert signal.getsignal(signal.SIGUSR2) not in (signal.SIG_DFL, previous)
    finally:
        signal.signal(signal.SIGUSR2, previous)
    assert saved(tmp_path / "run")["global_step"] == 7
    assert train(*run, "ckpt_path=last") == 0
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.training
@pytest.mark.parametrize(
    ("sent", "place", "code"),
    [
        (signal.SIGINT, "on_validation_start", 130),
        (signal.SIGINT, "validation_step", 130),
        (signal.SIGTERM, "validation_step", 143),
    ],
)
def test_a_signal_in_validation(
    tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
    monkeypatch: pytest.MonkeyPatch, sent: signal.Signals, place: str, code: int,
) -> None:  # fmt: skip
    original = getattr(DBDMP, place)

    def hook(self: DBDMP, *rest: Any) -> None:
        os.kill(os.getpid(), sent)
        original(self, *rest)

    monkeypatch.setattr(DBDMP, place, hook)
    run = arguments(tiny_store, tmp_path / "run")
    assert train(*run) == code
    monkeypatch.undo()
    assert train(*run, "ckpt_path=last") == 0
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.training
def test_a_crash_at_any_place_is_resumed(
    tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = arguments(tiny_store, tmp_path / "run", PICTURED)
    original = DBDMP.training_step
    for step in (2, 3, 7, 10):  # one run, stopped four times

        def hook(self: DBDMP, batch: Any, index: int, step: int = step) -> Any:
            if self.global_step == step:
                raise OSError(28, "No space left on device", "x")
            return original(self, batch, index)

        monkeypatch.setattr(DBDMP, "training_step", hook)
        assert train(*run, *(["ckpt_path=last"] if step > 2 else [])) == 4
        assert saved(tmp_path / "run")["global_step"] == step
    monkeypatch.undo()
    assert train(*run, "ckpt_path=last") == 0
    assert_same(tmp_path / "run", undisturbed, pictures=True)


@pytest.mark.training
@pytest.mark.parametrize("asynchronous", ["false", "true"])
def test_a_full_disk_ends_the_training_and_is_told(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str],
    asynchronous: str,
) -> None:  # fmt: skip
    target = tmp_path / "run" / "checkpoints" / "last.ckpt"
    fill_disk_under(target)
    chosen = f"acceleration.async_checkpoint={asynchronous}"
    assert train(*arguments(tiny_store, tmp_path / "run"), chosen) == 4
    told = f"error: cannot write [{target}]: No space left on device\n"
    assert capsys.readouterr().err == told


@pytest.mark.process
@pytest.mark.training
@pytest.mark.parametrize("kill", ["itself", "SIGTERM"])
def test_a_killed_process(tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
                          kill: str) -> None:  # fmt: skip
    (tmp_path / "script.py").write_text(SCRIPT)
    run = arguments(tiny_store, tmp_path / "run")
    process = forked.start([sys.executable, tmp_path / "script.py", "6", kill, *run])
    assert process.stdout is not None
    if kill == "SIGTERM":
        assert "READY" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == (143 if kill == "SIGTERM" else -signal.SIGKILL), errors
    assert saved(tmp_path / "run")["global_step"] == (7 if kill == "SIGTERM" else 4)
    assert train(*run, "ckpt_path=last") == 0
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.slow
def test_resuming_without_run_dir_takes_the_newest(
    tmp_path: Path, tiny_store: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("LNQ_OUTPUTS", str(tmp_path))
    given = [a for a in arguments(tiny_store, tmp_path) if not a.startswith("run_dir=")]
    runs = tmp_path / "train" / "dbdmp"
    for name in ("old", "new"):
        (runs / name / "checkpoints").mkdir(parents=True)
        (runs / name / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
    os.utime(runs / "old" / "checkpoints" / "last.ckpt", (1, 1))
    assert train(*given, "ckpt_path=last") == 2
    said = capsys.readouterr().err
    assert "damaged checkpoint" in said
    assert str(runs / "new" / "checkpoints") in said


@pytest.mark.training
def test_a_finished_run_stays_as_it_is(undisturbed: Path, tiny_store: Path, train: Train) -> None:
    before = saved(undisturbed)["state_dict"]
    curves = (undisturbed / "curves.csv").read_text()
    assert train(*arguments(tiny_store, undisturbed), "ckpt_path=last") == 0
    after = saved(undisturbed)
    assert after["global_step"] == 12
    assert all(torch.equal(value, after["state_dict"][name]) for name, value in before.items())
    assert (undisturbed / "curves.csv").read_text() == curves


@pytest.mark.training
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("method.tau=0.2", "method.tau=0.2 (was 0.3)"),
        ("trainer.max_epochs=9", "trainer.max_epochs=9 (was 3)"),
        ("seed=1", "seed=1 (was 0)"),
        ("callbacks.polynomial_lr=null", "callbacks.polynomial_lr=None (was {"),
    ],
)
def test_a_changed_configuration_is_refused(
    undisturbed: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str],
    change: str, told: str,
) -> None:  # fmt: skip
    assert train(*arguments(tiny_store, undisturbed), "ckpt_path=last", change) == 2
    assert told in capsys.readouterr().err


@pytest.mark.process
@pytest.mark.training
def test_other_numbers_of_workers_make_the_same_run(
    tmp_path: Path, tiny_store: Path, undisturbed: Path, train: Train,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = StepSeed.on_train_batch_start
    run = arguments(tiny_store, tmp_path / "run")
    for stop, workers in ((3, 0), (9, 2), (None, 0)):

        def hook(self: StepSeed, trainer: Any, *rest: Any, stop: int | None = stop) -> None:
            original(self, trainer, *rest)
            if trainer.global_step == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(StepSeed, "on_train_batch_start", hook)
        given = (f"datamodule.num_workers={workers}", *(["ckpt_path=last"] if stop != 3 else []))
        assert train(*run, *given) == (143 if stop else 0)
    assert_same(tmp_path / "run", undisturbed)


@pytest.mark.training
def test_what_is_shown_of_a_run_may_change(
    tmp_path: Path, undisturbed: Path, tiny_store: Path, train: Train
) -> None:
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    changed = ("callbacks.panels.every_n_epochs=7", "callbacks.performance=null")
    given = arguments(tiny_store, run, PICTURED)
    assert train(*given, "ckpt_path=last", *changed) == 0


@pytest.mark.training
def test_a_store_with_other_settings_or_cases_is_refused(
    tmp_path: Path, undisturbed: Path, tiny_store: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    manifest = json.loads((store / "manifest.json").read_text())
    manifest["settings"]["spacing_mm"] = [3.0, 2.0, 2.0]
    (store / "manifest.json").write_text(json.dumps(manifest))
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    assert train(*arguments(store, run), "ckpt_path=last") == 2
    said = capsys.readouterr().err
    assert "preprocessing.spacing_mm=[3.0, 2.0, 2.0] (was [3.0, 1.0, 1.0])" in said


@pytest.mark.training
def test_damaged_curves_are_refused_before_a_step_is_taken(
    undisturbed: Path, tiny_store: Path, tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(undisturbed, run)
    content = (run / "curves.csv").read_text()
    (run / "curves.csv").write_text(content.replace(".", ".1", 1))  # only the hash can tell
    before = (run / "manifest.json").read_bytes()
    assert train(*arguments(tiny_store, run), "ckpt_path=last") == 2
    assert "the run's curves are damaged" in capsys.readouterr().err
    assert (run / "manifest.json").read_bytes() == before
    (run / "curves.csv").unlink()  # as the message says
    assert train(*arguments(tiny_store, run), "ckpt_path=last") == 0


@pytest.mark.training
@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "one bit"])
def test_a_damaged_checkpoint_is_refused_and_the_one_before_named(
    tmp_path: Path, undisturbed: Path, tiny_store: Path, train: Train,
    capsys: pytest.CaptureFixture[str], damage: str,
) -> None:  # fmt: skip
    folder = tmp_path / "run" / "checkpoints"
    folder.mkdir(parents=True)
    content = bytearray((undisturbed / "checkpoints" / "last.ckpt").read_bytes())
    if damage == "one bit":
        weights = next(iter(saved(undisturbed)["state_dict"].values()))
        content[content.index(weights.numpy().tobytes())] ^= 1  # not in the padding between files
    whole = {"cut": content[: len(content) // 2], "empty": b"", "garbage": b"x" * 1000}
    (folder / "last.ckpt").write_bytes(whole.get(damage, content))
    previous = (undisturbed / "checkpoints" / "last.ckpt.previous").read_bytes()
    (folder / "last.ckpt.previous").write_bytes(previous)
    given = arguments(tiny_store, tmp_path / "run")
    assert train(*given, "ckpt_path=last") == 2
    said = capsys.readouterr().err
    assert "damaged" in said
    assert str(folder / "last.ckpt.previous") in said
    if damage != "cut":
        return  # the one before is the same
    assert train(*given, f"ckpt_path={folder}/last.ckpt.previous") == 0
    assert torch.equal(*(next(iter(saved(r)["state_dict"].values()))
                         for r in (tmp_path / "run", undisturbed)))  # fmt: skip
