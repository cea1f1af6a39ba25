"""Studies: points by Optuna, continued after a kill, prolonged, pruned, refused in time."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from hydra.core.utils import JobStatus
from optuna.trial import TrialState
from support.runs import TINY

from lnq.callbacks import ReportToTrial, StepSeed
from lnq.config.sweeps import Study
from lnq.config.sweeps.jobs import SweepJob
from lnq.config.sweeps.points import Point
from lnq.curves import last_logged
from lnq.errors import UsageError
from lnq.run_folder import RunFolder

Train = Callable[..., int]


def command(store: Path, outputs: Path, *more: str) -> list[str]:
    return [
        "-m", "+experiment=dbdmp", "+sweep=optuna", *TINY, f"store={store}",
        f"paths.outputs={outputs}", "trainer.max_epochs=1", "datamodule.steps_per_epoch=2",
        "callbacks.ramp_up.t_max=1", "trainer.check_val_every_n_epoch=1", *more,
    ]  # fmt: skip


def study_in(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name=None, storage=f"sqlite:///{folder / 'study.db'}")


@pytest.mark.training
def test_a_study_is_continued_and_prolonged(
    tiny_store: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    original, folder = StepSeed.on_train_batch_start, tmp_path / "sweeps" / "dbdmp_optuna"

    def stop_second(self: StepSeed, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if "trial-1_" in trainer.default_root_dir:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", stop_second)
    given = command(tiny_store, tmp_path, "hydra.sweeper.jobs.n_trials=2")
    assert train(*given) == 130
    first, second = study_in(folder).trials
    assert (first.state, second.state) == (TrialState.COMPLETE, TrialState.RUNNING)
    assert first.params == {
        "method.tau": 0.3, "method.gamma": 0.8, "method.alpha": 0.4, "method.lambda_max": 2.0,
    }  # fmt: skip
    monkeypatch.undo()
    assert train(*given) == 0
    assert "trial-1_seed-0: goes on with its last checkpoint" in capsys.readouterr().out
    assert study_in(folder).trials[1].params == second.params
    given[-1] = "hydra.sweeper.jobs.n_trials=3"
    assert train(*given) == 0
    assert "best of 3 whole trials" in capsys.readouterr().out
    trials = study_in(folder).trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 3
    assert len({tuple(trial.params.values()) for trial in trials}) == 3
    for trial in trials:
        run = folder / f"trial-{trial.number}_seed-0"
        assert trial.value == last_logged(RunFolder(run), "val/dice")
        method = json.loads((run / "manifest.json").read_text())["config"]["method"]
        assert {f"method.{key.partition('.')[2]}": method[key.partition(".")[2]]
                for key in trial.params} == trial.params  # fmt: skip
    # A study that is done stays as it is; one with another aim is refused.
    assert train(*given) == 0
    assert len(study_in(folder).trials) == 3
    assert train(*given, "hydra.sweeper.jobs.metric=train/loss") == 2
    assert "another aim: maximize val/dice" in capsys.readouterr().err


@pytest.mark.slow
def test_how_a_trial_ended_is_entered(tmp_path: Path) -> None:
    study = Study(6, "val/dice", "maximize", {"x": [0.5, 0.7]})
    outcomes = [(0, 0.5), (3, 0.4), (4, 0.3), (0, None), (0, 0.1), (2, None)]
    pruned = 4

    def job_at(point: Point) -> SweepJob:
        return SweepJob(point.name, [], SimpleNamespace(x=0.5, run_dir=tmp_path / point.name))

    def launch(overrides: Any, first: int) -> list[Any]:
        code, value = outcomes[first]
        run = tmp_path / f"trial-{first}"
        run.mkdir(exist_ok=True)
        if value is not None:
            (run / "curves.csv").write_text(f"step,val/dice\n0,{value}\n")
        if first == pruned:
            stored = study_in(tmp_path)
            trial = optuna.Trial(stored, stored.trials[first]._trial_id)
            trial.set_user_attr(ReportToTrial.PRUNED, True)
        return [SimpleNamespace(status=JobStatus.COMPLETED, return_value=code)]

    assert study.run(tmp_path, job_at, launch, 1) == [code for code, _ in outcomes]
    trials = study_in(tmp_path).trials
    assert [(trial.state.name, trial.value) for trial in trials] == [
        ("COMPLETE", 0.5), ("COMPLETE", 0.4), ("FAIL", None), ("FAIL", None),
        ("PRUNED", None), ("RUNNING", None),
    ]  # fmt: skip
    # What could not be run is run once it can.
    outcomes[5] = (0, 0.2)
    assert study.run(tmp_path, job_at, launch, 1) == [0]
    assert study_in(tmp_path).trials[5].value == 0.2
    assert len(study_in(tmp_path).trials) == 6


def test_a_study_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database" * 100)
    with pytest.raises(UsageError, match="this study cannot be read"):
        Study(1, "val/dice", "maximize", {"x": [0.5, 0.7]}).run(tmp_path, no_job, no_job, 1)


def no_job(*_: Any) -> Any:
    raise AssertionError("there is nothing to run")


@pytest.mark.process
def test_a_hopeless_trial_is_cut_short(tiny_store: Path, tmp_path: Path, train: Train) -> None:
    storage = f"sqlite:///{tmp_path / 'study.db'}"
    study = optuna.create_study(storage=storage, study_name="s", direction="maximize")
    study.add_trial(optuna.create_trial(value=0.9, intermediate_values={0: 1.1, 1: 1.1}))
    trial = study.ask()
    given = [
        "+experiment=dbdmp", *TINY, f"store={tiny_store}", "callbacks.ramp_up.t_max=1",
        "trainer.check_val_every_n_epoch=1",
        "+callbacks.trial={_target_:lnq.callbacks.ReportToTrial,metric:val/dice,startup_trials:1,"
        f"number:{trial.number},study:'{tmp_path / 'study.db'}'}}",
    ]  # fmt: skip
    assert train(*given, f"run_dir={tmp_path / 'run'}") == 0
    (told,) = [t for t in study.trials if t.number == trial.number]
    assert told.user_attrs == {"pruned": True}
    assert list(told.intermediate_values) == [0]  # the second epoch was not trained
    assert "finished" not in json.loads((tmp_path / "run" / "manifest.json").read_text())
    given[-1] = given[-1].replace("startup_trials:1", "startup_trials:2")
    assert train(*given, f"run_dir={tmp_path / 'whole'}") == 0
    assert "finished" in json.loads((tmp_path / "whole" / "manifest.json").read_text())


@pytest.mark.parametrize("cause", ["no validation case", "no validation"])
@pytest.mark.slow
def test_a_metric_that_is_never_measured_is_refused_at_once(
    cause: str, tiny_store: Path, tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    store = tmp_path / "store"
    shutil.copytree(tiny_store, store)
    given = command(store, tmp_path / "out", "hydra.sweeper.jobs.n_trials=1")
    if cause == "no validation":
        given += ["trainer.limit_val_batches=0"]
    else:
        manifest = json.loads((store / "manifest.json").read_text())
        manifest["cases"].remove("v")
        (store / "manifest.json").write_text(json.dumps(manifest))
    assert train(*given) == 2
    said = capsys.readouterr().err
    assert "val/dice would never be measured" in said
    assert "train/loss with direction=minimize" in said
    assert not (tmp_path / "out").exists()
