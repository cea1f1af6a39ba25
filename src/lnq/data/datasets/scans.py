"""A folder of no layout: whatever scans lie in it."""

from __future__ import annotations

from pathlib import Path

from lnq.data.case import Case
from lnq.data.datasets.checks import checked, existing_folder, numbered
from lnq.data.datasets.knowledge import Knowledge, Names
from lnq.data.readers import every_scan, scan_ids


class ScansLayout:
    """Every scan below a folder, each for training and without a label.

    Args:
        root: The folder.
        background: Folder of masks of what can be no node, one or a folder of them a case.
        background_names: Which structures of a folder count: a regular expression, or the names;
            None = `lnq.data.datasets.structures.NO_NODES`.
        allow_links_outside: Accept links to files outside `root`.
    """

    def __init__(
        self,
        root: Path,
        background: Path | None = None,
        background_names: Names = None,
        allow_links_outside: bool = False,
    ) -> None:
        self.root = Path(root)
        self.knowledge = Knowledge(background, background_names)
        self.allow_links_outside = allow_links_outside

    def cases(self) -> list[Case]:
        """The scans, readable or not, ordered by id; see `scan_ids`, equal ones are numbered.

        Raises:
            UsageError: There is none, or a file lies outside `root`.
        """
        scans = every_scan(existing_folder(self.root, "scans"))
        ids = numbered(scan_ids(scans, self.root))
        cases = [
            Case(case_id, scan, None, "train", "none", group=case_id)
            for case_id, scan in zip(ids, scans, strict=True)
        ]
        return self.knowledge.added_to(checked(cases, self.root, self.allow_links_outside))
