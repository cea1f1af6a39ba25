"""Composing a stage's configuration with Hydra, and saying what is wrong where that fails."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from lnq.config.as_written import quoted
from lnq.config.environment import guard_environment
from lnq.config.hydra_node import faults_of_hydra
from lnq.construction import nearest
from lnq.errors import ConfigError

_ANSWERED = (
    "--cfg",
    "-c",
    "--info",
    "-i",
    "--hydra-help",
    "--version",
    "--shell-completion",
    "-sc",
)
_IN_WHEEL = Path(__file__).parents[1] / "conf"
_IN_CHECKOUT = Path(__file__).parents[3] / "conf"
CONF = _IN_WHEEL if _IN_WHEEL.is_dir() else _IN_CHECKOUT
"""The folder of the configuration files: inside the wheel, or at the checkout's top level."""

guard_environment()


@dataclass(frozen=True)
class Arguments:
    """What a command line holds, as far as the check before the run needs it.

    Attributes:
        argv: All of it, as it was given.
        overrides: Hydra overrides such as `method.tau=0.2`.
        config_dir: The user's own configuration folder.
        multirun: Whether `-m` is given: comma-separated values are one job each.
        passes_through: True where Hydra only prints (`--cfg` ...).
        shown: Whether it prints the composed configuration.
        resolves: Whether that is to be resolved.
    """

    argv: tuple[str, ...]
    overrides: tuple[str, ...]
    config_dir: Path | None
    multirun: bool
    passes_through: bool
    shown: bool = False
    resolves: bool = False

    @classmethod
    def parse(cls, argv: Sequence[str]) -> Arguments:
        """Sorts `sys.argv[1:]`; Hydra itself parses it again when it runs."""
        overrides: list[str] = []
        config_dir: Path | None = None
        multirun = passes_through = shown = resolves = False
        rest = iter(argv)
        for argument in rest:
            if argument in ("--config-dir", "-cd"):
                config_dir = Path(next(rest, ""))
            elif argument.startswith("--config-dir="):
                config_dir = Path(argument.partition("=")[2])
            elif argument in ("-m", "--multirun"):
                multirun = True
            elif argument == "--resolve":
                resolves = True
            elif argument.partition("=")[0] in _ANSWERED:
                passes_through = True
                if argument.partition("=")[0] in ("--cfg", "-c"):
                    shown = True
                    if "=" not in argument:
                        next(rest, None)
            else:
                overrides.append(argument)
        return cls(
            tuple(argv), tuple(overrides), config_dir, multirun, passes_through, shown, resolves
        )

    def for_hydra(self) -> list[str]:
        """The command line as Hydra wants it: it takes no option between overrides.

        The user's folder is named as it is for the check, behind our own: Hydra's `--config-dir`
        puts it before ours, and files of the same name would be run that nobody checked.
        """
        if self.passes_through:
            return list(self.argv)
        options = ["--multirun"] if self.multirun else []
        return [*options, *self.overrides, *_search(self.config_dir)]

    def several(self) -> list[int]:
        """Places of the overrides that give several values."""
        return [
            n for n, item in enumerate(parsed_overrides(self.overrides)) if item.is_sweep_override()
        ]

    def jobs(self) -> Iterator[list[str]]:
        """The overrides of every job: one list, or the product of all comma-separated values."""
        given = parsed_overrides(self.overrides)
        for item in given:
            named = item.is_add() and item.key_or_group == "sweep"
            if (named or item.is_sweep_override()) and not self.multirun:
                what = "a sweep" if named else f"several values for {item.key_or_group}"
                raise ConfigError(
                    what, where=item.input_line,
                    remedy="add -m to run one job for each, or write a list in brackets",
                )  # fmt: skip
        choices = [
            [f"{item.get_key_element()}={value}" for value in item.sweep_string_iterator()]
            if item.is_sweep_override()
            else [item.input_line or ""]
            for item in given
        ]
        for job in itertools.product(*choices):
            yield list(job)


def parsed_overrides(overrides: Sequence[str]) -> list[Override]:
    """Overrides by Hydra's grammar.

    Raises:
        ConfigError: It does not take one of them.
    """
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise ConfigError(
            "cannot parse the command line", why=first_line(error),
            remedy="in a list, put a path with other characters than letters, digits, _, -, . "
            "and / in quotes: 'run=[\"my run\",other]'",
        ) from error  # fmt: skip


def compose(
    stage: str,
    overrides: Sequence[str],
    config_dir: Path | None = None,
    *,
    with_hydra: bool = False,
) -> DictConfig:
    """The configuration of `stage` with `overrides`, as Hydra's own run would compose it.

    Args:
        stage: Name of the primary configuration file.
        overrides: One value each.
        config_dir: The user's own configuration folder.
        with_hydra: Keep Hydra's own settings, under `hydra`, for a sweep.

    Raises:
        ConfigError: An override names nothing that exists, where the message offers the nearest
            name; or Hydra itself would build what it must not.
    """
    if config_dir is not None and not config_dir.is_dir():
        raise ConfigError("no such folder", where=f"--config-dir {config_dir}")
    already = GlobalHydra.instance().is_initialized()
    if already:
        GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            given = [*overrides, *_search(config_dir)]
            composed = hydra.compose(stage, given, return_hydra_config=True)
        faults = faults_of_hydra(composed.hydra, launches=with_hydra)
    except (
        HydraException, OmegaConfBaseException, ValueError, YAMLError, RecursionError,
        UnicodeError,
    ) as error:  # fmt: skip
        # Hydra raises a bare ValueError for trainer=null and the like; a tag in a file is YAML's.
        raise ConfigError(
            "cannot compose the configuration",
            where=f"conf/{stage}.yaml",
            why=first_line(error),
            remedy=_suggest(stage, overrides),
        ) from error
    if faults:
        raise ConfigError("\n".join(faults))
    if not with_hydra:
        with open_dict(composed):
            del composed["hydra"]
    return composed


def _search(config_dir: Path | None) -> list[str]:
    """The override that adds the user's own folder."""
    if config_dir is None:
        return []
    return [f"hydra.searchpath=[{quoted(f'file://{config_dir.resolve()}')}]"]


def flat_items(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key below `node` with the dots that lead to it, and its value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield f"{prefix}{key}", value
            yield from flat_items(value, f"{prefix}{key}.")


def _suggest(stage: str, overrides: Sequence[str]) -> str | None:
    """What the user may have meant by the overrides that name nothing."""
    try:
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            plain = hydra.compose(stage)
            known = hydra.compose(stage, [item for item in overrides if _adds_a_file(item, plain)])
            keys = [key for key, _ in flat_items(OmegaConf.to_container(known))]
    except HydraException:  # the files do not go together: there are no keys to compare with
        return None
    hints = []
    for override in overrides:
        key, _, value = override.partition("=")
        name, _, package = key.lstrip("+~").partition("@")
        if name.startswith("hydra"):
            continue
        if (CONF / name).is_dir():
            options = group_options(name)
            for option in value.strip("[]").split(","):
                if option == "null" and not key.startswith("+"):
                    hints.append(f"{name} cannot be left out; there are {', '.join(options)}")
                elif option not in options and option != "null":
                    hints.append(_did_you_mean(f"{name}={option}", option, options))
            if (package or name) not in keys and not key.startswith("+"):
                hints.append(f"write +{name}={value}")
        elif name not in keys and not key.startswith("+"):
            hints.append(_did_you_mean(name, name, keys))
    return "; ".join(hints) or None


def _adds_a_file(override: str, plain: DictConfig) -> bool:
    """Whether an override adds files that exist, or puts them in the place of a root key's."""
    name, _, value = override.partition("=")
    if not name.startswith("+") and name not in plain:
        return False
    folder = CONF / name.lstrip("+").partition("@")[0]
    chosen = [option.strip() for option in value.strip("[]").split(",")]
    return folder.is_dir() and all((folder / f"{option}.yaml").is_file() for option in chosen)


def group_options(group: str) -> list[str]:
    """Names of the files of a configuration group."""
    folder = CONF / group
    return sorted(str(p.relative_to(folder).with_suffix("")) for p in folder.rglob("*.yaml"))


def _did_you_mean(subject: str, name: str, valid: Sequence[str]) -> str:
    similar = nearest(name, valid)
    if similar is None:
        return f"there is no {subject}; there are {', '.join(valid[:20])}"
    return f"there is no {subject}; did you mean {similar}?"


def first_line(error: Exception) -> str:
    """The first line of an error's message."""
    return str(error).strip().splitlines()[0].rstrip(".")
