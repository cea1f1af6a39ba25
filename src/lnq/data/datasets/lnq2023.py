"""The folders of the LNQ2023 challenge."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

from lnq.data.case import Case, Split, Supervision
from lnq.data.datasets.checks import checked, existing_folder, shortened
from lnq.data.datasets.knowledge import Knowledge, Names, Supervised, supervised
from lnq.data.phantom.dataset import recorded_supervision
from lnq.data.readers import SUFFIXES
from lnq.errors import UsageError

# Compared by letters alone: archives and their unpackers spell it with other marks and numbers.
_CORRECTED = "correctedtrainlabels"
_FILE = re.compile(
    rf"(?P<id>.+)-(?P<kind>ct|seg)({'|'.join(map(re.escape, SUFFIXES))})", re.IGNORECASE | re.DOTALL
)


class Lnq2023Layout:
    """`train/`, `val/` and `test/` with `ID-ct.nrrd` and `ID-seg.nrrd`.

    A labelled training case is partially annotated, any other labelled case fully. Labels in
    `corrected_train_labels/`, which the organisers gave out later, replace the first ones, wherever
    their archive was unpacked: beside `train/` or in it, in a folder of its own or not.

    Args:
        root: The folder that holds them.
        background: Folder of masks of what can be no node, one or a folder of them a case.
        background_names: Which structures of a folder count: a regular expression, or the names;
            None = `lnq.data.datasets.structures.NO_NODES`.
        supervised: Ids of cases that are annotated otherwise, by how: `full`, `partial`, `none`.
        allow_links_outside: Accept links to files outside `root`.
    """

    def __init__(
        self,
        root: Path,
        background: Path | None = None,
        background_names: Names = None,
        supervised: Supervised | None = None,
        allow_links_outside: bool = False,
    ) -> None:
        self.root = Path(root)
        self.knowledge = Knowledge(background, background_names, supervised or {})
        self.allow_links_outside = allow_links_outside

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id.

        Raises:
            UsageError: The root or all of its folders are missing, a label has no scan, an id
                is unsafe or given twice, a link leads outside.
        """
        splits: tuple[Split, ...] = get_args(Split)
        existing_folder(self.root, "train/, val/ or test/")
        folders = {split: self.root / split for split in splits if (self.root / split).is_dir()}
        if not folders:
            raise UsageError(
                "no LNQ2023 dataset",
                where=self.root,
                why="looked for train/, val/ or test/ with ID-ct.nrrd and ID-seg.nrrd",
                remedy="give data.root=DIR, the folder that holds these",
            )
        cases = [case for split, folder in folders.items() for case in self._split(split, folder)]
        # A phantom, which lies in the same folders, says how each of its cases is annotated.
        recorded = recorded_supervision(self.root)
        cases = [
            supervised(case, recorded[case.case_id])
            if case.label is not None and case.case_id in recorded
            else case
            for case in cases
        ]
        return self.knowledge.added_to(checked(cases, self.root, self.allow_links_outside))

    def _split(self, split: Split, folder: Path) -> list[Case]:
        scans, labels = _scans_and_labels(folder.iterdir())
        corrected: dict[str, Path] = {}
        if split == "train":
            corrected = _scans_and_labels(_corrected_files(self.root, folder))[1]
        ids = {case_id for case_id, _ in scans}
        labels |= corrected
        alone = [str(path) for case_id, path in labels.items() if case_id not in ids]
        if alone:
            raise UsageError(
                "labels without a scan",
                where=folder,
                why=shortened(alone),
                remedy="add the scans ID-ct.nrrd or move the labels away",
            )
        annotated: Supervision = "partial" if split == "train" else "full"
        cases = []
        for case_id, image in scans:
            label = labels.get(case_id)
            cases.append(
                Case(
                    case_id=case_id,
                    image=image,
                    label=label,
                    split=split,
                    supervision="none" if label is None else annotated,
                    group=case_id,  # the challenge does not tell patients apart
                    notes=self._origin(corrected.get(case_id)),
                )
            )
        return cases

    def _origin(self, corrected: Path | None) -> tuple[str, ...]:
        if corrected is None:
            return ()
        return (f"its label is the corrected one, {corrected.relative_to(self.root)}",)


def has_cases(root: Path) -> bool:
    """Whether one of the challenge's folders below `root` holds a file named as they are."""
    folders = (root / split for split in get_args(Split))
    return any(_FILE.fullmatch(p.name) for f in folders if f.is_dir() for p in f.iterdir())


def _corrected_files(*places: Path) -> list[Path]:
    """The files of the folders of corrected labels in `places`, however deep."""
    folders = [
        folder
        for place in places
        for folder in place.iterdir()
        if folder.is_dir()
        and "".join(filter(str.isalpha, folder.name.casefold())).startswith(_CORRECTED)
    ]
    return [
        file
        for folder in folders
        for file in folder.rglob("*")
        if "__MACOSX" not in file.parts and file.is_file()
    ]


def _scans_and_labels(files: Iterable[Path]) -> tuple[list[tuple[str, Path]], dict[str, Path]]:
    """Scans as (id, file), in which an id may stand twice, and labels by id.

    Raises:
        UsageError: Two labels of one id.
    """
    scans: list[tuple[str, Path]] = []
    labels: dict[str, Path] = {}
    for path in sorted(files):
        match = _FILE.fullmatch(path.name)
        if match is None or path.name.startswith("."):
            continue
        case_id = match["id"]
        if match["kind"].lower() == "ct":
            scans.append((case_id, path))
        elif case_id in labels:
            raise UsageError(
                "two labels of one case", where=path, why=f"the other is {labels[case_id]}",
                remedy="remove one of them",
            )  # fmt: skip
        else:
            labels[case_id] = path
    return scans, labels
