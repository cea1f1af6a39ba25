"""Writes a phantom dataset in LNQ2023's own layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from lnq.data.case import Split
from lnq.data.phantom.annotation import AnnotationPolicy
from lnq.data.phantom.render import render
from lnq.data.phantom.scanner import Acquisition, draw_acquisition
from lnq.data.phantom.thorax import Thorax, draw_thorax
from lnq.errors import UsageError
from lnq.files import read_json, sole_user, write_json
from lnq.seeding import generator
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

RECORD = "phantom.json"
_UNFINISHED = "phantom-unfinished.json"
PREFIX = "phantom-"
"""What every case's id begins with: nobody may take one for a patient, or for the challenge's."""
# Part of the settings, so that a changed phantom is not mistaken for one already on the disk. Those
# of version 1 had the challenge's ids.
VERSION = 2
Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One finished phantom.

    Attributes:
        image: CT in HU, int16, `z y x`.
        instances: complete labels, uint8 `z y x`: 0 background, 1..K the nodes.
        annotated: ids of the nodes the policy chose.
        nodes: a record of each node, in the order of the ids.
        thorax: what was drawn.
    """

    image: Volume
    instances: Volume
    annotated: frozenset[int]
    nodes: tuple[dict[str, Any], ...]
    thorax: Thorax


def make_case(
    seed: int, split: Split, number: int, policy: AnnotationPolicy, size_yx: int = 128
) -> PhantomCase:
    """Makes one phantom, a function of its arguments alone: other cases do not change it.

    Args:
        seed: the dataset's seed.
        split: the policy applies to `train` only; elsewhere every node is annotated.
        number: 1 for the split's first case.
        policy: chooses the annotated nodes; it has a generator of its own, so that the images
            are the same under every policy.
        size_yx: rows and columns of a slice.
    """
    key = ("phantom", split, number)
    thorax = draw_thorax(generator(seed, *key, "anatomy"))
    acquisition = draw_acquisition(generator(seed, *key, "scan"), size_yx)
    grid, noise = acquisition.grid, generator(seed, *key, "noise")
    image, instances = render(thorax, grid, acquisition.offset_mm, acquisition.quality, noise)
    instances, nodes = _describe(instances, thorax, acquisition)
    volumes = {node["id"]: node["volume_mm3"] for node in nodes}
    annotated = frozenset(volumes)
    if split == "train":
        annotated = policy.choose(volumes, generator(seed, *key, "annotation"))
    for node in nodes:
        node["annotated"] = node["id"] in annotated
    return PhantomCase(
        Volume(image, grid), Volume(instances, grid), annotated, tuple(nodes), thorax
    )


@dataclass(frozen=True)
class PhantomDataset:
    """Writes and lists a phantom dataset.

    Attributes:
        root: Folder of the dataset: `train/`, `val/`, `test/` as the challenge lays them out,
            `complete/<split>/` with the instance labels of all cases, for evaluation only, and
            `phantom.json` with the settings and every node's size and place.
        policy: Which nodes of a training case are annotated.
        num_train: Number of partially annotated cases.
        num_val: Number of completely annotated cases.
        num_test: Number of cases without a label beside them.
        seed: The same seed gives the same bytes.
        size_yx: Rows and columns of a slice; 128 over 340 to 400 mm.
    """

    root: Path
    policy: AnnotationPolicy
    num_train: Annotated[int, Field(ge=0)] = 24
    num_val: Annotated[int, Field(ge=0)] = 4
    num_test: Annotated[int, Field(ge=0)] = 8
    seed: Annotated[int, Field(ge=0)] = 0
    size_yx: Annotated[int, Field(ge=32, le=512)] = 128

    def settings(self) -> dict[str, Any]:
        """Returns what determines the dataset's bytes, plain types."""
        policy = {"name": type(self.policy).__name__, **vars(self.policy)}
        counts = {"num_train": self.num_train, "num_val": self.num_val, "num_test": self.num_test}
        return {
            "version": VERSION, "seed": self.seed, "size_yx": self.size_yx, **counts,
            "policy": policy,
        }  # fmt: skip

    def write(self, progress: Progress | None = None) -> None:
        """Writes the dataset, `phantom.json` last; does nothing where it is already complete.

        Args:
            progress: wraps the iterable of cases, for a progress bar.

        Raises:
            UsageError: `root` holds a phantom dataset of other settings, or cases that are no
                phantoms and would be overwritten; or another process is writing it.
            RunError: The disk does not take it.
        """
        root = Path(self.root)
        if self._has_settings(root / RECORD):
            return
        begun = self._has_settings(root / _UNFINISHED)
        if not begun:
            _refuse_foreign(root)
        with sole_user(root, all_ours=begun):
            self._write(root, progress)

    def _write(self, root: Path, progress: Progress | None) -> None:
        if self._has_settings(root / RECORD):  # another process was faster
            return
        if not self._has_settings(root / _UNFINISHED):
            write_json(root / _UNFINISHED, {"settings": self.settings()})
        cases: Iterable[tuple[Split, int]] = self._numbers()
        record: dict[str, Any] = {}
        for split, number in cases if progress is None else progress(cases):
            name = f"{PREFIX}{split}-{number:04d}"
            case = make_case(self.seed, split, number, self.policy, self.size_yx)
            _write_case(root, split, name, case)
            record[name] = {
                "split": split,
                "grid": case.image.grid.to_dict(),
                "nodes": list(case.nodes),
            }
        write_json(root / RECORD, {"settings": self.settings(), "cases": record})
        (root / _UNFINISHED).unlink()

    def _numbers(self) -> list[tuple[Split, int]]:
        counts: list[tuple[Split, int]] = [
            ("train", self.num_train), ("val", self.num_val), ("test", self.num_test),
        ]  # fmt: skip
        return [(split, number) for split, count in counts for number in range(1, count + 1)]

    def _has_settings(self, path: Path) -> bool:
        if not path.exists():
            return False
        record, wanted = read_json(path), self.settings()
        settings = record.get("settings") if isinstance(record, dict) else None
        if not isinstance(settings, dict):
            raise UsageError("the phantom's record is damaged", where=path,
                             remedy="delete the folder: it is written again")  # fmt: skip
        if settings == wanted:
            return True
        if settings.get("version") != VERSION:
            raise older_phantom(path.parent)
        differing = [key for key in wanted if settings.get(key) != wanted[key]]
        raise UsageError(
            "a phantom dataset of other settings is already there",
            where=path.parent,
            why=", ".join(f"{key} is {settings.get(key)}, not {wanted[key]}" for key in differing),
            remedy="choose another root, or delete this one",
        )


def is_phantom(case_id: str) -> bool:
    """Whether an id is that of a phantom."""
    return case_id.startswith(PREFIX)


def older_phantom(root: Path) -> UsageError:
    """What to say of a phantom that an older version wrote."""
    return UsageError(
        "an older lnq wrote this phantom", where=root,
        why=f"its cases were called as the challenge's; they are {PREFIX}train-0001 and so on now",
        remedy="delete the folder, and what was preprocessed from it: the same scans are written "
        "again, under these names",
    )  # fmt: skip


def _refuse_foreign(root: Path) -> None:
    """Guards real scans, which lie in folders of the same names, against phantoms among them."""
    foreign = sorted({*root.glob("*/*-ct.nrrd"), *root.glob(f"*/{PREFIX}*")})
    if foreign:
        raise UsageError(
            "the folder for the phantom holds cases that are no phantoms",
            where=root,
            why=f"there is no {RECORD}, but {len(foreign)} files such as {foreign[0].name}",
            remedy="choose an empty root",
        )


def _write_case(root: Path, split: Split, name: str, case: PhantomCase) -> None:
    grid = case.image.grid
    write_volume(case.image, root / split / f"{name}-ct.nrrd")
    write_volume(case.instances, root / "complete" / split / f"{name}-seg.nrrd")
    if split != "test":
        partial = np.isin(case.instances.array, sorted(case.annotated)).astype(np.uint8)
        write_volume(Volume(partial, grid), root / split / f"{name}-seg.nrrd")


def _describe(
    instances: NDArray[np.uint8], thorax: Thorax, acquisition: Acquisition
) -> tuple[NDArray[np.uint8], list[dict[str, Any]]]:
    """Numbers the visible nodes 1..K and measures each."""
    counts = np.bincount(instances.ravel(), minlength=len(thorax.nodes) + 1)
    lookup = np.zeros(len(counts), np.uint8)
    records: list[dict[str, Any]] = []
    for number, node in enumerate(thorax.nodes, start=1):
        if counts[number] == 0:
            continue
        lookup[number] = len(records) + 1
        centroid = _centroid(instances == number, acquisition.grid)
        records.append(
            {
                "id": len(records) + 1,
                "station": node.station,
                "volume_mm3": round(float(counts[number]) * acquisition.grid.voxel_volume_mm3, 3),
                "short_axis_mm": round(node.short_axis_mm, 3),
                "centroid_mm": [round(float(value), 3) for value in centroid],
                "hu": round(node.hu, 1),
            }
        )
    return lookup[instances], records


def _centroid(mask: NDArray[np.bool_], grid: Grid) -> NDArray[np.float64]:
    index = np.stack(np.nonzero(mask), axis=-1).mean(axis=0)
    return np.asarray(grid.to_world(index))
