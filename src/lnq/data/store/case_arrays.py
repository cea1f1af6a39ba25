"""What of a prepared case goes to the disk: its arrays as they are stored, by the files' names."""

from __future__ import annotations

import numpy as np

from lnq.data.preparation.label_field import SURFACE, encoded
from lnq.data.store.case_folder import BACKGROUND, CHEST, FOREGROUND, IMAGE, LABEL_FIELD
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.packed_mask import packed
from lnq.seeding import generator
from lnq.volume import Array

MAX_FOREGROUND = 10_000  # plenty of places to centre a patch on, and small to read


def stored_arrays(
    record: CaseRecord,
    image: Array,
    field: Array | None,
    background: Array | None,
    distances: Array | None,
) -> dict[str, Array]:
    """The arrays of a case in the types in which they are stored.

    Args:
        record: As for `CaseStore.write`; so are the others.
        image: Normalised scan z y x.
        field: The label's field, z y x, or None.
        background: What masks say can be no node, bool z y x, or None.
        distances: From lungs and body, uint8 (2, z, y, x), or None.

    Raises:
        ValueError: They do not fit the record.
    """
    if (
        image.shape != record.grid.size
        or (field is None) != (record.label is None)
        or (background is None) != (record.background_sha256 is None)
        or (distances is None) != (record.chest_grid is None)
    ):
        raise ValueError(f"arrays of {record.case_id} do not fit their record")
    arrays: dict[str, Array] = {IMAGE: image.astype(np.float16)}
    if field is not None:
        arrays[LABEL_FIELD] = encoded(field)
        arrays[FOREGROUND] = _foreground(field, record.case_id)
    if background is not None:
        arrays[BACKGROUND] = packed(background)
    if distances is not None:
        arrays[CHEST] = distances
    return arrays


def _foreground(field: Array, case_id: str) -> Array:
    coordinates = np.argwhere(field >= SURFACE).astype(np.int32)
    if len(coordinates) <= MAX_FOREGROUND:
        return coordinates
    rng = generator(0, "foreground", case_id)
    return coordinates[np.sort(rng.choice(len(coordinates), MAX_FOREGROUND, replace=False))]
