"""Sweeps: every point once, jobs that are skipped, resumed and measured, launchers."""

from __future__ import annotations

import multiprocessing
import os
import re
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from support import forked
from support.runs import TINY

import lnq.collect
import lnq.preprocess
from lnq.config.composition import Arguments
from lnq.config.sweeps import OneGpuEach, Plan, plan_sweep
from lnq.config.sweeps.jobs import SweepJob, run_all
from lnq.config.sweeps.points import Point, merged, named
from lnq.train import GIVEN, TrainConfig
from lnq.train import main as train_main

Train = Callable[..., int]

# Fig. 3 (docs/explanation/method.md#table-1-the-papers-figures): default, values.
FIG3 = {
    "tau": (0.3, [0.1, 0.2, 0.3, 0.4]),
    "gamma": (0.8, [0.4, 0.6, 0.8, 1.0, 1.2]),
    "alpha": (0.4, [0.3, 0.4, 0.5, 0.6]),
    "lambda_max": (2.0, [1.4, 1.6, 1.8, 2.0, 2.2]),
}
KILLED = """
import os, signal
from lnq.callbacks import StepSeed
from lnq.train import main
original = StepSeed.on_train_batch_start
def hook(self, trainer, module, *rest):
    if module.tau == 0.3 and trainer.global_step == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return original(self, trainer, module, *rest)
StepSeed.on_train_batch_start = hook
main()
"""


ORPHANED = """
import os, signal, time
from lnq.config.sweeps import EndsWithParent
watch, (reading, writing), told = EndsWithParent(), os.pipe(), []
if os.fork():
    os.read(reading, 1)
    os.kill(os.getpid(), signal.SIGKILL)
signal.signal(signal.SIGTERM, lambda *_: told.append("SIGTERM"))
watch.on_job_start(None)
os.write(writing, b"x")
while not told:
    time.sleep(0.05)
print(*told, flush=True)
{then}
print("it goes on", flush=True)
"""


def planned(*arguments: str) -> Plan:
    from lnq.config.command import parse

    return plan_sweep(
        "train", Arguments.parse(["-m", *arguments]), lambda cfg: parse(cfg, TrainConfig, GIVEN)
    )


@pytest.mark.slow
def test_sensitivity_has_every_value_of_the_paper_once() -> None:
    sweep = planned("+experiment=dbdmp", "+sweep=sensitivity", "paths.outputs=out")
    default = tuple(own for own, _ in FIG3.values())
    found = [tuple(job.config.method[name] for name in FIG3) for job in sweep.jobs]
    expected = {default}
    for place, (_, values) in enumerate(FIG3.values()):
        expected |= {(*default[:place], value, *default[place + 1 :]) for value in values}
    assert len(found) == len(set(found)) == 15  # the defaults, which all four share, are one job
    assert set(found) == expected
    names = [job.name for job in sweep.jobs]
    assert names[:2] == ["default_seed-0", "tau-0.1_seed-0"]
    assert "lambda_max-2.2_seed-0" in names
    assert sweep.folder == Path("out/sweeps/dbdmp_sensitivity")
    for job in sweep.jobs:
        assert job.config.run_dir == sweep.folder / job.name
        assert job.config.logger["wandb"]["name"] == job.name
        group = job.config.logger["wandb"]["group"]
        assert group == "dbdmp_sensitivity: tau, gamma, alpha, lambda_max"


@pytest.mark.slow
def test_table1_has_every_row_and_takes_the_overlay() -> None:
    sweep = planned("+experiment=phantom", "+sweep=table1")
    rows = ["baseline", "a", "b", "c", "d", "e", "f", "g"]
    assert [job.name for job in sweep.jobs] == [f"row-{row}_seed-0" for row in rows]
    assert [job.config.name for job in sweep.jobs] == [f"table1_{row}" for row in rows]
    for row, job in zip(rows, sweep.jobs, strict=True):
        assert f"+experiment=[table1/{row},phantom]" in job.overrides
        assert job.config.trainer["max_epochs"] == 32


@pytest.mark.slow
def test_values_on_the_command_line_multiply() -> None:
    sweep = planned(
        "+experiment=dbdmp", "method.tau=0.1,0.2", "seed=3,4", "hydra/launcher=parallel"
    )
    assert [job.name for job in sweep.jobs] == [
        "tau-0.1_seed-3", "tau-0.1_seed-4", "tau-0.2_seed-3", "tau-0.2_seed-4",
    ]  # fmt: skip
    assert sweep.at_once >= 1
    assert not [o for job in sweep.jobs for o in job.overrides if "hydra" in o]
    point = Point("x", ("+experiment=a", "method.tau=0.4"))
    assert merged(["+experiment=[b,c]", "method.tau=0.1", "seed=1"], point) == [
        "+experiment=[a,b,c]", "seed=1", "method.tau=0.4",
    ]  # fmt: skip
    assert named({"a.seed": "1", "b.seed": "[2, 3]"}) == "a.seed-1_b.seed-2,_3"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["+sweep=sensitivity"], "Add -m"),
        (["-m", "+sweep=sensitivity", "run_dir=x"], "hydra.sweep.dir=DIR"),
        (["-m", "+sweep=sensitivity", "+experiment=genesis"], "nothing of that name to vary"),
        (["-m", "+sweep=optuna", "seed=0,1"], "a study chooses its values itself"),
        (["-m", "+sweep=optuna", "hydra.sweeper.jobs.n_trials=0"], "hydra.sweeper.jobs.n_trials=0"),
        (["-m", "hydra/sweeper=basic", "seed=0,1"], "none of lnq's"),
    ],
)
@pytest.mark.slow
def test_a_sweep_that_makes_no_sense_is_refused(
    arguments: list[str], told: str, train: Train, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    if not any("experiment" in argument for argument in arguments):
        arguments = [*arguments, "+experiment=dbdmp"]
    assert train(*arguments, f"paths.outputs={tmp_path}") == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs with a tiny phantom, preprocessed."""
    out = tmp_path_factory.mktemp("outputs")
    sizes = [f"data.layout.num_{split}=1" for split in ("train", "val", "test")]
    with pytest.raises(SystemExit) as stop:
        lnq.preprocess.main([
            "data=phantom", f"paths.outputs={out}", *sizes, "data.layout.size_yx=64",
            "num_workers=0", "preprocessing.spacing_mm=[6,5,5]", "preprocessing.normalisation=ct",
        ])  # fmt: skip
    assert not stop.value.code
    return out


@pytest.mark.process
@pytest.mark.training
def test_a_killed_sweep_goes_on_and_ends_in_a_figure(
    phantom: Path, tmp_path: Path, train: Train, capfd: pytest.CaptureFixture[str]
) -> None:
    command = [
        "-m", "+experiment=[dbdmp,phantom]", *TINY, f"paths.outputs={phantom}", "measure=phantom",
        "datamodule.patch_size=[8,32,32]", "datamodule.steps_per_epoch=2", "network.widths=[2,4,8]",
        "network.dropouts=[0.05,0.1]", "callbacks.ramp_up.t_max=1", "measure.training=null",
        "postprocess@measure.test.postprocess=none", "method.tau=0.1,0.3",
    ]  # fmt: skip
    killed = forked.run([sys.executable, "-c", KILLED, *command], timeout=300)
    assert killed.returncode == -9, killed.stderr
    folder = phantom / "sweeps" / "dbdmp"
    first, second = (folder / f"tau-{tau}_seed-0" for tau in (0.1, 0.3))
    kept = (first / "evaluation" / "manifest.json").stat().st_mtime_ns
    assert not (second / "evaluation").exists()
    assert train(*command) == 0
    said = capfd.readouterr().out
    assert "1 are finished and skipped: tau-0.1_seed-0" in said
    assert "tau-0.3_seed-0: goes on with its last checkpoint" in said
    assert (first / "evaluation" / "manifest.json").stat().st_mtime_ns == kept
    assert len(pd.read_csv(second / "evaluation" / "metrics.csv")) == 1
    curves = pd.read_csv(second / "curves.csv")
    assert curves["step"][curves["train/loss"].notna()].is_unique
    # Trained, but not measured: it is measured and not trained again.
    weights = (first / "checkpoints" / "last.ckpt").stat().st_mtime_ns
    (first / "evaluation" / "manifest.json").unlink()
    assert train(*command) == 0
    assert "1 are finished and skipped: tau-0.3_seed-0" in capfd.readouterr().out
    assert (first / "evaluation" / "manifest.json").exists()
    assert (first / "checkpoints" / "last.ckpt").stat().st_mtime_ns == weights
    # Another network under the same names is told, and nothing is run.
    assert train(*command, "network.feature_dropout=0.1") == 2
    assert "network.feature_dropout=0.1 (was 0.5)" in capfd.readouterr().err
    with pytest.raises(SystemExit) as stop:
        lnq.collect.main([f"sweep={folder}", f"paths.outputs={tmp_path}"])
    assert not stop.value.code
    assert "tau" in capfd.readouterr().out
    runs = pd.read_csv(folder / "collection" / "runs.csv")
    assert sorted(runs["method.tau"]) == [0.1, 0.3]
    assert (folder / "collection" / "sensitivity_dbdmp.png").stat().st_size > 10_000


@pytest.mark.process
@pytest.mark.parametrize("launcher", ["parallel", "submitit_local"])
def test_launchers_run_jobs_in_processes_of_their_own(
    launcher: str, tiny_store: Path, tmp_path: Path, train: Train,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    command = [
        "-m", "+experiment=dbdmp", *TINY, f"store={tiny_store}", f"paths.outputs={tmp_path}",
        "trainer.max_epochs=1", "callbacks.ramp_up=null", "method.tau=0.1,0.2",
        f"hydra/launcher={launcher}",
    ]  # fmt: skip
    command += ["hydra.launcher.n_jobs=2"] if launcher == "parallel" else []
    folder = tmp_path / "sweeps" / "dbdmp"
    damaged = folder / "tau-0.2_seed-0" / "checkpoints" / "last.ckpt"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"garbage")
    assert train(*command) == 2
    assert "not finished: tau-0.2_seed-0 (exit code 2)" in capfd.readouterr().out
    state = torch.load(folder / "tau-0.1_seed-0/checkpoints/last.ckpt", weights_only=True)
    assert state["lnq"]["config"]["method"]["tau"] == 0.1
    if launcher == "parallel":
        from joblib.externals.loky import get_reusable_executor

        get_reusable_executor().shutdown(wait=True)


@pytest.mark.process
@pytest.mark.parametrize(
    "then",
    ["watch.on_job_start(None)", "signal.signal(signal.SIGTERM, signal.SIG_DFL); time.sleep(60)"],
)
def test_a_worker_ends_with_a_killed_sweep(then: str) -> None:
    """It takes no further job, and does not wait for one either."""
    done = forked.run([sys.executable, "-c", ORPHANED.format(then=then)])
    assert (done.stdout, done.stderr) == ("SIGTERM\n", "")


def test_a_finished_sweep_launches_nothing(tmp_path: Path) -> None:
    class Finished:
        run_dir = tmp_path

        def is_finished(self) -> bool:
            return True

        def require_logged(self, metric: str) -> None:
            """Whatever it is."""

    def launch(overrides: Any, first: int) -> list[Any]:
        assert overrides, "submitit takes no empty list"
        return []

    jobs = [SweepJob(name, [], Finished()) for name in ("a", "b")]
    assert run_all(jobs, tmp_path, launch) == []


@pytest.mark.process
def test_each_worker_has_a_gpu_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    context = multiprocessing.get_context("fork")
    seen: list[str] = []
    workers = []

    def work(end: Connection) -> None:
        for _ in range(2):  # jobs
            OneGpuEach(str(tmp_path)).on_job_start(None)
            end.send(os.environ["CUDA_VISIBLE_DEVICES"])
        end.recv()

    def begin() -> None:
        ours, theirs = context.Pipe()
        worker = context.Process(target=work, args=(theirs,))
        worker.start()
        workers.append((worker, ours))
        first, second = ours.recv(), ours.recv()
        assert first == second
        seen.append(first)

    def end(number: int) -> None:
        worker, ours = workers[number]
        ours.send("enough")
        worker.join()

    for _ in range(3):
        begin()
    end(1)
    begin()  # in the place of the one that ended
    assert seen == ["4", "7", "4", "7"]
    for number in (0, 2, 3):
        end(number)


def test_a_task_is_found_again_by_its_stage() -> None:
    import pickle

    task: Any = train_main.task
    assert pickle.loads(pickle.dumps(task)) is task


@pytest.mark.process
def test_slurm_takes_every_option_of_our_launcher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import submitit
    from hydra_plugins.hydra_submitit_launcher.submitit_launcher import SlurmLauncher

    from lnq.config.composition import compose

    script = tmp_path / "script"
    for name, does in (
        ("srun", ""),
        ("sbatch", f"cp $1 {script}; echo Submitted batch job 7"),
    ):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(submitit.Job, "results", lambda _: [0])  # nothing runs it
    cfg = compose("train", ["hydra/launcher=slurm", f"paths.outputs={tmp_path}"], with_hydra=True)
    node = dict(cfg.hydra.launcher)
    assert node.pop("_target_").endswith(".SlurmLauncher")
    launcher = SlurmLauncher(**node)
    launcher.setup(hydra_context=None, task_function=None, config=cfg)
    assert launcher.launch([[f"seed={n}"] for n in range(20)], 0) == [0] * 20
    asked = set(re.findall("^#SBATCH --(.*)", script.read_text(), re.M))
    assert asked >= {"gpus-per-node=1", "time=1440", "array=0-19%16", "mem=32GB"}
