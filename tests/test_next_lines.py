"""What a run prints as `next` or after Ctrl-C is a command line that runs as it stands."""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from lnq.callbacks import StepSeed
from lnq.runs.next_steps import command_line, override

SMALL = (
    "datamodule.patch_size=[8,32,32]", "datamodule.num_workers=0", "network.widths=[2,4,8]",
    "network.dropouts=[0.05,0.1]",
)  # fmt: skip
SHORT = (
    "trainer.max_epochs=1", "datamodule.steps_per_epoch=2", "trainer.log_every_n_steps=1",
    "callbacks.progress=null", "callbacks.panels=null", "logger=csv",
)  # fmt: skip


def run(stage: str, *words: str) -> int:
    with pytest.raises(SystemExit) as end:
        importlib.import_module(f"lnq.{stage}").main(list(words))
    return int(end.value.code or 0)


def told(text: str, name: str) -> list[list[str]]:
    """The command lines that were printed under a name, as a shell reads them."""
    found = [line.removeprefix(name) for line in text.splitlines() if line.startswith(name)]
    return [shlex.split(line) for line in found]


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared phantom, in a folder whose name both a shell and Hydra would misread."""
    out = tmp_path_factory.mktemp("next") / "o'b = ü,[1]"
    size = [f"data.layout.num_{split}=1" for split in ("train", "val", "test")]
    code = run(
        "preprocess", "data=phantom", override("paths.outputs", out), *size, "num_workers=0",
        "data.layout.size_yx=64", "preprocessing.spacing_mm=[6,5,5]",
        "preprocessing.normalisation=ct",
    )  # fmt: skip
    assert code == 0
    return out


@pytest.mark.training
def test_next_lines_run_as_printed(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LNQ_OUTPUTS", raising=False)
    at = override("paths.outputs", outputs)
    assert run("train", "+experiment=[genesis,phantom]", at, *SMALL, *SHORT) == 0
    ((python, flag, module, *words),) = told(capsys.readouterr().out, "next")
    assert (python, flag, module) == ("python", "-m", "lnq.train")
    assert "+experiment=[dbdmp,phantom]" in words
    # The schedule alone is shortened.
    assert run("train", *words, *SHORT, "callbacks.ramp_up.t_max=1") == 0
    predict, report = told(capsys.readouterr().out, "next")
    assert f"{outputs}/phantom/test" in predict[4].replace("\\'", "'")
    assert run("predict", *predict[3:]) == 0
    said = r"threshold 0.5: the network has no calibration\n1 of 1  phantom-test-0001-ct  \d+ s\n"
    assert re.match(said, capsys.readouterr().out)
    assert run("report", *report[3:]) == 0
    assert list((outputs / "train" / "dbdmp").glob("*/report.html"))


@pytest.mark.training
def test_what_only_a_default_would_lose_is_spelt_out(
    outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An experiment of the user's own names network and patch; the next line has neither."""
    own = tmp_path / "conf" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - genesis\n  - override /data: phantom\n"
        "network: {widths: [2, 4, 8], dropouts: [0.05, 0.1]}\n"
        "datamodule: {patch_size: [8, 32, 32], num_workers: 0}\ntrainer: {accelerator: cpu}\n"
    )
    at = override("paths.outputs", outputs)
    given = ("--config-dir", str(tmp_path / "conf"), "+experiment=mine", at)
    assert run("train", *given, *SHORT, f"run_dir={tmp_path}/run") == 0
    ((_, _, _, *words),) = told(capsys.readouterr().out, "next")
    assert {"network.widths=[2,4,8]", "datamodule.patch_size=[8,32,32]"} <= set(words)
    short = ("callbacks.ramp_up.t_max=1", "trainer.accelerator=cpu", f"run_dir={tmp_path}/next")
    assert run("train", *words, *SHORT, *short) == 0


@pytest.mark.training
def test_an_interrupt_tells_how_to_go_on(
    outputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = StepSeed.on_train_batch_start

    def hook(self: StepSeed, trainer: object, *rest: object) -> None:
        original(self, trainer, *rest)
        if trainer.global_step == 1:
            raise KeyboardInterrupt

    given = ("+experiment=[baseline,phantom]", override("paths.outputs", outputs), *SMALL, *SHORT)
    run_dir = f"run_dir={tmp_path}/run"
    with monkeypatch.context() as patch:
        patch.setattr(StepSeed, "on_train_batch_start", hook)
        assert run("train", *given, run_dir) == 130
    said = capsys.readouterr().err
    ((_, _, _, *words),) = told(said, "to go on")
    assert words[-1] == "ckpt_path=last"
    assert run("train", *words) == 0


@pytest.mark.slow
def test_an_interrupted_preprocessing_tells_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    given = [f"data.layout.num_{split}={n}" for split, n in (("train", 1), ("val", 0), ("test", 0))]
    given += ["data=phantom", f"paths.outputs={tmp_path}", "data.layout.size_yx=32"]
    monkeypatch.setattr("lnq.preprocess.build_store", lambda *_: map(interrupt, "a"))
    assert run("preprocess", *given) == 130
    assert "give the same command again: cases that are done stay" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["plain", "a b", "it's", "back\\slash", "a=b,c", "[x]", "null", "1", "ünï", "~home"]
)
def test_any_path_reaches_the_configuration_as_it_is(
    name: str, quoted_path: Callable[[str], str]
) -> None:
    assert quoted_path(name) == name


@pytest.fixture
def quoted_path() -> Callable[[str], str]:
    """What becomes of a path on the way through a shell and Hydra's grammar."""
    from lnq.config.composition import compose

    def read(name: str) -> str:
        (word,) = shlex.split(command_line("predict", override("checkpoint", Path(name))))[3:]
        return str(compose("predict", [word, "input=x"]).checkpoint)

    return read
