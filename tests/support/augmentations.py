"""Transforms of the augmentation sets, each by itself, and patches for them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torchio as tio
import yaml

from lnq.config import CONF, instantiate

FOLDER = CONF / "augmentation"
SIZE = (8, 24, 32)
SPACING = (3.0, 1.0, 1.0)  # what write_store gives
Transform = Callable[[tio.Subject], tio.Subject]
# What nnU-Net's own set says, in its order; a channel is blurred or made coarse half of the time.
PROBABILITY = {
    "rotation": 0.2,
    "scaling": 0.2,
    "RandomNoise": 0.1,
    "RandomBlur": 0.1,
    "RandScaleIntensity": 0.15,
    "RandScaleIntensityFixedMean": 0.15,
    "RandSimulateLowResolution": 0.125,
    "inverted gamma": 0.1,
    "gamma": 0.3,
    "RandomFlip": 1 - 0.5**3,
}


def node(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text())


def called(entry: dict[str, Any]) -> str:
    """The name in PROBABILITY of an entry of full.yaml."""
    inner = entry.get("transform", entry)
    name = str(inner["_target_"]).rpartition(".")[2]
    if name == "RandomAffine":
        return "rotation" if inner["degrees"] else "scaling"
    if name == "RandAdjustContrast":
        return "inverted gamma" if inner.get("invert_image") else "gamma"
    return name


def full(name: str, *, always: bool) -> Transform:
    """One transform of full.yaml alone, as often as it says or always."""
    entry = copy.deepcopy({called(e): e for e in node("full")["transforms"]}[name])
    if always:
        inner = entry.get("transform", entry)
        key = {"RandomFlip": "flip_probability"}.get(name, "prob" if "prob" in inner else "p")
        inner[key] = 1.0
    transform: Transform = instantiate({"_target_": "torchio.Compose", "transforms": [entry]})
    return transform


def subject_of(image: np.ndarray, label: np.ndarray | None = None) -> tio.Subject:
    affine = np.diag([*SPACING, 1.0])
    marked = np.zeros(image.shape, np.uint8) if label is None else label
    return tio.Subject(
        image=tio.ScalarImage(tensor=torch.from_numpy(image.astype(np.float32))[None],
                              affine=affine),
        label=tio.LabelMap(tensor=torch.from_numpy(marked.astype(np.uint8))[None], affine=affine),
    )  # fmt: skip


def noise(seed: int = 0, size: tuple[int, int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=size).astype(np.float32)


def changed(transform: Transform, image: np.ndarray, seed: int = 0) -> np.ndarray:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return transform(subject_of(image))["image"].data[0].numpy()
