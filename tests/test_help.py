"""`--help` lists whatever lies in conf/ with what each file says of itself."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support import REPOSITORY

import lnq.__main__
from lnq.config.help import help_text, one_line, opening

CONF = REPOSITORY / "conf"
COMMANDS = sorted(path.stem for path in CONF.glob("*.yaml"))
OVERLAYS = [
    (group, path.relative_to(CONF / group).with_suffix("").as_posix())
    for group in ("experiment", "sweep", "debug")
    for path in sorted((CONF / group).rglob("*.yaml"))
]


def section(text: str, group: str) -> dict[str, str]:
    """The lines below a group's title: what each says, by name; `*` is left out."""
    (block,) = re.findall(rf"^{re.escape(group)}(?::.*)?\n((?:  .*\n?)+)", text, re.MULTILINE)
    lines = [line.strip().lstrip("*").partition("  ") for line in block.splitlines()]
    return {name: said.strip() for name, _, said in lines}


def test_training_lists_every_experiment_sweep_and_debug() -> None:
    text = help_text("train")
    assert OVERLAYS
    for group, name in OVERLAYS:
        said = section(text, group)[name]
        assert said
        assert "python -m" not in said
        assert said in " ".join(opening(CONF / group / f"{name}.yaml"))
    assert "experiment: +experiment=NAME" in text
    assert text.index("experiment: ") < text.index("groups: ")


@pytest.mark.parametrize("stage", COMMANDS)
def test_each_command_explains_itself(stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        importlib.import_module(f"lnq.{stage}").main(["whatever=1", "--help"])
    assert stop.value.code == 0
    said = capsys.readouterr().out
    assert said == help_text(stage) + "\n"
    assert f"  python -m lnq.{stage}" in said  # an example
    assert ("+experiment=NAME" in said) == (stage == "train")
    assert not re.search(r"[ \t]$", said, re.MULTILINE)
    for group in re.findall(r"^  - (?!hydra)(\S+): ", (CONF / f"{stage}.yaml").read_text(), re.M):
        found = section(said, group)
        assert set(found) == {
            path.relative_to(CONF / group.split("@")[0]).with_suffix("").as_posix()
            for path in (CONF / group.split("@")[0]).rglob("*.yaml")
        }
        assert all(found.values()), f"a file of conf/{group} has no opening comment"


@pytest.mark.process
def test_a_reader_that_has_enough_is_no_fault() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "lnq.rank", "--help"], stdout=writing, stderr=subprocess.PIPE,
        text=True, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.process
def test_help_waits_for_no_library() -> None:
    ask = (
        "import runpy, sys\n"
        "sys.argv[1:] = ['--help']\n"
        f"for stage in {COMMANDS}:\n"
        "    try:\n"
        "        runpy.run_module(f'lnq.{stage}', run_name='__main__', alter_sys=True)\n"
        "    except SystemExit as stop:\n"
        "        assert stop.code == 0\n"
        "print(*{name.partition('.')[0] for name in sys.modules}, file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", ask], capture_output=True, text=True, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.stdout == "".join(help_text(stage) + "\n" for stage in COMMANDS)
    slow = {"torch", "SimpleITK", "monai", "torchio", "pytorch_lightning", "pandas", "matplotlib"}
    assert not slow & set(done.stderr.split())


@pytest.mark.process
@pytest.mark.parametrize(
    ("commands", "does_without"),
    [
        ("preprocess doctor evaluate compare rank report collect", {"torch", "monai"}),
        ("predict", {"pytorch_lightning", "torchmetrics", "wandb"}),
    ],
)
def test_commands_load_no_library_that_they_do_without(
    commands: str, does_without: set[str]
) -> None:
    modules = ", ".join(f"lnq.{name}" for name in commands.split())
    code = f"import {modules}, sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not does_without & set(done.stdout.split())


def test_defaults_and_own_keys_are_marked() -> None:
    text = help_text("train")
    assert "  *dbdmp  " in text
    assert "   genesis  " in text
    assert "  seed: 0\n" in text
    assert "defaults:" not in text
    assert "  predictions: ???           # folder of masks" in help_text("evaluate")


def test_the_users_own_folder_is_listed_too(tmp_path: Path) -> None:
    sweep = "# python -m lnq.train -m +sweep=mine\n# My own:\n# Fig. 3. And more.\n"
    for name, comment in (
        ("sweep/mine", f"# @package _global_\n{sweep}"),
        ("experiment/mine", "# @package _global_\n"),
        ("debug/mine", f"# @package _global_\n{sweep.replace('-m +sweep', '+debug')}"),
        ("network/mine", "# A third network.\n"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text(comment + "seed: 0\n")
    text = help_text("train", ["--help", "--config-dir", str(tmp_path)])
    assert "\nsweep: -m +sweep=NAME\n" in text
    assert text.index("\nexperiment: +") < text.index("\ndebug: +debug=NAME\n")
    assert section(text, "sweep")["mine"] == "My own: Fig. 3"
    assert section(text, "experiment")["mine"] == ""
    assert section(text, "network")["mine"] == "A third network"
    assert "mine" not in help_text("train")


def test_an_example_is_no_description(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    for text, said in (
        ("# What it is:\n#   python -m lnq.train x=1\n# More.\na: 1\n", "What it is"),
        ("# Also +experiment=[x,phantom].\n# What it is\n# for. More.\n", "What it is for"),
        ("a: 1\n# What it is.\n", ""),
    ):  # fmt: skip
        file.write_text(text)
        assert one_line(file) == said


def test_the_entry_point_lists_every_command_and_suggests_the_nearest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(lnq.__main__.STAGES) == COMMANDS
    for given, suggested in (("trian", "did you mean train?"), ("qqq", "no stage 'qqq'\n")):
        monkeypatch.setattr(lnq.__main__.sys, "argv", ["lnq", given])
        with pytest.raises(SystemExit) as stop:
            lnq.__main__.main()
        assert stop.value.code == 2
        assert suggested in capsys.readouterr().err
