"""A dataset of three cases, and what becomes of them in a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lnq.data.case import Case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.building import build_store
from lnq.files import write_json
from lnq.volume import Volume
from lnq.volume_file import write_volume
from support.synthetic_chest import GRID, chest, ellipsoid

SETTINGS = Preprocessing(spacing_mm=(5.0, 4.0, 4.0))


def write_dataset(folder: Path) -> list[Case]:
    """Two training cases and one for validation, without a label."""
    found = []
    for number, split in enumerate(("train", "train", "val")):
        image, label = (folder / f"{kind}{number}.nrrd" for kind in ("ct", "seg"))
        scan = chest()
        scan.array[:, :, :2] += number
        write_volume(scan, image)
        if split == "train":
            node = ellipsoid(GRID, (0, 20, 10 * number), (15, 15, 15))
            write_volume(Volume(node.astype(np.uint8), GRID), label)
        kind = "partial" if split == "train" else "none"
        labelled = label if split == "train" else None
        found.append(Case(f"c{number}", image, labelled, split, kind, f"p{number}"))
    return found


def new_store(folder: Path, cases: list[Case], settings: Preprocessing) -> Path:
    ids = [case.case_id for case in cases]
    write_json(folder / "manifest.json", {"settings": settings.as_dict(), "cases": ids})
    return folder


def states(cases: list[Case], root: Path, num_workers: int = 0) -> dict[str, str]:
    return {o.case_id: o.reason or o.status for o in build_store(cases, root, num_workers)}
