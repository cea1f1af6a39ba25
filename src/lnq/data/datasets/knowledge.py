"""What a user knows of a dataset beside how it lies: masks of background, supervision by case."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from lnq.data.case import Case, Supervision
from lnq.data.datasets.checks import existing_folder, shortened
from lnq.data.datasets.structures import NO_NODES
from lnq.data.readers import checked_pattern, is_mask_name, label_name, path_of
from lnq.errors import UsageError

Names = str | tuple[str, ...] | None
"""Structures: a regular expression searched for in their names, or the names; None = `NO_NODES`."""
Supervised = Mapping[Supervision, tuple[str, ...]]
"""Ids of cases by how they are annotated."""


@dataclass(frozen=True)
class Knowledge:
    """What is added to the cases of any layout.

    Attributes:
        background: Folder of masks of what can be no node: for a case one file, which counts
            wholly, or a folder of files named by the structures that they mark. Both are named as
            the case or as its scan.
        background_names: Which structures of such a folder count.
        supervised: Ids of the cases that are annotated otherwise than the layout says. `none` puts
            a label aside.
    """

    background: Path | None = None
    background_names: Names = None
    supervised: Supervised = field(default_factory=dict)

    def __post_init__(self) -> None:
        if isinstance(self.background_names, str):
            checked_pattern(self.background_names, "background_names")

    def added_to(self, cases: Sequence[Case]) -> list[Case]:
        """The cases, in their order, with their masks and their supervision.

        Raises:
            UsageError: An id is unknown, or named for two kinds of supervision; a case is to be
                supervised and has no label; the folder of masks is missing, or none of it counts.
        """
        return self._with_background(self._with_supervision(cases))

    def _with_supervision(self, cases: Sequence[Case]) -> list[Case]:
        chosen: dict[str, Supervision] = {}
        listed = [one for ids in self.supervised.values() for one in ids]
        for kind, ids in self.supervised.items():
            chosen |= dict.fromkeys(ids, kind)
        by_id = {case.case_id: case for case in cases}
        faults = [f"{one} is named twice" for one in chosen if listed.count(one) > 1]
        faults += [f"there is no case {one}" for one in chosen if one not in by_id]
        faults += [
            f"{one} has no label" for one, kind in chosen.items()
            if kind != "none" and one in by_id and by_id[one].label is None
        ]  # fmt: skip
        if faults:
            raise UsageError(
                "supervision that cannot be", where="data.layout.supervised",
                why=shortened(faults), remedy="name each case once, by its id, and such as have a "
                "label as full or partial",
            )  # fmt: skip
        return [supervised(case, chosen.get(case.case_id, case.supervision)) for case in cases]

    def _with_background(self, cases: Sequence[Case]) -> list[Case]:
        if self.background is None:
            return list(cases)
        existing_folder(
            self.background, "a mask or a folder of masks a case, named by the cases' ids",
            "data.layout.background",
        )  # fmt: skip
        masks = {mask.name: mask for mask in map(_Masks.at, sorted(self.background.iterdir()))}
        found = [
            replace(case, background=self._counting(masks[name].files)) if name else case
            for case in cases
            for name in [next((n for n in _names(case) if n in masks), None)]
        ]
        if not any(case.background for case in found):
            fitting = {name for case in cases for name in _names(case)} & masks.keys()
            raise UsageError(
                "no mask of background counts", where=self.background,
                why=f"it has {shortened(_structures(masks[n] for n in fitting))}" if fitting
                else f"none is named as a case: it has {shortened(list(masks))}",
                remedy="choose structures with data.layout.background_names" if fitting
                else f"name masks by ids, such as {cases[0].case_id}",
            )  # fmt: skip
        return [case if case.background else _noted(case) for case in found]

    def _counting(self, files: Sequence[Path]) -> tuple[Path, ...]:
        """The files of a case that count: a single one wholly, of several those that are named."""
        if len(files) == 1 and files[0].parent == self.background:
            return tuple(files)
        return tuple(file for file in files if self._counts(label_name(file)))

    def _counts(self, name: str) -> bool:
        if isinstance(self.background_names, str):
            return re.search(self.background_names, name, re.IGNORECASE) is not None
        wanted = NO_NODES if self.background_names is None else self.background_names
        return name.casefold() in {one.casefold() for one in wanted}


@dataclass(frozen=True)
class _Masks:
    """What the folder holds of one name: a file, or those of a folder."""

    name: str
    files: tuple[Path, ...]

    @classmethod
    def at(cls, path: Path) -> _Masks:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        shown = tuple(f for f in files if f.is_file() and is_mask_name(f))
        return cls(path.name if path.is_dir() else label_name(path), shown)


def supervised(case: Case, kind: Supervision) -> Case:
    """The case with this supervision; `none` puts its label aside, and says so."""
    if kind == case.supervision:
        return case
    if kind != "none":
        return replace(case, supervision=kind)
    return replace(
        case, label=None, label_names=None, supervision="none",
        notes=(*case.notes, "its label is not used: its supervision is none"),
    )  # fmt: skip


def _names(case: Case) -> tuple[str, str]:
    return case.case_id, path_of(case.image, Path("/"))[-1]


def _structures(masks: Iterator[_Masks]) -> list[str]:
    return sorted({label_name(file) for one in masks for file in one.files})


def _noted(case: Case) -> Case:
    """Of cases that are learnt from, one without masks is worth a word."""
    if case.split != "train":
        return case
    return replace(case, notes=(*case.notes, "it has no masks of background"))
