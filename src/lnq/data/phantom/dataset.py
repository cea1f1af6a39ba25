"""Writes a phantom dataset in LNQ2023's own layout."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, get_args

import numpy as np
from pydantic import Field

from lnq.data.case import Split, Supervision
from lnq.data.phantom.annotation import AnnotationPolicy
from lnq.data.phantom.phantom_case import PhantomCase, make_case
from lnq.errors import UsageError
from lnq.files import read_json, sole_user, write_json
from lnq.volume import Volume
from lnq.volume_file import write_volume

RECORD = "phantom.json"
ORGANS = "organs"
"""Folder of the masks, a folder a case."""
_UNFINISHED = "phantom-unfinished.json"
PREFIX = "phantom-"
"""What every case's id begins with: nobody may take one for a patient, or for the challenge's."""
# Part of the settings, so that a changed phantom is not mistaken for one already on the disk. Those
# of version 1 had the challenge's ids.
VERSION = 2
_KINDS: tuple[Supervision, ...] = get_args(Supervision)
Progress = Callable[[Iterable[Any]], Iterable[Any]]


@dataclass(frozen=True)
class PhantomDataset:
    """Writes and lists a phantom dataset.

    Attributes:
        root: Folder of the dataset: `train/`, `val/`, `test/` as the challenge lays them out,
            `complete/<split>/` with the instance labels of all cases, for evaluation only,
            `organs/<case>/` with masks of structures where asked for, and `phantom.json` with the
            settings and every node's size and place.
        policy: Which nodes of a partially annotated case are.
        num_train: Number of training cases.
        num_val: Number of completely annotated cases.
        num_test: Number of cases without a label beside them.
        seed: The same seed gives the same bytes.
        size_yx: Rows and columns of a slice; 128 over 340 to 400 mm.
        num_full: Of the training cases the first so many are completely annotated,
        num_none: and the last so many not at all, without a label; the others partially.
        organs: Whether masks of organs are written.

    Raises:
        ValueError: There are fewer training cases than that.
    """

    root: Path
    policy: AnnotationPolicy
    num_train: Annotated[int, Field(ge=0)] = 24
    num_val: Annotated[int, Field(ge=0)] = 4
    num_test: Annotated[int, Field(ge=0)] = 8
    seed: Annotated[int, Field(ge=0)] = 0
    size_yx: Annotated[int, Field(ge=32, le=512)] = 128
    num_full: Annotated[int, Field(ge=0)] = 0
    num_none: Annotated[int, Field(ge=0)] = 0
    organs: bool = False

    def __post_init__(self) -> None:
        if self.num_full + self.num_none > self.num_train:
            raise ValueError(
                f"num_full={self.num_full} and num_none={self.num_none} are more than "
                f"num_train={self.num_train}"
            )

    def settings(self) -> dict[str, Any]:
        """Returns what determines the dataset's bytes, plain types."""
        policy = {"name": type(self.policy).__name__, **vars(self.policy)}
        counts = {"num_train": self.num_train, "num_val": self.num_val, "num_test": self.num_test}
        # Only where they are chosen: phantoms of before, which had none, are the same.
        more = {"num_full": self.num_full, "num_none": self.num_none, "organs": self.organs}
        return {
            "version": VERSION, "seed": self.seed, "size_yx": self.size_yx, **counts,
            "policy": policy, **{key: value for key, value in more.items() if value},
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
            case = make_case(
                self.seed, split, number, self.policy, self.size_yx,
                supervision=self._supervision(split, number), organs=self.organs,
            )  # fmt: skip
            _write_case(root, split, name, case)
            record[name] = {
                "split": split,
                "supervision": "none" if split == "test" else case.supervision,
                "grid": case.image.grid.to_dict(),
                "nodes": list(case.nodes),
            }
        write_json(root / RECORD, {"settings": self.settings(), "cases": record})
        (root / _UNFINISHED).unlink()

    def _supervision(self, split: Split, number: int) -> Supervision | None:
        if split != "train" or self.num_full < number <= self.num_train - self.num_none:
            return None
        return "full" if number <= self.num_full else "none"

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
        keys = {**wanted, **settings}
        differing = [key for key in keys if settings.get(key) != wanted.get(key)]
        raise UsageError(
            "a phantom dataset of other settings is already there",
            where=path.parent,
            why=", ".join(
                f"{key} is {settings.get(key)}, not {wanted.get(key)}" for key in differing
            ),
            remedy="choose another root, or delete this one",
        )


def recorded_supervision(root: Path) -> dict[str, Supervision]:
    """How the cases of a phantom are annotated, by id; empty where the folder holds none.

    Raises:
        LnqError: Its record cannot be read.
    """
    record = read_json(root / RECORD) if (root / RECORD).is_file() else {}
    cases = record.get("cases") if isinstance(record, dict) else None
    if not isinstance(cases, dict):
        return {}
    kinds: dict[str, Supervision] = {}
    for name, case in cases.items():
        recorded = case.get("supervision") if isinstance(case, dict) else None
        kind = next((one for one in _KINDS if one == recorded), None)
        if kind is not None:
            kinds[name] = kind
    return kinds


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
    for organ, mask in case.organs.items():
        write_volume(Volume(mask.astype(np.uint8), grid), root / ORGANS / name / f"{organ}.nrrd")
    if split != "test" and case.supervision != "none":
        partial = np.isin(case.instances.array, sorted(case.annotated)).astype(np.uint8)
        write_volume(Volume(partial, grid), root / split / f"{name}-seg.nrrd")
