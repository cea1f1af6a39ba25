"""One scan and what is known of it, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lnq.errors import CaseError

Split = Literal["train", "val", "test"]
Supervision = Literal["full", "partial", "none"]


@dataclass(frozen=True)
class Case:
    """One case of a dataset.

    Attributes:
        case_id: Unique within the dataset; safe as a file name.
        image: The scan: a file, or a folder of DICOM slices.
        label: The annotation on (what should be) the scan's grid, or None.
        split: Part of the dataset the case belongs to.
        supervision: `full` = every node outlined, `partial` = some of them, `none` = no label.
        group: The patient; cases of one group stay in one split.
        notes: What a user should know of how the dataset lists it.
        label_names: Regular expression of the segments or ROIs that are nodes, for labels that name
            theirs; None = by what the names say.
        fault: Why it cannot be used, where listing its files has shown that already.
        background: Masks of what can be no node, on (what should be) the scan's grid.
    """

    case_id: str
    image: Path
    label: Path | None
    split: Split
    supervision: Supervision
    group: str
    notes: tuple[str, ...] = ()
    label_names: str | None = None
    fault: str | None = None
    background: tuple[Path, ...] = ()

    @property
    def refusal(self) -> CaseError | None:
        """The fault as an error, with which all commands refuse the case unread."""
        if self.fault is None:
            return None
        return CaseError(
            "files of the case cannot be used", where=self.image, why=self.fault,
            remedy="download damaged ones again, remove copies, give each scan its own label",
        )  # fmt: skip
