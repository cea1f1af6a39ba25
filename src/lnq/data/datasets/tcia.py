"""Mediastinal-Lymph-Node-SEG and collections like it: CT series with a DICOM-SEG each."""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from pathlib import Path

from rich.progress import track

from lnq.console import console
from lnq.data.case import Case, Split, Supervision
from lnq.data.datasets.checks import checked, existing_folder, numbered, shortened
from lnq.data.datasets.dicom_index import Annotation, Index, ScanFiles, index_dicom
from lnq.data.datasets.knowledge import Knowledge, Names, Supervised
from lnq.data.datasets.splits import read_splits
from lnq.data.readers import checked_pattern
from lnq.data.readers.dicom_stacks import names_of
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
        names = _case_ids(self.root, index.scans)
        cases = [
            self._case(scan, name, labels.get(number))
            for number, (scan, name) in enumerate(zip(index.scans, names, strict=True))
        ]
        if self.splits is not None:
            cases = read_splits(self.splits, cases)
        listed = checked([*cases, *_strays(index)], self.root, self.allow_links_outside)
        return self.knowledge.added_to(listed)

    def _labels(self, index: Index) -> dict[int, Annotation]:
        """The segmentation of each scan that has one, by its number."""
        faults: list[str] = []
        annotations: dict[int, Annotation] = {}
        for annotation in index.annotations:
            mine = annotation.scans
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

    def _case(self, scan: ScanFiles, case_id: str, annotation: Annotation | None) -> Case:
        supervision = self._supervision(annotation) if annotation else None
        split: Split = "test" if supervision == "full" else "train"
        return Case(
            case_id=case_id,
            image=scan.place,
            label=annotation.path if annotation else None,
            split=split,
            supervision=supervision or "none",
            group=scan.patient,
            label_names=self.label_names if annotation else None,
            fault=shortened(scan.faults) or None,
        )


def _strays(index: Index) -> list[Case]:
    """A case for each damaged file of an unknown one; copies of a name are numbered."""
    ids = numbered([path.name for path in index.strays])
    return [
        Case(case_id, path, None, "train", "none", group=case_id, fault=why)
        for case_id, (path, why) in zip(ids, index.strays.items(), strict=True)
    ]


def _case_ids(root: Path, scans: Sequence[ScanFiles]) -> list[str]:
    """A case's id is its patient's, of several with what tells them apart."""
    nameless = [str(one.place) for one in scans if not one.patient]
    if nameless:
        raise UsageError(
            "CT series without a patient's id", where=root, why=shortened(nameless),
            remedy="list them in a table instead (data=pairs)",
        )  # fmt: skip
    ids = [scan.patient for scan in scans]
    for patient in set(ids):
        mine = [k for k, scan in enumerate(scans) if scan.patient == patient]
        for k, told in zip(mine, names_of([scans[k].stack for k in mine]), strict=True):
            ids[k] = f"{patient}_{told}" if told else patient
    return ids
