"""Hydra's own node: Hydra builds what it names before any command of ours has a say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

BUILDABLE = frozenset({
    "hydra._internal.core_plugins.basic_launcher.BasicLauncher",
    "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    "hydra_plugins.hydra_joblib_launcher.joblib_launcher.JoblibLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.LocalLauncher",
    "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher",
    "hydra_plugins.lnq_sweeper.LnqSweeper",
    *(f"lnq.config.sweeps.{n}" for n in (
        "EndsWithParent", "GridSearch", "OneAtATime", "OneGpuEach", "Points", "Study",
    )),
})  # fmt: skip
"""Hydra calls whatever a `_target_` names, so that these are named whole."""

FIXED: Mapping[str, Any] = {
    "run.dir": ".", "output_subdir": None, "sweep.subdir": ".",
    "job.chdir": False, "job.env_set": {}, "job.env_copy": [],
    "launcher.pre_dispatch": "all", "launcher.backend": None, "launcher.temp_folder": None,
    "launcher.initializer": None,
}  # fmt: skip
"""Where jobs run and write, and their environment, with which programs and settings are found."""

RUN_BY_LAUNCHER = ("setup", "python", "srun_args", "additional_parameters")
"""Of a launcher, what a job's shell script takes over; only a command line may say it."""


def faults_of_hydra(node: DictConfig, *, launches: bool) -> list[str]:
    """What Hydra must not build or call by itself.

    Args:
        node: The node `hydra` of a composed configuration.
        launches: Whether it is a sweep's, of which the launcher and the sweeper are built too.
    """
    faults = []
    for name in ("callbacks", "launcher", "sweeper"):
        # Resolved where it is built: an interpolation may bring a node, too.
        built = launches or name == "callbacks"
        plain = OmegaConf.to_container(node[name], resolve=built)
        faults += [
            f"{place}: _target_ {target} is not allowed: Hydra itself would call it"
            for place, target in _targets(plain, f"hydra.{name}")
            if target not in BUILDABLE
        ]
    faults += [
        f"hydra.{key}={value!r}: leave it as it is, {FIXED[key]!r}"
        for key, value in _values(node, FIXED)
        if value != FIXED[key]
    ]
    given = {str(one).lstrip("+~").partition("=")[0] for one in node.overrides.hydra or ()}
    faults += [
        f"hydra.{key}: it would be run; give it on the command line, where you see it"
        for key, value in _values(node, [f"launcher.{name}" for name in RUN_BY_LAUNCHER])
        if value and not any(f"hydra.{key}".startswith(one) for one in given if "launcher." in one)
    ]
    # logging.config imports and calls what its handlers and formatters name.
    faults += [
        f"hydra.{name}: the commands print by themselves; leave hydra/{name}=none"
        for name in ("job_logging", "hydra_logging")
        if node[name] is None or node[name].get("root") is not None
    ]
    if node.mode is not None:
        faults.append(f"hydra.mode={node.mode.name}: leave it out; -m runs a sweep")
    return faults


def _values(node: DictConfig, keys: Iterable[str]) -> Iterator[tuple[str, Any]]:
    """The keys that there are, with their values in plain types."""
    for key in keys:
        parent, _, name = key.rpartition(".")
        inside = OmegaConf.select(node, parent) if parent else node
        if isinstance(inside, DictConfig) and name in inside:
            value = inside[name]
            yield key, OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _targets(node: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        if "_target_" in node:
            yield place, node["_target_"]
        for key, value in node.items():
            yield from _targets(value, f"{place}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _targets(value, f"{place}[{number}]")
