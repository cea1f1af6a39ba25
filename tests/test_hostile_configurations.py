"""Configuration files of strangers: none runs code, writes elsewhere, or reads a secret."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from lnq.buildable import BUILDABLE, FOLDERS, WITHHELD
from lnq.config import CONF
from lnq.construction import locate
from lnq.files import provenance
from lnq.train import main

SECRET = "s3cr3t-0123456789abcdef"
CALL = "{_target_: os.system, command: touch MARKER}"
READER = "{_target_: monai.transforms.LoadImage, reader: os.system}"

# What each tries, as the body of an experiment file; MARKER and OUTSIDE stand for paths.
RUNS_CODE = {
    "a function": f"callbacks: {{x: {CALL}}}",
    "a function in a list": f"datamodule: {{transform: {{transforms: [{CALL}]}}}}",
    "a reader by name, callbacks": f"callbacks: {{x: {READER}}}",
    "a reader by name, transforms": f"datamodule: {{transform: {{transforms: [{READER}]}}}}",
    "a reader by name, optimizer": f"optimizer: {READER}",
    "a reader by name, logger": f"logger: {{x: {READER}}}",
    "a reader by name, data": f"data: {{layout: {READER}}}",
    "a reader by name, measure": f"measure: {{test: {{postprocess: {READER}}}}}",
    "a writer by name": "callbacks: {x: {_target_: monai.transforms.SaveImage, writer: os.system}}",
    "a merger by name": "method: {inferer: {_target_: monai.inferers.PatchInferer, merger_cls: x}}",
    "a lambda": "callbacks: {x: {_target_: torchio.Lambda, function: os.system}}",
    "a bundle": "callbacks: {x: {_target_: monai.apps.auto3dseg.BundleGen, algo_path: OUTSIDE}}",
    "a torch module": "network: {_target_: torch.nn.Sequential, args: MARKER}",
    "a pickle": "network: {_target_: torch.load, f: MARKER, weights_only: false}",
    "a class merely imported": "callbacks: {x: {_target_: lnq.files.Path, args: MARKER}}",
    "a strategy's settings": "trainer: {strategy: {_target_: pytorch_lightning.strategies."
    "DeepSpeedStrategy, config: OUTSIDE}}",
    "a plugin": f"trainer: {{plugins: [{CALL}]}}",
    "a dotted path through a module": "network: {_target_: lnq.files.subprocess.Popen, args: x}",
    "Hydra's callback": f"hydra: {{callbacks: {{x: {CALL}}}}}",
    "Hydra's launcher": "hydra: {launcher: {_target_: os.system, command: touch MARKER}}",
    "a handler of logging": "hydra: {job_logging: {root: {handlers: [x]}, handlers: {x: "
    "{class: builtins.open, file: MARKER}}}}",
    "a variable for git": "hydra: {job: {env_set: {GIT_EXTERNAL_DIFF: touch MARKER}}}",
    "a variable for programs": "hydra: {job: {env_set: {PATH: OUTSIDE}}}",
    "a variable for torch": "hydra: {job: {env_set: {TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD: '1'}}}",
    "a script for the cluster": "defaults: [override /hydra/launcher: slurm]\n"
    "hydra: {launcher: {setup: [touch MARKER]}}",
    "an interpreter for the cluster": "defaults: [override /hydra/launcher: slurm]\n"
    "hydra: {launcher: {python: touch MARKER}}",
    "a YAML tag": "callbacks: !!python/object/apply:os.system [touch MARKER]",
    "a node by resolver": "callbacks: {x: '${oc.create:\"" + CALL + "\"}'}",
}  # fmt: skip

WRITES_OUTSIDE = {
    "checkpoints": "callbacks: {checkpoint: {dirpath: OUTSIDE}}",
    "checkpoints by their name": "callbacks: {checkpoint: {filename: ../../../outside/x}}",
    "checkpoints on a server": "callbacks: {checkpoint: {dirpath: 's3://bucket/x'}}",
    "curves": "logger: {csv: {folder: OUTSIDE}}",
    "W&B's files": "logger: {wandb: {save_dir: OUTSIDE}}",
    "a profile": "trainer: {profiler: {_target_: pytorch_lightning.profilers.SimpleProfiler, "
    "dirpath: OUTSIDE, filename: x}}",
    "the trainer": "trainer: {default_root_dir: OUTSIDE}",
    "Hydra's folder": "hydra: {run: {dir: OUTSIDE}}",
    "Hydra's working folder": "hydra: {job: {chdir: true}}",
    "Hydra's records": "hydra: {output_subdir: .hydra}",
    "Hydra's folder of a job": "hydra: {sweep: {subdir: ../../outside}}",
}  # fmt: skip

READS_A_SECRET = {
    "by its name": "name: '${oc.env:WANDB_API_KEY}'",
    "in quotes": "name: '${oc.env:\"WANDB_API_KEY\"}'",
    "with a default": "name: '${oc.env:WANDB_API_KEY,none}'",
    "put together": "method: {note: WANDB_API, tau: '${oc.env:${method.note}_KEY}'}",
    "decoded": "name: '${oc.decode:${oc.env:WANDB_API_KEY}}'",
    "a personal access token": "name: '${oc.env:GITHUB_PAT}'",
    "a short password": "name: '${oc.env:DB_PASSWD}'",
    "an address with a password": "name: '${oc.env:STORAGE_URL}'",
    "in Hydra's node": "hydra: {sweep: {dir: '${oc.env:WANDB_API_KEY}'}}",
    "in Hydra's launcher": "hydra: {launcher: {x: '${oc.env:WANDB_API_KEY}'}}",
    "in Hydra's help": "hydra: {help: {app_name: '${oc.env:WANDB_API_KEY}'}}\n"
    "name: '${hydra:help.app_name}'",
}  # fmt: skip


@pytest.fixture(autouse=True)
def secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "GITHUB_PAT", "DB_PASSWD"):
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("STORAGE_URL", f"https://user:{SECRET}@example.org/x")


@pytest.fixture
def tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str]]:
    """`tried(body, *arguments)` runs lnq.train with such an experiment; exit code and words.

    Nothing was made outside, and nothing that was printed or written holds the secret.
    """
    marker, outside, home = (tmp_path / name for name in ("marker", "outside", "home"))
    outside.mkdir()
    home.mkdir()
    monkeypatch.chdir(home)

    def run(body: str, *arguments: str) -> tuple[int, str]:
        file = tmp_path / "own" / "experiment" / "mine.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        body = body.replace("MARKER", str(marker)).replace("OUTSIDE", str(outside))
        file.write_text(f"# @package _global_\n{body}\n")
        environment = dict(os.environ)
        with pytest.raises(SystemExit) as stop:
            main(["--config-dir", str(tmp_path / "own"), "+experiment=[dbdmp,mine]", *arguments])
        assert dict(os.environ) == environment
        assert not marker.exists()
        assert not list(outside.iterdir())
        assert not list(home.iterdir())
        out, err = capfd.readouterr()
        assert SECRET not in out + err
        assert "Traceback" not in out + err
        return int(stop.value.code or 0), out + err

    return run


BODIES = RUNS_CODE | WRITES_OUTSIDE


@pytest.mark.parametrize(
    ("name", "several"),
    [*((name, []) for name in BODIES),
     *((name, ["-m"]) for name, body in BODIES.items() if "hydra" in body)],
)  # fmt: skip
@pytest.mark.slow
def test_nothing_is_run_and_nothing_written(
    tried: Callable[..., tuple[int, str]], name: str, several: list[str]
) -> None:
    code, said = tried(BODIES[name], *several)
    assert code == 2
    assert said.startswith("error:")


@pytest.mark.parametrize("shown", [[], ["-m"], ["--cfg", "job", "--resolve"], ["--cfg=all"]],
                         ids=["run", "sweep", "shown", "all"])  # fmt: skip
@pytest.mark.parametrize("body", READS_A_SECRET)
@pytest.mark.slow
def test_no_secret_is_read(
    tried: Callable[..., tuple[int, str]], body: str, shown: list[str]
) -> None:
    code, _ = tried(READS_A_SECRET[body], *shown)
    # What is printed unresolved, or does not use what would read it, has read nothing.
    assert code == 2 or shown[0:1] in (["--cfg=all"], ["--cfg"])


def nested(depth: int) -> str:
    return "[" * depth + "]" * depth


@pytest.mark.parametrize(
    "body",
    [
        f"method: {{note: {nested(4000)}}}",
        "method: {note: &a [*a]}",
        "network: {widths: [1000000000, 1000000000]}",
        "datamodule: {patch_size: [1000000000, 1000000000, 1000000000]}",
        "datamodule: {batch_size: 1000000000}",
    ],
    ids=["lists in lists", "a list in itself", "channels", "a patch", "a batch"],
)
@pytest.mark.slow
def test_sizes_are_bounded_before_anything_is_made(
    tried: Callable[..., tuple[int, str]], body: str
) -> None:
    code, said = tried(body)
    assert code == 2
    assert said.startswith("error:")


def test_every_class_of_the_list_is_there() -> None:
    for target in BUILDABLE:
        assert isinstance(locate(target), type)
    assert set(FOLDERS) | set(WITHHELD) <= BUILDABLE


def test_every_class_of_our_files_is_in_the_list() -> None:
    named = {
        line.partition("_target_:")[2].strip()
        for path in CONF.rglob("*.yaml") if "hydra" not in path.parts
        for line in path.read_text().splitlines() if line.strip(" -").startswith("_target_:")
    }  # fmt: skip
    assert len(named) > 30
    assert named <= BUILDABLE


def test_a_launcher_s_script_may_be_given_on_the_command_line(
    tried: Callable[..., tuple[int, str]],
) -> None:
    _, said = tried("name: x", "-m", "hydra/launcher=slurm", "hydra.launcher.setup=[module load x]",
                    "network=none")  # fmt: skip
    assert "network" in said
    assert "setup" not in said


def test_git_s_variables_do_not_reach_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marker, script = tmp_path / "marker", tmp_path / "monitor"
    script.write_text(f"#!/bin/sh\ntouch {marker}\n")
    script.chmod(0o755)
    settings = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "core.fsmonitor",
                "GIT_CONFIG_VALUE_0": str(script)}  # fmt: skip
    subprocess.run(["git", "describe", "--always", "--dirty"], cwd=CONF, check=False,
                   capture_output=True, env={**os.environ, **settings})  # fmt: skip
    if not marker.exists():
        pytest.skip("no git, or no repository here")
    marker.unlink()
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    assert provenance("train", {})["git_commit"]
    assert not marker.exists()
