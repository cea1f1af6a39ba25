"""A training run is found again, claimed by one process, resumed by the same configuration."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lnq.curves import read_rows
from lnq.errors import UsageError
from lnq.files import sole_user
from lnq.run_folder import RunFolder
from lnq.run_manifest import read_manifest

if TYPE_CHECKING:
    from lnq.networks.training_record import TrainingRecord  # torch, which reports do without

MAY_DIFFER = (
    "run_dir", "ckpt_path", "init_from", "paths", "logger", "measure", "expected_nodes",
    "datamodule.num_workers", "trainer.log_every_n_steps", "trainer.profiler",
    "callbacks.progress", "callbacks.panels", "callbacks.performance",
)  # fmt: skip
"""Keys that do not change what a resumed run computes, with all below them."""
OF_THE_STORE = ("store", "data.name")
"""The same where the store's content is known to be the same: it may be copied elsewhere."""
AUTO = Path("auto")
"""`ckpt_path=auto`: the run's last checkpoint, if there is one."""


def is_trained(run: RunFolder, config: dict[str, Any]) -> bool:
    """Whether a run came to its end.

    Raises:
        UsageError: It is a run of another configuration, or its manifest is damaged.
    """
    manifest = read_manifest(run)
    _refuse(run, _config_differences(config, manifest.config))
    return manifest.finished is not None


def unfinished(run: RunFolder) -> str | None:
    """What to say of a run whose training has not come to its end; None of others and of files.

    Raises:
        UsageError: Its manifest is damaged.
    """
    if not run.manifest.is_file() or read_manifest(run).finished is not None:
        return None
    return "its training has not come to its end (ckpt_path=last goes on with it)"


@contextmanager
def claimed(run: RunFolder, *, resuming: bool) -> Iterator[None]:
    """Makes the folder this run's own while the block runs, also against a kill.

    Raises:
        UsageError: It holds a run already, another process is writing it, or it is not writable.
    """
    with sole_user(run.path):
        if not resuming and run.checkpoint.exists():
            raise UsageError(
                "the folder holds a run already", where=run.path,
                remedy="add ckpt_path=last to resume it, or choose another run_dir",
            )  # fmt: skip
        yield


def check_resumable(run: RunFolder, now: TrainingRecord, begun: TrainingRecord) -> None:
    """Refuses to resume with a configuration, or data, that computes something else.

    Args:
        run: What is to be resumed.
        now: What it would be recorded as now.
        begun: What its checkpoint records.

    Raises:
        UsageError: Lists each key with its value now and then; or the run's curves are damaged.
    """
    known = begun.store_sha256 is not None
    differences = _config_differences(now.config, begun.config, OF_THE_STORE if known else ())
    differences += _differences(now.preprocessing, begun.preprocessing, "preprocessing")
    differences += _differences(now.cases, begun.cases, "cases")
    differences += _differences(now.held_out, begun.held_out, "held_out")
    if known:
        differences += _differences(now.store_sha256, begun.store_sha256, "store_sha256")
    _refuse(run, differences)
    read_rows(run)


def _refuse(run: RunFolder, changed: list[tuple[str, Any, Any]]) -> None:
    differences = [f"{key}={value!r} (was {before!r})" for key, value, before in changed]
    if differences:
        raise UsageError(
            "the configuration is not the one this run began with",
            where=run.path,
            why="; ".join(differences),
            remedy="resume with the same settings, or begin a new run in another folder "
            "(run_dir=DIR, hydra.sweep.dir=DIR for a sweep)",
        )


def _config_differences(
    now: dict[str, Any], before: dict[str, Any], free_too: tuple[str, ...] = ()
) -> list[tuple[str, Any, Any]]:
    differences = _differences(movable(now), movable(before))
    free = tuple(f"{key}." for key in (*MAY_DIFFER, *free_too))
    return [difference for difference in differences if not f"{difference[0]}.".startswith(free)]


def movable(config: dict[str, Any]) -> dict[str, Any]:
    """The configuration with the run's and the outputs' folder named, not spelt: both may move."""
    places = {
        str(config.get("run_dir")): "RUN",
        str(config.get("paths", {}).get("outputs")): "OUTPUTS",
    }

    def named(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: named(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [named(inner) for inner in value]
        if isinstance(value, str):
            for place, name in places.items():
                if value == place or value.startswith(f"{place}/"):
                    return name + value.removeprefix(place)
        return value

    return {key: named(value) for key, value in config.items()}


def _differences(now: Any, before: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    if isinstance(now, dict) and isinstance(before, dict):
        return [
            difference
            for key in sorted(now.keys() | before.keys())
            for difference in _differences(
                now.get(key), before.get(key), f"{path}.{key}".lstrip(".")
            )
        ]
    return [] if now == before else [(path, now, before)]
