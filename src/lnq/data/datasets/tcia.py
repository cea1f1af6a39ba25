"""Mediastinal-Lymph-Node-SEG and collections like it: CT series with a DICOM-SEG each."""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.progress import track

from lnq.console import console
from lnq.data.case import Case, Split, Supervision
from lnq.data.datasets.checks import checked, existing_folder, numbered, shortened
from lnq.data.datasets.dicom_index import Annotation, Index, Series, index_dicom
from lnq.data.datasets.knowledge import Knowledge, Names, Supervised
from lnq.data.datasets.splits import read_splits
from lnq.data.readers import checked_pattern
from lnq.errors import UsageError

_REGIMES: dict[str, Supervision] = {"fully": "full", "partially": "partial"}


class TciaLayout:
    """DICOM CT series and the DICOM-SEG that refer to them, in folders of any name.

    What belongs together is read from UIDs alone, so that it does not matter which program
    downloaded the files. The series description of a segmentation says whether it is complete:
    "Fully Annotated" or "Partially Annotated". Partially annotated cases are for training, as is a
    CT without a segmentation; completely annotated ones are for testing, unless `splits` says
    otherwise.

    Args:
        root: The folder that holds them.
        splits: A table of cases; see `lnq.data.datasets.splits`.
        supervision: Of segmentations whose description says nothing; None = that is refused.
        label_names: Regular expression of the segments that are nodes; None = by what they say.
        background: Folder of masks of what can be no node, one or a folder of them a case.
        background_names: Which structures of a folder count: a regular expression, or the names;
            None = `lnq.data.datasets.structures.NO_NODES`.
        supervised: Ids of cases that are annotated otherwise, by how: `full`, `partial`, `none`.
        allow_links_outside: Accept links to files outside `root`.
    """

    def __init__(
        self,
        root: Path,
        splits: Path | None = None,
        supervision: Supervision | None = None,
        label_names: str | None = None,
        background: Path | None = None,
        background_names: Names = None,
        supervised: Supervised | None = None,
        allow_links_outside: bool = False,
    ) -> None:
        self.root = Path(root)
        self.splits = splits
        self.supervision: Supervision | None = supervision
        self.label_names = checked_pattern(label_names)
        self.knowledge = Knowledge(background, background_names, supervised or {})
        self.allow_links_outside = allow_links_outside

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id; reads the header of every DICOM file.

        A damaged or doubled file is its case's fault; where it could be several cases', it is
        listed as a case of its own, so that it fails by name and the others go on.

        Raises:
            UsageError: A segmentation has no CT or a CT several, a description or a patient's id
                is missing, or the splits do not fit; all offenders are named.
        """
        existing_folder(self.root, "DICOM CT series and DICOM-SEG")
        err = console(stderr=True)
        bar = functools.partial(
            track, description="headers", console=err, transient=True,
            disable=not err.is_terminal,
        )  # fmt: skip
        index = index_dicom(self.root, bar)
        labels = self._labels(index)
        names = _case_ids(self.root, list(index.series.values()))
        cases = [
            self._case(series, names[uid], labels.get(uid)) for uid, series in index.series.items()
        ]
        if self.splits is not None:
            cases = read_splits(self.splits, cases)
        listed = checked([*cases, *_strays(index)], self.root, self.allow_links_outside)
        return self.knowledge.added_to(listed)

    def _labels(self, index: Index) -> dict[str, Annotation]:
        """The segmentation of each series that has one."""
        faults: list[str] = []
        annotations: dict[str, Annotation] = {}
        for annotation in index.annotations:
            mine = [uid for uid in index.series if uid in annotation.series]
            if not mine:
                meant = ", ".join(sorted(annotation.series)) or "(not stated)"
                faults.append(f"{annotation.path}: its CT series {meant} is missing")
            elif len(mine) > 1:
                faults.append(f"{annotation.path}: it refers to {len(mine)} CT series")
            elif mine[0] in annotations:
                faults.append(
                    f"{annotation.path}: {annotations[mine[0]].path} annotates the same CT"
                )
            elif self._supervision(annotation) is None:
                faults.append(
                    f"{annotation.path}: its description '{annotation.description}' tells neither "
                    "Fully nor Partially Annotated"
                )
            else:
                annotations[mine[0]] = annotation
        if faults:
            raise UsageError(
                "segmentations that cannot be used", where=self.root, why=shortened(faults),
                remedy="download what is missing, move the others away; data.layout.supervision="
                "partial (or full) serves where descriptions say nothing",
            )  # fmt: skip
        return annotations

    def _supervision(self, annotation: Annotation) -> Supervision | None:
        match = re.search(r"\b(fully|partially)\b[\s_-]*annotated", annotation.description, re.I)
        return _REGIMES[match[1].lower()] if match else self.supervision

    def _case(self, series: Series, case_id: str, annotation: Annotation | None) -> Case:
        supervision = self._supervision(annotation) if annotation else None
        split: Split = "test" if supervision == "full" else "train"
        return Case(
            case_id=case_id,
            image=series.place,
            label=annotation.path if annotation else None,
            split=split,
            supervision=supervision or "none",
            group=series.patient,
            label_names=self.label_names if annotation else None,
            fault=shortened(series.faults) or None,
        )


def _strays(index: Index) -> list[Case]:
    """A case for each damaged file of an unknown one; copies of a name are numbered."""
    ids = numbered([path.name for path in index.strays])
    return [
        Case(case_id, path, None, "train", "none", group=case_id, fault=why)
        for case_id, (path, why) in zip(ids, index.strays.items(), strict=True)
    ]


def _case_ids(root: Path, series: Sequence[Series]) -> Mapping[str, str]:
    """A case's id is its patient's; the end of the series' UID tells several of one apart."""
    nameless = [str(one.place) for one in series if not one.patient]
    if nameless:
        raise UsageError(
            "CT series without a patient's id", where=root, why=shortened(nameless),
            remedy="list them in a table instead (data=pairs)",
        )  # fmt: skip
    counts = Counter(one.patient for one in series)
    return {
        one.uid: one.patient if counts[one.patient] == 1 else f"{one.patient}_{one.uid[-8:]}"
        for one in series
    }
