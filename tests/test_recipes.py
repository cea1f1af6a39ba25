"""What the README's two commands run: every line of the recipes is a command that composes."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
from support import REPOSITORY

from lnq.config.command import parse
from lnq.config.composition import compose

STAGES = {
    "preprocess": "PreprocessConfig",
    "train": "TrainConfig",
    "predict": "PredictConfig",
    "evaluate": "EvaluateConfig",
    "report": "ReportConfig",
    "collect": "CollectConfig",
}
ROWS = ("baseline", "a", "b", "c", "d", "e", "f", "g")
INSTALL = "apt-get install -y --no-install-recommends chromium"


def recipe(target: str, *variables: str) -> str:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    dry = subprocess.run(
        ["make", "--dry-run", "--always-make", target, *variables],
        cwd=REPOSITORY, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return dry.stdout


def commands(tmp_path: Path) -> list[tuple[str, list[str]]]:
    text = recipe("demo", f"OUT={tmp_path}", "SEED=3").replace("\\\n", " ")
    found = re.findall(r"-m lnq\.(\w+) (.*?)(?:&&|\|\||;|\n|$)", text)
    each = [(stage, arguments.replace("$start", "$method_start")) for stage, arguments in found]
    (start,) = re.findall(r"\[ \$method = dbdmp \] && start=(\S+);", text)
    lines = []
    for stage, arguments in each:
        if "$method" not in arguments:
            lines.append((stage, shlex.split(arguments)))
            continue
        for method, weights in (("baseline", ""), ("dbdmp", start)):
            line = arguments.replace("$method_start", weights).replace("$method", method)
            lines.append((stage, shlex.split(line)))
    return lines


def test_the_demo_runs_every_stage_in_order(tmp_path: Path) -> None:
    lines = commands(tmp_path)
    pair = ["baseline", "dbdmp"]
    assert [stage for stage, _ in lines] == [
        "preprocess", "train", *("train" for _ in pair), *("predict" for _ in pair),
        *("evaluate" for _ in pair), "report",
    ]  # fmt: skip
    begun = [line for stage, line in lines if stage == "train"]
    assert [any("init_from" in a for a in line) for line in begun] == [False, False, True]


def check_composes(stage: str, arguments: list[str]) -> None:
    module = import_module(f"lnq.{stage}")
    given = getattr(module, "GIVEN", None)
    arguments = getattr(module, "prepare", list)(arguments)
    parse(compose(stage, arguments), getattr(module, STAGES[stage]), given)


def test_every_command_of_the_demo_composes(tmp_path: Path) -> None:
    for stage, arguments in commands(tmp_path):
        check_composes(stage, arguments)


def test_table1_measures_every_row_of_every_seed(tmp_path: Path) -> None:
    text = recipe("table1", f"TABLE1={tmp_path}", "SEEDS=3 4")
    lines = [
        (stage, shlex.split(arguments))
        for stage, arguments in re.findall(r"-m lnq\.(\w+) (.*)", text)
    ]
    for stage, arguments in lines:
        check_composes(stage, arguments)
    trained = [arguments for stage, arguments in lines if stage == "train"]
    for seed in (3, 4):
        names = [a[0] for a in trained if f"seed={seed}" in a]
        assert sorted(names) == sorted(
            f"+experiment=[{name},phantom]" for name in ("genesis", *(f"table1/{r}" for r in ROWS))
        )
    # On unseen scans, and on the training scans for the nodes that were never annotated.
    evaluated = [arguments for stage, arguments in lines if stage == "evaluate"]
    assert len(evaluated) == 2 * 2 * len(ROWS)
    hidden = [a for a in evaluated if any(x.startswith("annotations=") for x in a)]
    assert len(hidden) == len(evaluated) // 2
    assert [stage for stage, _ in lines][-1] == "collect"


def test_baseline_and_dbdmp_have_the_same_budget(tmp_path: Path) -> None:
    budget = []
    for method in ("baseline", "dbdmp"):
        cfg = compose("train", [f"+experiment=[{method},phantom]", f"run_dir={tmp_path}"])
        budget.append((cfg.trainer.max_epochs, cfg.datamodule.steps_per_epoch, cfg.optimizer.lr))
    assert budget[0] == budget[1]


def test_the_test_recipe_checks_and_tests() -> None:
    text = recipe("test")
    for tool in ("ruff check", "mypy", "lint-imports", "pytest"):
        assert tool in text


@pytest.mark.parametrize(
    ("user", "status", "present", "asked"),
    [
        (0, 0, False, ["apt-get update", INSTALL, "make test"]),
        (0, 100, False, ["apt-get update", "make test"]),  # no network, say
        (0, 0, True, ["make test"]),
        (1000, 0, False, ["make test"]),
    ],
)
def test_ci_runs_the_test_recipe_with_a_browser_where_it_can(
    user: int, status: int, present: bool, asked: list[str], tmp_path: Path
) -> None:
    said = tmp_path / "said"
    programs = {"id": f"echo {user}", "dirname": f"echo {REPOSITORY / '.ci'}"}
    for name, code in {
        "apt-get": status,
        "make": 0,
        **({"chromium": 0} if present else {}),
    }.items():
        programs[name] = f'echo "{name} $*" >> {said}; exit {code}'
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    bash = shutil.which("bash")
    assert bash is not None
    subprocess.run([bash, REPOSITORY / ".ci" / "run"], env={"PATH": str(tmp_path)}, check=True)
    assert said.read_text().splitlines() == asked


def test_the_readme_names_both_commands() -> None:
    readme = (REPOSITORY / "README.md").read_text()
    assert "make demo" in readme
    assert "make test" in readme
