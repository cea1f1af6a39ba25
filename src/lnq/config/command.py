"""What makes a function a command: arguments, checks, exit codes."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError, OmegaConfBaseException
from pydantic import ConfigDict, TypeAdapter, ValidationError

from lnq.config.as_written import as_written
from lnq.config.composition import CONF, Arguments, compose, first_line, flat_items
from lnq.config.help import answer_help
from lnq.console import console, print_on
from lnq.construction import lines_of, nearest, node_faults
from lnq.errors import ConfigError, LnqError, RunError, UsageError, printable

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from lnq.config.sweeps import Launch, Plan

INTERRUPTED = 130

_NO_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)

Schema = TypeVar("Schema", bound="DataclassInstance")
Body = Callable[[Schema], int]

_NOTHING_ELSE = ConfigDict(extra="forbid")


@dataclass(frozen=True)
class Paths:
    """Where everything goes.

    Attributes:
        outputs: The folder of all output; `paths.outputs=DIR` or the variable LNQ_OUTPUTS moves it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _NOTHING_ELSE

    outputs: Path


@dataclass(frozen=True)
class DataConfig:
    """Schema of `conf/data/NAME.yaml`.

    Attributes:
        name: The dataset's name in output folders.
        root: Where the dataset lies; None in training, which reads the store alone.
        layout: The class that lists its cases, with its arguments; None in training.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _NOTHING_ELSE

    name: str
    root: Path | None
    layout: dict[str, Any] | None


def command(
    stage: str,
    schema: type[Schema],
    *,
    given: Mapping[str, frozenset[str]] | None = None,
    prepare: Callable[[list[str]], list[str]] = list,
) -> Callable[[Body[Schema]], Callable[..., None]]:
    """Turns `body(cfg: schema) -> exit code` into the command of a stage.

    The decorated function, called without arguments, reads `sys.argv`, composes
    `conf/<stage>.yaml`, checks everything, runs the body and ends the process: 0 well, 2 user's
    mistake, 3 some cases failed, 4 environment or run failed, 130 interrupted.

    Args:
        stage: Name of the primary configuration file.
        schema: Dataclass of the root's keys; may have a static method `conflicts(root)` that lists
            what concerns several keys at once, given the root's keys, checked or not.
        given: For a root node, the constructor's arguments that the body passes itself.
        prepare: Rewrites the command line's arguments before anything else.
    """

    def decorate(body: Body[Schema]) -> Callable[..., None]:
        task = Task(stage, schema, given or {}, body)

        def main(argv: Sequence[str] | None = None) -> None:
            print_on()
            arguments = list(sys.argv[1:] if argv is None else argv)
            answer_help(stage, arguments)
            sys.exit(task.run(prepare, arguments))

        main.__doc__ = body.__doc__
        main.task = task  # type: ignore[attr-defined]  # where other processes find it
        return main

    return decorate


class Task(Generic[Schema]):
    """What Hydra calls for each job, and what a command line is checked by.

    Args:
        stage: As for `command`.
        schema: As for `command`.
        given: As for `command`.
        body: The command itself.
    """

    def __init__(
        self,
        stage: str,
        schema: type[Schema],
        given: Mapping[str, frozenset[str]],
        body: Body[Schema],
    ) -> None:
        self.stage = stage
        self.schema = schema
        self.given = given
        self.body = body
        self.codes: list[int] = []
        self.plan: Plan | None = None
        self.arguments: Arguments | None = None

    def __reduce__(self) -> tuple[object, ...]:
        """Found again by the stage's name in the processes of a launcher."""
        return _task_of, (self.stage,)

    def __call__(self, cfg: DictConfig) -> int:
        """Runs one job; its exit code."""
        warnings.formatwarning = _one_line
        self.codes.append(_guarded(lambda: self.body(self.parse(cfg))))
        if self.codes[-1] == INTERRUPTED:  # which ends a sweep, not only its current job
            sys.exit(INTERRUPTED)
        return self.codes[-1]

    def run(self, prepare: Callable[[list[str]], list[str]], argv: list[str]) -> int:
        """Checks a command line, then runs its job or jobs; the exit code."""
        warnings.formatwarning = _one_line
        self.codes.clear()
        self.plan = None
        HydraConfig.instance().cfg = None  # of an earlier command of this process
        code = _guarded(lambda: self._check(prepare(as_written(argv))))
        if code:
            return code
        assert self.arguments is not None
        sys.argv[1:] = self.arguments.for_hydra()
        if self.arguments.passes_through or self.arguments.multirun:
            hydra.main(version_base="1.3", config_path=str(CONF), config_name=self.stage)(self)()
        else:
            self._run_one(sys.argv[1:])
        return max(self.codes, default=0)

    def _run_one(self, overrides: Sequence[str]) -> None:
        """As `hydra.main` does, which composes once more to find out that it is one job."""
        with hydra.initialize_config_dir(str(CONF), job_name=self.stage, version_base="1.3"):
            begun = GlobalHydra.instance().hydra
            assert begun is not None
            begun.run(self.stage, self, [*overrides, "hydra.mode=RUN"])

    def run_sweep(self, launch: Launch) -> None:
        """Runs the jobs that were planned, by one of Hydra's launchers."""
        assert self.plan is not None
        plan = self.plan
        self.codes.append(_guarded(lambda: max(plan.run(launch), default=0)))

    def parse(self, cfg: DictConfig) -> Schema:
        """The typed form of a composed configuration; refuses what does not fit."""
        return parse(cfg, self.schema, self.given)

    def _check(self, argv: Sequence[str]) -> int:
        _require_utf_8([*argv, os.getcwd()])  # noqa: PTH109 (the same, without a Path)
        self.arguments = arguments = Arguments.parse(argv)
        if arguments.passes_through:
            if arguments.shown:
                self._check_shown(arguments)
            return 0
        if arguments.multirun:
            from lnq.config.sweeps import plan_sweep  # it needs torch, which most commands do not

            self.plan = plan_sweep(self.stage, arguments, self.parse)
        else:
            (overrides,) = arguments.jobs()
            self.parse(compose(self.stage, overrides, arguments.config_dir))
        return 0

    def _check_shown(self, arguments: Arguments) -> None:
        """What Hydra is to print is composed as for a run, and shows no secret when resolved."""
        composed = compose(self.stage, arguments.overrides, arguments.config_dir, with_hydra=True)
        if arguments.resolves:
            try:
                OmegaConf.to_container(composed, resolve=True)
            except OmegaConfBaseException as error:
                raise ConfigError(
                    "cannot resolve the configuration", why=first_line(error)
                ) from error


def _require_utf_8(names: Sequence[str]) -> None:
    """Refuses paths with which a native library ends the whole process when it writes there."""
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise UsageError("a name that is not UTF-8", where=name, remedy="rename it") from error


def given_overrides() -> list[str]:
    """What the command line of the job that runs gives, the user's own folder included."""
    of_job = HydraConfig.get().overrides
    folders = [word for word in of_job.hydra if word.startswith("hydra.searchpath=")]
    return [*of_job.task, *folders]


def is_one_of_several() -> bool:
    """Whether the job that runs is one of `-m`."""
    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _task_of(stage: str) -> Task[Any]:
    task: Task[Any] = importlib.import_module(f"lnq.{stage}").main.task
    return task


def parse(
    cfg: DictConfig, schema: type[Schema], given: Mapping[str, frozenset[str]] | None = None
) -> Schema:
    """The typed form of a composed configuration.

    Raises:
        ConfigError: All faults together, one a line.
    """
    faults = list[str]()
    try:
        plain: Any = OmegaConf.to_container(cfg, resolve=True)
    except InterpolationToMissingValueError as error:
        items = flat_items(OmegaConf.to_container(cfg))
        lines = [f"{key} is required: give {key}=VALUE" for key, value in items if value == "???"]
        raise ConfigError("\n".join(lines)) from error
    except OmegaConfBaseException as error:
        raise ConfigError("cannot resolve the configuration", why=first_line(error)) from error
    names = [field.name for field in fields(schema)]
    for key in [key for key in plain if key not in names]:
        similar = nearest(str(key), names)
        hint = f"did you mean {similar}?" if similar else f"there are {', '.join(names)}"
        faults.append(f"{key}: no such key; {hint}")
        del plain[key]
    asked = [key for key, value in plain.items() if value == "???"]
    for key in asked:
        faults.append(f"{key} is required: give {key}=VALUE")
        del plain[key]
    for key, node in plain.items():
        faults += node_faults(node, key, (given or {}).get(key, frozenset()))
    typed: Any = None
    try:
        typed = TypeAdapter(schema).validate_python(plain)
    except ValidationError as error:
        faults += [line for line in lines_of(error, "") if line.split("=")[0] not in asked]
    conflicts = getattr(schema, "conflicts", None)
    if conflicts is not None:
        faults += conflicts(plain)
    if faults:
        raise ConfigError("\n".join(faults))
    return typed


def _guarded(action: Callable[[], int]) -> int:
    """Runs `action`; what went wrong in a foreseen way is told and becomes an exit code."""
    err = console(stderr=True)
    try:
        return action()
    except LnqError as error:
        err.print(f"error: {error}" if "\n" not in error.what else f"error:\n{error.what}")
        return error.exit_code
    except KeyboardInterrupt:
        err.print("interrupted")
        return INTERRUPTED
    except OSError as error:
        if error.errno is None:
            raise
        what = "cannot write" if error.errno in _NO_WRITING else "cannot read or write"
        err.print(f"error: {RunError(what, where=error.filename, why=error.strerror)}")
        return RunError.exit_code


def _one_line(message: Warning | str, *_: object, **__: object) -> str:
    """A warning as a user reads it: without the line of code that gave it."""
    return f"warning: {printable(str(message))}\n"
