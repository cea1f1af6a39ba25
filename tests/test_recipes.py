"""What the Makefile and CI run: recipes are run with tools that only note what they are asked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
from support import REPOSITORY

from lnq.config.command import parse
from lnq.config.composition import compose

pytestmark = pytest.mark.process

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
NOTING = r"""#!/bin/sh
printf '%s\0' "${0##*/}" "$@" '
' >> "$NOTED"
for word; do case $word in run_dir=*) mkdir -p "${word#run_dir=}";; esac; done
[ -z "$FAILING" ] || case "${0##*/} $*" in *"$FAILING"*) exit 1;; esac
"""
"""Stands for every tool: notes its words, makes a run's folder, fails where it is told to."""

Call = list[str]


@dataclass(frozen=True)
class Recipes:
    """The Makefile with an environment of noting tools."""

    folder: Path

    def make(self, *words: str, failing: str = "") -> tuple[int, list[Call]]:
        """Exit code of `make`, and what it ran, in order."""
        noted = self.folder / "noted"
        noted.unlink(missing_ok=True)
        done = subprocess.run(
            ["make", *words, f"VENV={self.folder / 'venv'}"], cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "NOTED": str(noted), "FAILING": failing},
            capture_output=True, check=False,
        )  # fmt: skip
        text = noted.read_text() if noted.exists() else ""
        return done.returncode, [call.split("\0") for call in text.split("\0\n\0") if call]

    def stages(self, *words: str, failing: str = "") -> tuple[int, list[tuple[str, Call]]]:
        """The same of recipes that run nothing but stages of ours: stage and its arguments."""
        code, calls = self.make(*words, failing=failing)
        assert all(call[:2] == ["python", "-m"] for call in calls)
        return code, [(call[2].removeprefix("lnq."), call[3:]) for call in calls]


@pytest.fixture
def recipes(tmp_path: Path) -> Recipes:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine")
    tools = tmp_path / "venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("python", "ruff", "mypy", "lint-imports"):
        (tools / name).write_text(NOTING)
        (tools / name).chmod(0o755)
    (tmp_path / "venv" / ".ready").touch()
    return Recipes(tmp_path)


def check_composes(stage: str, arguments: Call) -> None:
    module = import_module(f"lnq.{stage}")
    given = getattr(module, "GIVEN", None)
    arguments = getattr(module, "prepare", list)(arguments)
    parse(compose(stage, arguments), getattr(module, STAGES[stage]), given)


def by_run(lines: list[tuple[str, Call]]) -> dict[str, list[str]]:
    """What the demo does of each of its runs, in order; those of the methods are side by side."""
    found: dict[str, list[str]] = {}
    for stage, arguments in lines:
        run = re.search(r"/demo/(genesis|baseline|dbdmp)\b", str(arguments))
        if run is not None and stage != "report":
            found.setdefault(run[1], []).append(f"lnq.{stage} {arguments}")
    return found


def test_the_demo_runs_every_stage_in_order(recipes: Recipes) -> None:
    code, lines = recipes.stages("demo", f"OUT={recipes.folder}/demo", "SEED=3")
    assert code == 0
    for stage, arguments in lines:
        check_composes(stage, arguments)
    stages = [stage for stage, _ in lines]
    assert (stages[0], stages[-1], len(stages)) == ("preprocess", "report", 9)
    runs = by_run(lines)
    assert [call.split()[0] for call in runs["genesis"]] == ["lnq.train"]
    for method in ("baseline", "dbdmp"):
        done = [call.split()[0] for call in runs[method]]
        assert done == ["lnq.train", "lnq.predict", "lnq.evaluate"]
    begun = [str(arguments) for stage, arguments in lines if stage == "train"]
    assert all("seed=3" in line for line in begun)
    (fine_tuned,) = [n for n, line in enumerate(begun) if "init_from" in line]
    assert "experiment=[dbdmp" in begun[fine_tuned]
    assert any("experiment=[genesis" in line for line in begun[:fine_tuned])


@pytest.mark.parametrize(
    ("failing", "not_begun"),
    [("lnq.preprocess", {"genesis", "baseline", "dbdmp"}), ("experiment=[genesis", {"dbdmp"}),
     ("experiment=[baseline", set()), ("experiment=[dbdmp", set()), ("lnq.predict", set()),
     ("lnq.evaluate", set()), ("lnq.report", set())],
)  # fmt: skip
def test_the_demo_ends_where_a_stage_fails(
    failing: str, not_begun: set[str], recipes: Recipes
) -> None:
    code, lines = recipes.stages("demo", f"OUT={recipes.folder}/demo", failing=failing)
    assert code != 0
    assert ("report" in [stage for stage, _ in lines]) is (failing == "lnq.report")
    runs = by_run(lines)
    assert not not_begun & runs.keys()
    for calls in runs.values():
        assert not any(failing in call for call in calls[:-1])  # the last of its run


def test_table1_measures_every_row_of_every_seed(recipes: Recipes) -> None:
    given = ("table1", f"TABLE1={recipes.folder}/table1", "SEEDS=3 4")
    code, lines = recipes.stages(*given)
    assert code == 0
    assert lines[-1][0] == "collect"
    third, fourth = (
        [line for line in lines if re.search(rf"seed=?{seed}\b", str(line))] for seed in (3, 4)
    )
    assert len(third) + len(fourth) == len(lines) - 1
    assert str(sorted(fourth)) == re.sub(r"seed(=?)3\b", r"seed\g<1>4", str(sorted(third)))
    trained = [arguments[0] for stage, arguments in third if stage == "train"]
    beside = "recommended", "complete"
    assert sorted(trained) == sorted(
        f"+experiment=[{name},phantom]"
        for name in ("genesis", *(f"table1/{row}" for row in (*ROWS, *beside)))
    )
    # Each row cuts at the threshold that it chose itself; what is recommended has its own mode.
    chosen = [arguments[0] for stage, arguments in third if stage == "calibrate"]
    assert {run.rpartition("/")[2] for run in chosen} == {*ROWS, *beside}
    modes = {a[0]: [x for x in a if x.startswith("method.mode=")] for s, a in third if s == "train"}
    assert modes["+experiment=[table1/recommended,phantom]"] == ["method.mode=recommended"]
    assert modes["+experiment=[table1/g,phantom]"] == ["method.mode=original"]
    # On unseen scans, and on the training scans for the nodes that were never annotated.
    evaluated = [arguments for stage, arguments in third if stage == "evaluate"]
    assert len(evaluated) == 2 * (len(ROWS) + 1) + 1  # complete labels hide no node
    hidden = [a for a in evaluated if any(x.startswith("annotations=") for x in a)]
    assert len(hidden) == len(ROWS) + 1
    for stage, arguments in lines:
        if "/seed3/a/" in str(arguments) or (stage == "train" and "seed=3" in arguments):
            check_composes(stage, arguments)
    # Again: what is finished stays.
    assert [stage for stage, _ in recipes.stages(*given)[1]] == ["collect"]
    (recipes.folder / "table1/seed4/b/.measured").unlink()
    code, lines = recipes.stages(*given, failing="lnq.evaluate")
    assert code != 0
    assert [stage for stage, _ in lines] == ["train", "calibrate", "predict", "evaluate"]
    assert lines[0][1][0] == "+experiment=[table1/b,phantom]"


def test_baseline_and_dbdmp_have_the_same_budget(recipes: Recipes) -> None:
    _, lines = recipes.stages("demo", f"OUT={recipes.folder}/demo")
    budget = []
    for stage, arguments in lines:
        if stage == "train" and "genesis," not in arguments[0]:
            cfg = compose("train", arguments)
            budget.append(
                (cfg.trainer.max_epochs, cfg.datamodule.steps_per_epoch, cfg.optimizer.lr)
            )
    assert len(budget) == 2
    assert budget[0] == budget[1]


CHECKS = ["ruff format", "ruff check", "mypy", "lint-imports"]


def test_the_test_recipe_checks_and_tests(recipes: Recipes) -> None:
    code, calls = recipes.make("test")
    assert code == 0
    *checks, tests = calls
    assert len(checks) == len(CHECKS)
    for check, name in zip(checks, CHECKS, strict=True):
        assert " ".join(check).startswith(name)
    assert tests[:3] == ["python", "-m", "pytest"]
    assert "-m" not in tests[3:]  # every lane


@pytest.mark.parametrize("failing", [*CHECKS, "pytest"])
def test_the_test_recipe_fails_where_a_check_does(failing: str, recipes: Recipes) -> None:
    code, calls = recipes.make("test", failing=failing)
    assert code != 0
    assert failing in " ".join(calls[-1])


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
