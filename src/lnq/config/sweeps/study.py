"""A sweep whose points Optuna chooses, kept in SQLite so that it can be continued."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from hydra.core.utils import JobStatus
from omegaconf import DictConfig
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lnq.callbacks import ReportToTrial
from lnq.config.as_written import quoted
from lnq.config.sweeps.jobs import Launch, Resumable, SweepJob, say
from lnq.config.sweeps.points import Point, short_names, value_of
from lnq.curves import last_logged
from lnq.errors import UsageError
from lnq.files import sole_user
from lnq.run_folder import RunFolder
from lnq.seeding import derive_seed

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

STUDY = "study.db"
USERS_MISTAKE = 2
SOME_CASES_FAILED = 3


class Range(BaseModel):
    """Values between two ends; `log`: evenly by their order of magnitude."""

    model_config = ConfigDict(extra="forbid")

    low: float
    high: float
    log: bool = False

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high or (self.log and self.low <= 0):
            raise ValueError("low must be below high, and above 0 where log=true")
        return self


class Pruning(BaseModel):
    """Trials below the median of those before are cut short, at the moment of a validation."""

    model_config = ConfigDict(extra="forbid")

    startup_trials: Annotated[int, Field(ge=1)] = 5
    warmup_epochs: Annotated[int, Field(ge=0)] = 0


class Study:
    """Trials at points that Optuna chooses by those before; the first has the base's own values.

    The sampler's seed depends on how many trials there are: a continued study does not draw its
    first points again.

    Args:
        n_trials: Of the whole study: a larger number prolongs it.
        metric: Column of a run's `curves.csv`; its last value counts.
        direction: Whether a good value is large or small.
        space: By key, the values that are tried: two ends, or a list.
        seed: Of the sampler.
        pruning: When a hopeless trial is cut short; None = never.
        at_once: Trials side by side; None = as many as the launcher runs.
    """

    def __init__(
        self,
        n_trials: Annotated[int, Field(ge=1)],
        metric: str,
        direction: Literal["maximize", "minimize"],
        space: dict[str, Range | list[bool | int | float | str]],
        seed: Annotated[int, Field(ge=0)] = 0,
        pruning: Pruning | None = None,
        at_once: Annotated[int, Field(ge=1)] | None = None,
    ) -> None:
        self.n_trials = n_trials
        self.metric = metric
        self.direction = direction
        self.space = space
        self.seed = seed
        self.pruning = pruning
        self.at_once = at_once
        self.varied = tuple(short_names(list(space)).values())

    def points(self, base: DictConfig) -> Iterator[Point]:
        """The base and the ends of the space, which are checked before the study begins."""
        for key in self.space:
            value_of(base, key)
        yield Point("trial")
        for name, end in (("low", 0), ("high", -1)):
            values = {key: _ends(values)[end] for key, values in self.space.items()}
            yield Point(name, _overrides(values))

    def require(self, config: Any) -> None:
        """Refuses what cannot be studied, before anything is trained.

        Raises:
            UsageError: Optuna is missing, or the runs will not log the metric.
        """
        if importlib.util.find_spec("optuna") is None:
            raise UsageError(
                "Optuna is not installed",
                where="+sweep=optuna",
                remedy="pip install '.[sweep]' in the repository",
            )
        if isinstance(config, Resumable):
            config.require_logged(self.metric)

    def run(
        self, folder: Path, job_at: Callable[[Point], SweepJob], launch: Launch, at_once: int
    ) -> list[int]:
        """Runs trials until there are `n_trials`; those that a kill left unfinished go on first.

        Args:
            folder: Of the sweep; gets `study.db`.
            job_at: Makes a job.
            launch: Runs jobs.
            at_once: How many the launcher runs side by side.

        Returns:
            The exit codes.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        codes: list[int] = []
        with sole_user(folder):
            study = self._open(folder, job_at)
            done = sum(trial.state.is_finished() for trial in study.trials)
            say(f"study: {done} of {self.n_trials} trials are done, in {folder / STUDY}")
            while trials := self._next(study, self.at_once or at_once):
                jobs = [job_at(self._point(trial, folder)) for trial in trials]
                results = launch([job.overrides for job in jobs], trials[0].number)
                for trial, job, result in zip(trials, jobs, results, strict=True):
                    codes.append(self._tell(study, trial, job, result))
                if USERS_MISTAKE in codes:  # which the others would repeat
                    break
            say(self._summary(study))
        return codes

    def _open(self, folder: Path, job_at: Callable[[Point], SweepJob]) -> optuna.Study:
        import optuna
        from sqlalchemy.exc import SQLAlchemyError

        try:
            study = optuna.create_study(
                storage=f"sqlite:///{folder.absolute() / STUDY}", study_name=folder.name,
                direction=self.direction, load_if_exists=True,
            )  # fmt: skip
        except (optuna.exceptions.OptunaError, SQLAlchemyError) as error:
            raise UsageError(
                "this study cannot be read", where=folder / STUDY,
                why=str(error).splitlines()[0],
                remedy="mend it, or choose another folder with hydra.sweep.dir=DIR",
            ) from error  # fmt: skip
        before = study.user_attrs.get("metric", self.metric), study.direction.name.lower()
        if before != (self.metric, self.direction):
            raise UsageError(
                f"this study has another aim: {before[1]} {before[0]}", where=folder / STUDY,
                remedy="choose another folder with hydra.sweep.dir=DIR",
            )  # fmt: skip
        study.set_user_attr("metric", self.metric)
        study.sampler = optuna.samplers.TPESampler(
            seed=derive_seed(self.seed, "study", len(study.trials)) % 2**32, constant_liar=True
        )
        if not study.trials:
            study.enqueue_trial(self._own_values(job_at(Point("trial")).config))
        return study

    def _own_values(self, config: Any) -> dict[str, Any]:
        """What the experiment itself has, where the space holds it."""
        values: dict[str, Any] = {}
        for key, allowed in self.space.items():
            value: Any = config
            for part in key.split("."):
                value = value[part] if isinstance(value, dict) else getattr(value, part)
            inside = (
                allowed.low <= value <= allowed.high
                if isinstance(allowed, Range)
                else value in allowed
            )
            values |= {key: value} if inside else {}
        return values

    def _next(self, study: optuna.Study, count: int) -> list[FrozenTrial]:
        """Trials to run next: those begun before, then new ones up to the study's number."""
        from optuna.trial import TrialState

        begun = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        for trial in begun:
            if trial.params.keys() != self.space.keys():  # a kill while it was drawn, or new keys
                study.tell(trial.number, state=TrialState.FAIL)
        trials = [trial for trial in begun if trial.params.keys() == self.space.keys()]
        existing = sum(trial.state != TrialState.WAITING for trial in study.trials)
        distributions = {key: _distribution(values) for key, values in self.space.items()}
        while len(trials) < count and existing < self.n_trials:
            asked = study.ask(fixed_distributions=distributions)
            trials.append(study.trials[asked.number])
            existing += 1
        return trials[:count]

    def _point(self, trial: FrozenTrial, folder: Path) -> Point:
        overrides = _overrides(trial.params)
        if self.pruning is not None:
            report = {
                "_target_": quoted("lnq.callbacks.ReportToTrial"),
                "study": quoted(str(folder / STUDY)),
                "number": trial.number,
                "metric": quoted(self.metric),
                **self.pruning.model_dump(),
            }
            node = ",".join(f"{key}:{value}" for key, value in report.items())
            overrides += (f"+callbacks.trial={{{node}}}",)
        return Point(f"trial-{trial.number}", overrides)

    def _tell(self, study: optuna.Study, trial: FrozenTrial, job: SweepJob, result: Any) -> int:
        """Enters how a trial ended; the job's exit code."""
        from optuna.trial import TrialState

        if result.status is JobStatus.FAILED:
            study.tell(trial.number, state=TrialState.FAIL)
        code: int = result.return_value  # raises what the job raised
        value = last_logged(RunFolder(job.config.run_dir), self.metric)
        if study.trials[trial.number].user_attrs.get(ReportToTrial.PRUNED):
            study.tell(trial.number, state=TrialState.PRUNED)
        elif code == USERS_MISTAKE:  # its folder is in use, say: it goes on once that is mended
            say(f"{job.name} could not be run: exit code {code}")
        elif code not in (0, SOME_CASES_FAILED) or value is None:
            study.tell(trial.number, state=TrialState.FAIL)
            say(f"{job.name} failed: exit code {code}, {self.metric} is {value}")
        else:
            study.tell(trial.number, value)
            say(f"{job.name}: {self.metric} {value:.4g}")
        return code

    def _summary(self, study: optuna.Study) -> str:
        from optuna.trial import TrialState

        complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not complete:
            return "no trial was finished"
        best = study.best_trial
        values = ", ".join(f"{key}={_text(value)}" for key, value in best.params.items())
        return (
            f"best of {len(complete)} whole trials: trial-{best.number}, "
            f"{self.metric} {best.value:.4g} with {values}"
        )


def _distribution(values: Range | list[Any]) -> optuna.distributions.BaseDistribution:
    import optuna

    if isinstance(values, Range):
        return optuna.distributions.FloatDistribution(values.low, values.high, log=values.log)
    return optuna.distributions.CategoricalDistribution(values)


def _ends(values: Range | list[Any]) -> tuple[Any, Any]:
    return (values.low, values.high) if isinstance(values, Range) else (values[0], values[-1])


def _overrides(values: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(f"{key}={_text(value)}" for key, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else repr(value)
