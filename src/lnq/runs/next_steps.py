"""What can be done with a run next, as command lines that run as they are printed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from lnq.config.composition import compose, parsed_overrides, quoted
from lnq.data.readers import find_scans
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.runs.configuration import TrainConfig

_PLAIN = re.compile(r"[A-Za-z_./][\w./-]*", re.ASCII)
_WORDS = frozenset({"null", "true", "false", "nan", "inf"})
_OF_THE_PLACE = (
    "data.name", "store", "paths", "network", "seed", "logger", "datamodule.patch_size",
    "datamodule.batch_size", "datamodule.num_workers", "trainer.accelerator", "trainer.devices",
    "acceleration", "hydra.searchpath",
)  # fmt: skip
"""What fine-tuning takes over from pre-training's command line; its schedule is its own."""


def fine_tuning(cfg: TrainConfig, overrides: Sequence[str]) -> str:
    """DBDMP from the weights of a run of pre-training, on the same data and network.

    Args:
        cfg: Of pre-training.
        overrides: The command line that it was begun with.
    """
    experiments = ["dbdmp"]
    kept = []
    for given in parsed_overrides(overrides):
        if given.key_or_group == "experiment":
            value = given.value()
            names = value if isinstance(value, list) else [value]
            if "genesis" in names:
                experiments = ["dbdmp" if name == "genesis" else str(name) for name in names]
        elif _is_of_the_place(given.key_or_group):
            kept.append(str(given.input_line))
    chosen = experiments[0] if len(experiments) == 1 else f"[{','.join(experiments)}]"
    words = [f"+experiment={chosen}", *kept]
    # The variable may be that of one command alone.
    if "LNQ_OUTPUTS" in os.environ and not any(word.startswith("paths") for word in kept):
        words.append(override("paths.outputs", cfg.paths.outputs))
    words += _differences(cfg, OmegaConf.to_container(compose("train", words), resolve=True))
    return command_line("train", *words, override("init_from", cfg.run_dir))


def using(cfg: TrainConfig) -> list[str]:
    """The threshold, where cases are held out; masks by a run's network; the page about it."""
    scans = _scans(CaseStore(cfg.store))
    given = "input=SCANS" if scans is None else override("input", scans)
    run = override("run", cfg.run_dir)
    return [
        *([command_line("calibrate", run)] if cfg.holdout or cfg.fold is not None else []),
        command_line("predict", override("checkpoint", cfg.run_dir), given),
        command_line("report", run),
    ]


def resuming(cfg: TrainConfig, overrides: Sequence[str]) -> str:
    """The run, from its last checkpoint on.

    Args:
        cfg: Of the run.
        overrides: The command line that it was begun with.
    """
    rest = [
        str(given.input_line)
        for given in parsed_overrides(overrides)
        if given.key_or_group not in ("run_dir", "ckpt_path")
    ]
    return command_line("train", *rest, override("run_dir", cfg.run_dir), "ckpt_path=last")


def override(key: str, value: Any) -> str:
    """`key=value` as Hydra's grammar takes it, whatever a file is called."""
    return f"{key}={_value(value)}"


def command_line(stage: str, *words: str) -> str:
    """A command line as a shell takes it."""
    return shlex.join(["python", "-m", f"lnq.{stage}", *words])


def _is_of_the_place(key: str) -> bool:
    if key == "network.out_channels":
        return False
    return key == "data" or any(f"{key}.".startswith(f"{kept}.") for kept in _OF_THE_PLACE)


def _differences(cfg: TrainConfig, composed: Any) -> list[str]:
    """Overrides for what must be as in pre-training, and would not be so by itself."""
    words = []
    if Path(composed["store"]) != cfg.store:
        words.append(override("store", cfg.store))
    wanted, chosen = _plain(cfg.network), _plain(composed["network"])
    words += [f"~network.{key}" for key in chosen.keys() - wanted.keys()]
    for key, value in wanted.items():
        if key not in chosen:
            words.append("+" + override(f"network.{key}", value))
        elif chosen[key] != value:
            words.append(override(f"network.{key}", value))
    patch = list(cfg.datamodule["patch_size"])
    if list(composed["datamodule"]["patch_size"]) != patch:
        words.append(override("datamodule.patch_size", patch))
    return words


def _plain(network: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in network.items() if key != "out_channels"}


def _scans(store: CaseStore) -> Path | None:
    """Scans that the run did not see, where there are such: a folder, or one of them."""
    for split in ("test", "val", None):
        ids = store.case_ids() if split is None else store.case_ids(split=split)
        records = [store.record(case) for case in ids]
        if records:
            return _common(records)
    return None


def _common(records: Sequence[CaseRecord]) -> Path | None:
    first = records[0].image
    folder = Path(os.path.commonpath([record.image.parent for record in records]))
    if not first.exists():
        return None
    labels = {record.label for record in records if record.label is not None}
    if len(records) == 1 or (
        any(label.is_relative_to(folder) for label in labels) and labels & {*find_scans(folder)}
    ):
        return first
    return folder


def _value(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_value(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_value, value)) + "]"
    text = str(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _WORDS else quoted(text)
