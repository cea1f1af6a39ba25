"""From a command line to a sweep's jobs, all of them checked before the first one runs."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lnq.config.as_written import quoted
from lnq.config.composition import Arguments, compose, first_line
from lnq.config.sweeps.jobs import Launch, SweepJob, run_all
from lnq.config.sweeps.points import (
    GridSearch,
    OneAtATime,
    Point,
    Points,
    merged,
    named,
    short_names,
)
from lnq.config.sweeps.study import Study
from lnq.construction import instantiate, node_faults
from lnq.errors import ConfigError, UsageError

Strategy = GridSearch | Points | OneAtATime | Study
Parse = Callable[[DictConfig], Any]

OURS = "hydra_plugins.lnq_sweeper.LnqSweeper"


@dataclass(frozen=True)
class Plan:
    """A sweep that was checked.

    Attributes:
        strategy: Which jobs there are.
        folder: Of all of them.
        jobs: In their order; of a study, the corners of its space.
        at_once: How many the launcher runs side by side.
        job_at: Makes the job of a point that is not known beforehand.
    """

    strategy: Strategy
    folder: Path
    jobs: list[SweepJob]
    at_once: int
    job_at: Callable[[Point], SweepJob]

    def run(self, launch: Launch) -> list[int]:
        """Runs what is not finished; the exit code of each job."""
        if isinstance(self.strategy, Study):
            return self.strategy.run(self.folder, self.job_at, launch, self.at_once)
        return run_all(self.jobs, self.folder, launch)


def plan_sweep(stage: str, arguments: Arguments, parse: Parse) -> Plan:
    """The sweep that a command line with `-m` asks for.

    Args:
        stage: Name of the primary configuration file.
        arguments: The command line.
        parse: Checks a composed configuration and gives its typed form.

    Raises:
        ConfigError: All faults of a job, or the sweep itself makes no sense.
    """
    several = arguments.several()
    single = [o for place, o in enumerate(arguments.overrides) if place not in several]
    hydra = compose(stage, single, arguments.config_dir, with_hydra=True).hydra
    _require_installed(str(hydra.launcher["_target_"]))
    made = _Maker(stage, arguments, parse, _folder(hydra), _strategy(hydra.sweeper))
    if isinstance(made.strategy, Study) and several:
        raise ConfigError(
            "a study chooses its values itself", where=arguments.overrides[several[0]],
            remedy="give one value",
        )  # fmt: skip
    jobs = [job for combination in arguments.jobs() for job in made.jobs(combination)]
    (twice, count), *_ = Counter(job.name for job in jobs).most_common(1)
    if count > 1 and hasattr(jobs[0].config, "run_dir"):
        raise ConfigError("several jobs would share a folder", where=made.folder / twice)
    _require_own_outputs(jobs, [arguments.overrides[place] for place in several])
    if isinstance(made.strategy, Study):
        made.strategy.require(jobs[0].config)
    first = next(arguments.jobs())
    return Plan(
        made.strategy, made.folder, jobs, max(1, int(hydra.launcher.get("n_jobs", 1))),
        lambda point: made.job(first, made.base(first), point),
    )  # fmt: skip


@dataclass(frozen=True)
class _Maker:
    """Makes jobs."""

    stage: str
    arguments: Arguments
    parse: Parse
    folder: Path
    strategy: Strategy

    def base(self, combination: Sequence[str]) -> DictConfig:
        """What is varied."""
        return compose(self.stage, combination, self.arguments.config_dir)

    def jobs(self, combination: Sequence[str]) -> list[SweepJob]:
        base = self.base(combination)
        return [self.job(combination, base, point) for point in self.strategy.points(base)]

    def job(self, combination: Sequence[str], base: DictConfig, point: Point) -> SweepJob:
        swept = dict(combination[place].split("=", 1) for place in self.arguments.several())
        known = {"seed": str(base.seed)} if "seed" in base and "seed" not in swept else {}
        name = "_".join(filter(None, [point.name, named({**swept, **known})]))
        overrides = merged(combination, point)
        if "run_dir" in base:
            overrides += self._of_its_own(name, base, list(swept))
        config = self.parse(compose(self.stage, overrides, self.arguments.config_dir))
        # Hydra repeats those of its own for each job.
        own = [o for o in overrides if not o.lstrip("+~").startswith("hydra")]
        return SweepJob(name, own, config)

    def _of_its_own(self, name: str, base: DictConfig, swept: list[str]) -> list[str]:
        """What tells a run from the others: its folder, that it goes on, its place in W&B."""
        given = {override.partition("=")[0] for override in self.arguments.overrides}
        if taken := given & {"run_dir", "ckpt_path"}:
            raise ConfigError(
                "a sweep gives each job its own folder, and goes on with it", where=min(taken),
                remedy="leave it out; hydra.sweep.dir=DIR is the folder of all jobs",
            )  # fmt: skip
        own = {"run_dir": str(self.folder / name), "ckpt_path": "auto"}
        if OmegaConf.select(base, "logger.wandb") is not None:
            varied = [*self.strategy.varied, *short_names(swept).values()]
            group = ": ".join(filter(None, [self.folder.name, ", ".join(varied)]))
            own |= {"++logger.wandb.group": group, "++logger.wandb.name": name}
        return [f"{k}={quoted(v)}" for k, v in own.items() if k.lstrip("+") not in given]


def _require_own_outputs(jobs: Sequence[SweepJob], several: Sequence[str]) -> None:
    """Refuses jobs that would replace each other's output.

    Raises:
        ConfigError: Names the first output that two of them share.
    """
    places = [_output(job.config) for job in jobs]
    twice = [place for place, count in Counter(places).items() if count > 1]
    if twice and not hasattr(jobs[0].config, "run_dir"):
        key = several[0].partition("=")[0].lstrip("+") if several else "KEY"
        raise ConfigError(
            "several jobs would write one output, of which the last would stay",
            where=twice[0] or "what this command writes is no file",
            remedy=f"name it by what varies: 'output=DIR/${{{key}}}', or run them one by one",
        )


def _output(config: Any) -> Path | None:
    """Where a job writes: `output`, or what its command takes for it."""
    place = getattr(config, "place", None) or getattr(config, "output", None)
    return None if place is None else Path(place)


def _folder(hydra: DictConfig) -> Path:
    """The folder of all jobs.

    Raises:
        ConfigError: It refers to what is not there or may not be read.
    """
    try:
        return Path(hydra.sweep.dir)
    except OmegaConfBaseException as error:
        raise ConfigError(
            "cannot resolve the configuration", where="hydra.sweep.dir", why=first_line(error)
        ) from error


def _strategy(sweeper: DictConfig) -> Strategy:
    if sweeper["_target_"] != OURS:
        raise ConfigError(
            "this sweeper is none of lnq's", where=f"hydra.sweeper._target_={sweeper['_target_']}",
            remedy="leave hydra/sweeper out; +sweep=NAME chooses a sweep",
        )  # fmt: skip
    node: Any = OmegaConf.to_container(sweeper.jobs, resolve=True)
    if faults := node_faults(node, "hydra.sweeper.jobs"):
        raise ConfigError("\n".join(faults))
    strategy = instantiate(node)
    if not isinstance(strategy, Strategy):
        raise ConfigError("this is no sweep", where=f"hydra.sweeper.jobs={node['_target_']}")
    return strategy


def _require_installed(launcher: str) -> None:
    package = ".".join(launcher.split(".")[:2])
    if importlib.util.find_spec(package) is None:
        raise UsageError(
            "this launcher is not installed", where=f"hydra/launcher: {package}",
            remedy="pip install '.[sweep]' in the repository",
        )  # fmt: skip
