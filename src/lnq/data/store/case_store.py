"""The folder of preprocessed cases that training reads.

    root/manifest.json  settings of the preprocessing, all cases, their split, its hash
    root/cases/<id>/    a case's arrays and record, see `lnq.data.store.case_folder`

A case appears whole or not at all, and carries what is needed to tell that it is damaged or stale.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lnq.data.case import Case, Split, Supervision
from lnq.data.datasets.source_hash import SourceHashes
from lnq.data.preparation.label_field import annotated
from lnq.data.preparation.preprocessing import ALGORITHM
from lnq.data.store.case_arrays import stored_arrays
from lnq.data.store.case_folder import (
    ARRAYS,
    BACKGROUND,
    CHEST,
    FOREGROUND,
    IMAGE,
    LABEL_FIELD,
    REBUILD,
    CaseEntry,
    digest_of,
    map_array,
    other_array,
    read_entry,
    remove_case,
    write_case,
)
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.checked_files import CheckedFiles
from lnq.data.store.packed_mask import PackedMask, packed_size
from lnq.errors import CaseError, RunError, UsageError
from lnq.files import MANIFEST, FailureLog, read_json, sha256
from lnq.volume import Array, Volume


class CaseStore:
    """Reads and writes the cases of one store.

    Args:
        root: Folder with a manifest, as `lnq.preprocess` writes it.

    Raises:
        UsageError: There is no store, or an older version of the preprocessing made it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)
        if not (self.root / MANIFEST).is_file():
            raise UsageError(
                "no preprocessed data", where=self.root, why=f"it has no {MANIFEST}",
                remedy="run lnq.preprocess, or give the folder that it wrote",
            )  # fmt: skip
        manifest = read_json(self.root / MANIFEST)
        if not isinstance(manifest, dict) or not {"settings", "cases"} <= manifest.keys():
            raise UsageError(
                "not a store of preprocessed data", where=self.root,
                remedy="give the folder that lnq.preprocess wrote",
            )  # fmt: skip
        self.settings: dict[str, Any] = manifest["settings"]
        if self.settings.get("algorithm") != ALGORITHM:
            raise UsageError(
                "preprocessed by another version of lnq, otherwise than now", where=self.root,
                remedy="run lnq.preprocess again: it rebuilds all cases",
            )  # fmt: skip
        self.split_sha256: str | None = manifest.get("split_sha256")
        self._listed: list[str] = list(manifest["cases"])
        self._records: dict[str, CaseRecord] = {}
        self._hashes: dict[str, dict[str, str]] = {}
        self._checked = CheckedFiles([f"{c}/{name}" for c in self._listed for name in ARRAYS])

    def case_ids(
        self, split: Split | None = None, supervision: Supervision | None = None
    ) -> list[str]:
        """Ids of the finished cases, in the dataset's order, of one split and kind of supervision.

        A case that failed, or that was made with other settings, is not among them.

        Raises:
            RunError: A case's record is damaged.
        """
        finished = []
        for case_id in self._listed:
            if case_id not in self._records:
                entry = read_entry(self._folder(case_id))
                if entry is None or entry.settings != self.settings:
                    continue
                self._keep(entry)
            record = self._records[case_id]
            if split in (None, record.split) and supervision in (None, record.supervision):
                finished.append(case_id)
        return finished

    def unfinished(self) -> list[str]:
        """Ids of the cases that preprocessing, stopped or still at work, has yet to do.

        Raises:
            RunError: A case's record is damaged.
        """
        done = {*self.case_ids(), *FailureLog.cases(self.root)}
        return [case_id for case_id in self._listed if case_id not in done]

    def record(self, case_id: str) -> CaseRecord:
        """What is known of a case.

        Raises:
            CaseError: The store does not hold it.
            RunError: It is damaged.
        """
        if case_id not in self._records:
            entry = read_entry(self._folder(case_id))
            if entry is None:
                raise CaseError(
                    "the store does not hold this case", where=self._folder(case_id), remedy=REBUILD
                )
            self._keep(entry)
        return self._records[case_id]

    def content_sha256(self, case_ids: Sequence[str]) -> str:
        """Hash of all arrays of some cases, as they were recorded when this store was opened.

        Raises:
            CaseError: The store does not hold one of them.
            RunError: A record is damaged.
        """
        for case_id in case_ids:
            self.record(case_id)
        return digest_of({case_id: self._hashes[case_id] for case_id in case_ids})

    def image(self, case_id: str) -> Array:
        """The normalised scan as a read-only memory map, float16 z y x.

        Raises:
            CaseError: The array is missing or not of the recorded size.
        """
        return self._mapped(case_id, IMAGE, np.float16)

    def label_field(self, case_id: str) -> Array | None:
        """The label's field as a read-only memory map, z y x; None where there is no label.

        It is int8: `label_field.annotated` makes the mask of it, `label_field.decoded` the field.

        Raises:
            CaseError: The array is missing or not of the recorded size.
        """
        if self.record(case_id).label is None:
            return None
        return self._mapped(case_id, LABEL_FIELD, np.int8)

    def label(self, case_id: str) -> Array | None:
        """The label on the working grid, uint8 z y x of 0 and 1; None where there is none.

        Raises:
            CaseError: The array is missing or not of the recorded size.
        """
        field = self.label_field(case_id)
        return None if field is None else annotated(field)

    def foreground(self, case_id: str) -> Array:
        """Coordinates (n, 3) z y x of annotated voxels, int32; a fixed sample of 10,000 at most."""
        if self.record(case_id).label is None:
            return np.zeros((0, 3), np.int32)
        array = self._load(case_id, FOREGROUND)
        if array.dtype != np.int32 or array.ndim != 2 or array.shape[1] != 3:
            raise other_array(self._folder(case_id) / FOREGROUND)
        return np.array(array)

    def background(self, case_id: str) -> PackedMask | None:
        """What masks say can be no node, annotated voxels included; None where there are no masks.

        Raises:
            CaseError: The array is missing or not of the recorded size.
        """
        record = self.record(case_id)
        if record.background_sha256 is None:
            return None
        bits = self._mapped(case_id, BACKGROUND, np.uint8, packed_size(record.grid.size))
        return PackedMask(bits, record.grid.size)

    def distance(self, case_id: str, kind: int) -> Volume | None:
        """Millimetres from the lungs or from the body, uint8; None where they are not stored.

        Args:
            case_id: The case.
            kind: `LUNGS` or `BODY` of `lnq.data.preparation.chest_distance`.

        Raises:
            CaseError: The array is missing or not of the recorded size.
        """
        grid = self.record(case_id).chest_grid
        if grid is None:
            return None
        return Volume(self._mapped(case_id, CHEST, np.uint8, (2, *grid.size))[kind], grid)

    def write(
        self,
        record: CaseRecord,
        image: Array,
        field: Array | None,
        background: Array | None = None,
        distances: Array | None = None,
    ) -> None:
        """Writes a case, in place of an older one of that id.

        Args:
            record: Its grids and number of annotated voxels must be those of the arrays.
            image: Normalised scan z y x.
            field: The label's field, z y x, or None.
            background: What masks say can be no node, bool z y x, or None.
            distances: From lungs and body, uint8 (2, z, y, x) on `record.chest_grid`, or None.

        Raises:
            RunError: The disk does not take it.
        """
        arrays = stored_arrays(record, image, field, background, distances)
        self._forget(record.case_id)
        self._keep(write_case(self._folder(record.case_id), record, self.settings, arrays))

    def remove(self, case_id: str) -> None:
        """Takes a case out, if it is there: out of sight first, so that a kill leaves no half.

        Raises:
            RunError: The disk does not allow it.
        """
        remove_case(self._folder(case_id))
        self._forget(case_id)

    def fault(self, case: Case, hashes: SourceHashes) -> str | None:
        """Why the stored form of a case cannot be used, or None where it can; reads it in full.

        Args:
            case: The case as the dataset has it now.
            hashes: Of its files as they are now.
        """
        try:
            entry = read_entry(self._folder(case.case_id))
        except RunError:
            return "its record cannot be read"
        if entry is None:
            return "missing"
        if entry.settings != self.settings:
            older = entry.settings.get("algorithm") != ALGORITHM
            return f"it was made {'by another version' if older else 'with other settings'}"
        record = CaseRecord.from_dict(entry.record)
        if (record.image_sha256, record.label_sha256) != (hashes.image, hashes.label):
            return "the scan or its label has changed"
        if record.background_sha256 != hashes.background:
            return "its masks of background have changed"
        if any(getattr(record, k) != getattr(case, k) for k in ("split", "supervision", "group")):
            return "its split, supervision or group has changed"
        for name, digest in entry.arrays.items():
            file = self._folder(case.case_id) / name
            if not file.is_file() or sha256(file) != digest:
                return f"{name} is damaged"
        return None

    def _folder(self, case_id: str) -> Path:
        return self.root / "cases" / case_id

    def _keep(self, entry: CaseEntry) -> None:
        """Remembers a case as it is now: what its arrays become later is another case's."""
        record = CaseRecord.from_dict(entry.record)
        self._records[record.case_id] = record
        self._hashes[record.case_id] = entry.arrays

    def _forget(self, case_id: str) -> None:
        self._records.pop(case_id, None)
        self._hashes.pop(case_id, None)

    def _mapped(
        self, case_id: str, name: str, dtype: type[np.generic], size: Sequence[int] | None = None
    ) -> Array:
        """An array of a size, that of the working grid unless another one is given."""
        array = self._load(case_id, name)
        if array.dtype != dtype or array.shape != (size or self.record(case_id).grid.size):
            raise other_array(self._folder(case_id) / name)
        return array

    def _load(self, case_id: str, name: str) -> Array:
        path = self._folder(case_id) / name
        self.record(case_id)
        try:
            digest = self._hashes[case_id].get(name, "")
            unchanged = self._checked.holds(f"{case_id}/{name}", path, digest)
        except OSError as error:
            raise CaseError(
                "cannot read a preprocessed array", where=path, why=str(error), remedy=REBUILD
            ) from error
        if not unchanged:
            raise other_array(path, "it is damaged, or was rebuilt since")
        return map_array(path)
