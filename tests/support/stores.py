"""Stores without preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.files import write_json
from lnq.volume import Grid


def write_store(
    root: Path,
    cases: dict[str, tuple[np.ndarray, np.ndarray | None, str, str]],
    patients: Mapping[str, str] = MappingProxyType({}),
) -> Path:
    """A store as `lnq.preprocess` leaves it.

    Args:
        root: Where.
        cases: By id: normalised image z y x, label or None, split, supervision.
        patients: Of cases whose patient is not called as they are.
    """
    settings = Preprocessing(spacing_mm=(3.0, 1.0, 1.0)).as_dict()
    write_json(root / "manifest.json", {"settings": settings, "cases": list(cases)})
    store = CaseStore(root)
    for case_id, (image, label, split, supervision) in cases.items():
        grid = Grid(image.shape, (3.0, 1.0, 1.0))
        record = CaseRecord(
            case_id, split, supervision, patients.get(case_id, case_id),
            Path(f"/scans/{case_id}.nrrd"),
            None if label is None else Path(f"/labels/{case_id}.nrrd"), "0" * 64,
            None if label is None else "1" * 64, case_id, grid, grid, -500.0, 400.0,
            0 if label is None else int(label.sum()), lungs_found=True,
        )  # fmt: skip
        store.write(record, image, label)
    return root
