"""Any dataset: a table of scans and labels, or two folders whose files have the same names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lnq.data.case import Case, ScanPath, Split, Supervision, absolute
from lnq.data.datasets.checks import checked, existing_folder, shortened
from lnq.data.datasets.knowledge import Knowledge, Names, Supervised
from lnq.data.datasets.table import has_column, read_csv
from lnq.data.datasets.whole_scans import whole_scans
from lnq.data.readers import checked_pattern, find_labels, find_scans, label_name, path_of, scan_ids
from lnq.errors import LnqError, UsageError
from lnq.files import read_json

_COLUMNS = ("id", "image", "label", "supervision", "split", "group")


class PairsLayout:
    """Scans and labels that a table or two folders pair.

    Args:
        root: The dataset's folder; the other paths are relative to it.
        table: A CSV file or a JSON list of records with `image` and, as wanted, `id` (default: the
            image's name), `label`, `supervision`, `split`, `group` (default: the id).
        images: Instead of a table, a folder of scans.
        labels: A folder of labels named as the scans are.
        split: Split of cases for which the table says none.
        supervision: Supervision of labelled cases for which the table says none.
        label_names: Regular expression of the segments or ROIs that are nodes, for DICOM-SEG,
            RTSTRUCT and `.seg.nrrd`; None = by what their names say.
        background: Folder of masks of what can be no node, one or a folder of them a case.
        background_names: Which structures of a folder count: a regular expression, or the names;
            None = `lnq.data.datasets.structures.NO_NODES`.
        supervised: Ids of cases that are annotated otherwise, by how: `full`, `partial`, `none`.
        allow_links_outside: Accept files outside `root`.

    Raises:
        UsageError: Not exactly one of `table` and `images` is given, or `labels` beside a `table`.
    """

    def __init__(
        self,
        root: Path,
        table: Path | None = None,
        images: Path | None = None,
        labels: Path | None = None,
        split: Split = "train",
        supervision: Supervision = "partial",
        label_names: str | None = None,
        background: Path | None = None,
        background_names: Names = None,
        supervised: Supervised | None = None,
        allow_links_outside: bool = False,
    ) -> None:
        if (table is None) == (images is None) or (table is not None and labels is not None):
            raise UsageError(
                "layout pairs needs either a table or a folder of images",
                remedy="give data.layout.table=FILE, or data.layout.images=DIR and, where "
                "there are labels, data.layout.labels=DIR",
            )
        self.root = Path(root)
        self.table = table
        self.images = images
        self.labels = labels
        self.split: Split = split
        self.supervision: Supervision = supervision
        self.label_names = checked_pattern(label_names)
        self.knowledge = Knowledge(background, background_names, supervised or {})
        self.allow_links_outside = allow_links_outside

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id.

        Raises:
            UsageError: Files are missing, a label has no scan, the table has a bad column or value,
                an id is unsafe or given twice, a file lies outside `root`.
        """
        existing_folder(self.root, "scans and labels")
        cases = self._from_table(self.table) if self.table else self._from_folders()
        return self.knowledge.added_to(checked(cases, self.root, self.allow_links_outside))

    def _from_table(self, table: Path) -> list[Case]:
        path = self.root / table
        rows = _rows(path)
        images = [_place(self.root, row["image"]) for row in rows]
        labels = [_place(self.root, row["label"]) if row.get("label") else None for row in rows]
        if missing := [f"missing {one}" for one in (*images, *labels) if one and not one.exists()]:
            raise _unusable(path, missing)
        scans = whole_scans(images, self.root)
        ids = scan_ids([scan for scan, _ in scans], self.root)
        cases, faults = [], []
        for number, (row, (scan, notes), label, name) in enumerate(
            zip(rows, scans, labels, ids, strict=True), start=1
        ):
            try:
                cases.append(self._case(row, scan, label, row.get("id") or name, notes))
            except ValidationError as error:
                first = error.errors()[0]
                faults.append(f"row {number}: {first['loc'][-1]}: {first['msg']}")
        if faults:
            raise _unusable(path, faults)
        return cases

    def _case(
        self, row: Mapping[str, str], image: ScanPath, label: Path | None, case_id: str,
        notes: tuple[str, ...] = (),
    ) -> Case:  # fmt: skip
        supervision = row.get("supervision", "").lower() or (self.supervision if label else "none")
        unused = label is not None and supervision == "none"
        if unused:
            notes = (*notes, "its label is not used: its supervision is none. To use it, say which")
        return TypeAdapter(Case).validate_python(
            {
                "case_id": case_id,
                "image": image,
                "label": None if unused else label,
                "split": row.get("split", "").lower() or self.split,
                # Without a label nothing supervises, whatever the table says.
                "supervision": supervision if label else "none",
                "group": row.get("group") or case_id,
                "notes": notes,
                "label_names": self.label_names if label else None,
            }
        )

    def _from_folders(self) -> list[Case]:
        folder = existing_folder(self.root / (self.images or ""), "scans")
        scans = find_scans(folder)
        ids = scan_ids(scans, folder)
        labels: dict[str, Path] = {}
        alone = []
        if self.labels is not None:
            place = existing_folder(self.root / self.labels, "labels named as the scans are")
            known = {name: name for name in ids} | {
                "/".join(path_of(scan, folder)): name for scan, name in zip(scans, ids, strict=True)
            }
            for label in find_labels(place):
                where = (*label.relative_to(place).parts[:-1], label_name(label))
                # In the folder that its scan's is called by, or called as its scan is.
                case_id = known.get("/".join(where)) or known.get(where[-1])
                if case_id is None:
                    alone.append(str(label))
                elif case_id in labels:
                    raise UsageError("two labels of one name", where=label, remedy="remove one")
                else:
                    labels[case_id] = label
        if alone:
            raise UsageError(
                "labels without a scan", where=self.root, why=shortened(alone),
                remedy="give both the same name",
            )  # fmt: skip
        return [
            self._case({}, absolute(scan), label.absolute() if label else None, name)
            for scan, name in zip(scans, ids, strict=True)
            for label in [labels.get(name)]
        ]


def is_table(path: Path) -> bool:
    """Whether a file is a table of scans, right in all its rows or not."""
    if path.name.startswith(".") or not path.is_file():
        return False
    try:
        if path.suffix.lower() == ".csv":
            return has_column(path, "image")
        return path.suffix.lower() == ".json" and any("image" in one for one in _json(path))
    except UsageError:
        return False


def _unusable(path: Path, faults: list[str]) -> UsageError:
    return UsageError(
        "the table cannot be used", where=path, why=shortened(faults), remedy="correct it"
    )


def _rows(path: Path) -> list[dict[str, str]]:
    """The table's records as texts; empty cells are empty."""
    if not path.is_file():
        raise UsageError("the table is missing", where=path, remedy="give data.layout.table=FILE")
    records = _json(path) if path.suffix.lower() == ".json" else read_csv(path)
    rows = [{str(k): "" if v is None else str(v) for k, v in row.items()} for row in records]
    unknown = {key for row in rows for key in row} - set(_COLUMNS)
    if unknown or any(not row.get("image") for row in rows):
        raise UsageError(
            "the table has other columns" if unknown else "a row of the table has no image",
            where=path,
            why=shortened(sorted(unknown)) if unknown else None,
            remedy=f"use the columns {', '.join(_COLUMNS)}",
        )
    return rows


def _json(path: Path) -> list[dict[str, Any]]:
    try:
        records: Any = read_json(path)
    except LnqError as error:
        raise UsageError("cannot read the table", where=path, why=error.why,
                         remedy="correct it") from error  # fmt: skip
    if not (isinstance(records, list) and all(isinstance(row, dict) for row in records)):
        raise UsageError("the table is no list of records", where=path, remedy="correct it")
    return records


def _place(root: Path, name: str) -> Path:
    """A file that a table names; Windows separates folders otherwise."""
    path = root / name
    return root / name.replace("\\", "/") if "\\" in name and not path.exists() else path
