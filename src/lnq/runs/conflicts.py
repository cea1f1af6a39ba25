"""What is wrong between several keys of a training's configuration."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from inspect import signature
from pathlib import Path
from typing import Any, TypeGuard

from lnq.callbacks import RampUp
from lnq.construction import locate, stray_files
from lnq.data.datasets.folds import fold_faults
from lnq.data.patches.corruption import GenesisCorruption
from lnq.errors import ConfigError
from lnq.methods.method import Method
from lnq.methods.mode import MODES
from lnq.networks.dual_branch_vnet import WIDTHS, total_stride


def conflicts(root: Mapping[str, Any]) -> list[str]:
    """What is wrong between several keys of the root, checked or not."""
    nodes = {key: node for key, node in root.items() if isinstance(node, Mapping)}
    home = Path(str(root.get("run_dir")))
    faults = [
        fault
        for group in ("callbacks", "logger", "trainer")
        for fault in stray_files(nodes.get(group), home, group)
    ]
    network, datamodule, trainer = (nodes.get(k, {}) for k in ("network", "datamodule", "trainer"))
    widths, patch = network.get("widths", WIDTHS), datamodule.get("patch_size")
    if _whole_numbers(widths, 2) and _whole_numbers(patch, 3) and len(patch) == 3:
        faults += _stride_conflicts(patch, total_stride(len(widths)))
    faults += _data_conflicts(nodes.get("data", {}))
    faults += fold_faults(datamodule)
    faults += _measure_conflicts(nodes.get("measure", {}), datamodule)
    faults += _corruption_conflicts(nodes.get("method"), datamodule.get("transform"))
    faults += _knowledge_conflicts(nodes.get("method"), datamodule.get("known_background"))
    faults += _ramp_conflicts(nodes.get("method"), nodes.get("callbacks", {}))
    epochs = trainer.get("max_epochs")
    if not isinstance(epochs, int) or epochs < 1:
        faults.append(f"trainer.max_epochs={epochs}: must be a whole number of at least 1")
    else:
        t_max = (nodes.get("callbacks", {}).get("ramp_up") or {}).get("t_max", 0)
        if isinstance(t_max, int) and t_max > epochs:
            faults.append(
                f"callbacks.ramp_up.t_max={t_max}: the ramp is longer than the training of "
                f"trainer.max_epochs={epochs}; use at most that"
            )
    faults += [
        f"trainer.{key}: say acceleration.{key}={trainer[key]}"
        for key in ("precision", "benchmark")
        if key in trainer
    ]
    if trainer.get("accumulate_grad_batches") not in (None, 1):
        faults.append(
            "trainer.accumulate_grad_batches: patches are counted by optimiser steps; use "
            "datamodule.batch_size, or trainer.devices, for larger batches"
        )
    for group in ("callbacks", "logger"):
        members = nodes.get(group, {})
        faults += [
            f"{group}.{name} has no _target_: say which class it is, or correct the name; "
            f"there are {', '.join(n for n in members if n != name)}"
            for name, node in members.items()
            if isinstance(node, Mapping) and "_target_" not in node
        ]
    return faults


def _whole_numbers(value: Any, at_least: int) -> TypeGuard[list[int]]:
    """Whether a value that was perhaps reported already is a list of that many integers or more."""
    is_list = isinstance(value, list | tuple) and len(value) >= at_least
    return is_list and all(isinstance(item, int) for item in value)


def _stride_conflicts(patch: Sequence[int], stride: Sequence[int]) -> list[str]:
    faults = []
    for axis, side, step in zip("zyx", patch, stride, strict=True):
        if side % step:
            lower = side // step * step
            near = f"{lower} or {lower + step}" if lower else f"{step}"
            faults.append(
                f"datamodule.patch_size={list(patch)}: its {axis} is not divisible by the "
                f"network's stride {step}; use {near}"
            )
    if tuple(patch) == tuple(stride):
        faults.append(
            f"datamodule.patch_size={list(patch)}: the deepest level would see one voxel, "
            "which cannot be normalised; use twice as much along one axis at least"
        )
    return faults


def _data_conflicts(data: Mapping[str, Any]) -> list[str]:
    """Scans that training would never read."""
    return [
        f"data.{key}: training reads what lnq.preprocess stored, not the scans; leave it out, or "
        "give store=DIR, or data.name=NAME as in preprocess"
        for key in ("root", "layout")
        if data.get(key) is not None
    ]


def _measure_conflicts(measure: Mapping[str, Any], datamodule: Mapping[str, Any]) -> list[str]:
    if datamodule.get("fold") is not None or datamodule.get("holdout"):
        return []
    return [
        f"measure.{name}.held_out: nobody is held out; give +sweep=folds or datamodule.holdout"
        for name, node in measure.items()
        if isinstance(node, Mapping) and node.get("held_out") is True
    ]


def _corruption_conflicts(method: Any, transform: Any) -> list[str]:
    """Pre-training needs corrupted patches, and nothing else can use them."""
    corrupts = any(issubclass(one, GenesisCorruption) for one in _classes(transform))
    return [
        "datamodule.transform: nothing corrupts the patches that lnq.methods.Genesis restores; use "
        "augmentation@datamodule.transform=genesis or genesis_original"
        if chosen.restores
        else f"datamodule.transform: it corrupts patches for pre-training, and {chosen.__name__} "
        "would take them for scans; use augmentation@datamodule.transform=light, full or none"
        for chosen in _classes(method)
        if issubclass(chosen, Method) and chosen.restores is not corrupts
    ]


def _knowledge_conflicts(method: Any, known: Any) -> list[str]:
    """What a mode that knows no background would not learn from."""
    name = method.get("mode") if isinstance(method, Mapping) else None
    if name not in MODES or MODES[name].knows_background:
        return []
    sources = known if isinstance(known, Mapping) else {}
    unused = [
        f"datamodule.known_background.{key}={sources[key]}"
        for key in ("ring_mm", "beyond_lungs_mm", "beyond_body_mm", "lung_heights")
        if sources.get(key) is not None
    ]
    if method.get("unknown") == "left_out":
        unused.append("method.unknown=left_out")
    return [
        f"{key}: method.mode={name} knows no background; use method.mode=recommended"
        for key in unused
    ]


def _ramp_conflicts(method: Any, callbacks: Mapping[str, Any]) -> list[str]:
    """λ_p rises to the method's λ: pre-training has none."""
    return [
        f"callbacks.{name}: it raises λ_p to method.lambda_max, which {chosen.__name__} has not; "
        f"use callbacks.{name}=null"
        for name, node in callbacks.items()
        if any(issubclass(one, RampUp) for one in _classes(node))
        for chosen in _classes(method)
        if issubclass(chosen, Method) and "lambda_max" not in signature(chosen).parameters
    ]


def _classes(node: Any) -> Iterator[type]:
    """The classes that a node and those inside it name, without what is reported as a fault."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            with suppress(ConfigError):
                yield locate(str(node["_target_"]))
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            yield from _classes(inner)
