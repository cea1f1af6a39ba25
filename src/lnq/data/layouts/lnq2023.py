"""The folders of the LNQ2023 challenge."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from lnq.data.case import Case, Split, Supervision
from lnq.data.layouts.checks import checked, existing_folder, shortened
from lnq.data.readers import SUFFIXES
from lnq.errors import UsageError

CORRECTED = "corrected_train_labels"
_FILE = re.compile(
    rf"(?P<id>.+)-(?P<kind>ct|seg)({'|'.join(map(re.escape, SUFFIXES))})", re.IGNORECASE | re.DOTALL
)


class Lnq2023Layout:
    """`train/`, `val/` and `test/` with `ID-ct.nrrd` and `ID-seg.nrrd`.

    A labelled training case is partially annotated, any other labelled case fully. Labels in
    `corrected_train_labels/`, which the organisers gave out later, replace the first ones.

    Args:
        root: The folder that holds them.
        allow_links_outside: Accept links to files outside `root`.
    """

    def __init__(self, root: Path, allow_links_outside: bool = False) -> None:
        self.root = Path(root)
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
        found = [case for split, folder in folders.items() for case in self._split(split, folder)]
        return checked(found, self.root, self.allow_links_outside)

    def _split(self, split: Split, folder: Path) -> list[Case]:
        scans, labels = _scans_and_labels(folder)
        corrected: dict[str, Path] = {}
        if split == "train":
            for place in (self.root / CORRECTED, folder / CORRECTED):
                if place.is_dir():
                    corrected |= _scans_and_labels(place)[1]
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
                )
            )
        return cases


def _scans_and_labels(folder: Path) -> tuple[list[tuple[str, Path]], dict[str, Path]]:
    """Scans as (id, file), in which an id may stand twice, and labels by id.

    Raises:
        UsageError: Two labels of one id.
    """
    scans: list[tuple[str, Path]] = []
    labels: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
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
