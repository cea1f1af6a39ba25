"""What a training prints: a bar in a terminal, one line an epoch, and at the end where all lies."""

from __future__ import annotations

import csv
import logging
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.runs import TINY

from lnq.callbacks import StepSeed
from lnq.console import duration

Train = Callable[..., int]
SHOWN = [item for item in TINY if not item.startswith("callbacks.progress")]
TIME = r"\d+ s"


@pytest.fixture
def given(tiny_store: Path, tmp_path: Path) -> list[str]:
    return [
        "+experiment=dbdmp", *SHOWN, "callbacks.ramp_up.t_max=1", "trainer.max_epochs=3",
        "trainer.check_val_every_n_epoch=2", f"store={tiny_store}", f"run_dir={tmp_path}/run",
    ]  # fmt: skip


def told(out: str) -> list[str]:
    """The lines, without the note that a busy machine gives: patches were waited for."""
    return [line for line in out.splitlines() if "waiting for patches" not in line]


@pytest.mark.training
def test_without_a_terminal_there_are_lines_only(
    given: list[str], tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(*(item for item in given if item != "callbacks.panels=null")) == 0
    said = capsys.readouterr()
    assert said.err == ""
    assert "\r" not in said.out
    assert "\x1b" not in said.out
    lines = told(said.out)
    assert lines[0] == "training on cpu: 12 steps in epochs of 4"
    number = r"\d+\.\d{4}"
    epochs = [
        rf"epoch 1/3  loss {number}  λ_p 0.0135  lr 0.0100  {TIME}  {TIME} left",
        rf"epoch 2/3  loss {number}  val/dice {number}  λ_p 2.0000  lr 0.0069  {TIME}  {TIME} left",
        rf"epoch 3/3  loss {number}  λ_p 2.0000  lr 0.0037  {TIME}",
    ]
    for line, expected in zip(lines[1:4], epochs, strict=True):
        assert re.fullmatch(expected, line), line
    run = tmp_path / "run"
    with (run / "curves.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    dice = [float(row["val/dice"]) for row in rows if row["val/dice"]][-1]
    assert re.fullmatch(rf"took        {TIME}", lines.pop(5))
    assert lines[4:] == [
        f"run         {run}",
        f"val/dice    {dice:.4f}",
        f"checkpoint  {run}/checkpoints/last.ckpt",
        f"curves      {run}/curves.csv",
        f"pictures    {run}/panels",
        f"next        python -m lnq.predict checkpoint={run} input=SCANS",
        f"next        python -m lnq.report run={run}",
    ]


@pytest.mark.training
def test_a_run_too_short_for_its_curves_is_told(
    given: list[str], tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    """In our words, and only where it is so: not where epochs alone are shorter."""
    note = "note: its curves will have no losses: of 12 steps none is the 13th"
    for interval, expected in ((13, 1), (6, 0)):
        place = f"run_dir={tmp_path}/{interval}"
        assert train(*given, place, f"trainer.log_every_n_steps={interval}") == 0
        said = capsys.readouterr()
        assert said.err == ""
        assert sum(line.startswith(note) for line in said.out.splitlines()) == expected


@pytest.mark.training
def test_the_loss_of_a_line_is_the_epochs_mean(
    given: list[str], tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    import pandas as pd

    assert train(*given, "trainer.max_epochs=2") == 0
    told = [float(loss) for loss in re.findall(r"loss (\S+)", capsys.readouterr().out)]
    means = pd.read_csv(tmp_path / "run" / "curves.csv").groupby("epoch")["train/loss"].mean()
    assert told == pytest.approx(list(means), abs=1e-4)


@pytest.mark.training
def test_in_a_terminal_there_is_a_bar_with_the_time_left(
    given: list[str], train: Train, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TTY_INTERACTIVE", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert train(*given) == 0
    said = capsys.readouterr().out
    assert "left" in said
    assert "━" in said
    assert "12/12" in said
    assert "epoch 2/3, validation" in said
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", said)
    assert len(re.findall(r"^\s*epoch \d/3  loss", plain.replace("\r", "\n"), re.M)) == 3
    # The bar is gone and the cursor is back before the summary begins.
    assert said.rindex("\x1b[?25h") < said.index("took  ")


@pytest.mark.training
def test_progress_null_is_silent(
    given: list[str], train: Train, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    heard: list[str] = []
    for library in ("pytorch_lightning", "lightning_fabric"):
        listener = logging.Handler()
        monkeypatch.setattr(listener, "emit", lambda record: heard.append(record.getMessage()))
        monkeypatch.setattr(logging.getLogger(library), "handlers", [listener])
    assert train(*given, "callbacks.progress=null", "trainer.max_epochs=1") == 0
    assert heard == []
    said = capsys.readouterr()
    assert [line.split()[0] for line in told(said.out)] == [
        "run", "took", "checkpoint", "curves", "next", "next",
    ]  # fmt: skip
    assert said.err == ""


@pytest.mark.training
def test_an_interrupt_takes_the_bar_away(
    given: list[str], train: Train, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    original = StepSeed.on_train_batch_start

    def hook(self: StepSeed, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(StepSeed, "on_train_batch_start", hook)
        patch.setenv("FORCE_COLOR", "1")
        patch.setenv("TTY_INTERACTIVE", "1")
        patch.setenv("TERM", "xterm")
        assert train(*given) == 130
    assert capsys.readouterr().out.rstrip().endswith("\x1b[?25h\r\x1b[1A\x1b[2K")
    assert train(*given, "ckpt_path=last") == 0
    resumed = capsys.readouterr().out.splitlines()
    assert resumed[0] == "training on cpu: 12 steps in epochs of 4, from step 2 on"


@pytest.mark.training
def test_pre_training_names_the_stage_that_follows(
    tiny_store: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    given = ("trainer.max_epochs=1", f"store={tiny_store}", f"run_dir={run}")
    assert train("+experiment=genesis", *SHOWN, *given) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "λ_p" not in lines[1]
    command, *words = shlex.split(lines[-1].removeprefix("next        python -m "))
    assert command == "lnq.train"
    assert words[0] == "+experiment=dbdmp"
    assert {f"store={tiny_store}", "network.widths=[2,4]", "datamodule.patch_size=[4,8,8]"} <= {
        *words
    }
    assert words[-1] == f"init_from={run}"


def test_durations_as_a_person_says_them() -> None:
    told = [duration(seconds) for seconds in (0, 7.4, 89, 90, 600, 4500, 5400, 11100, 360000)]
    assert told == [
        "0 s", "7 s", "89 s", "2 min", "10 min", "75 min", "1 h 30 min", "3 h 05 min",
        "100 h 00 min",
    ]  # fmt: skip
