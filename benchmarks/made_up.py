"""Data of the sizes that matter, out of nothing: a store of patches' cases, a long scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.files import write_json
from lnq.volume import Grid

Size = tuple[int, int, int]


def make_store(root: Path, size: Size, cases: int = 4) -> Path:
    """A store of noise with a node in the middle of each case."""
    settings = Preprocessing().as_dict()
    names = [f"case_{n}" for n in range(cases)]
    write_json(root / "manifest.json", {"settings": settings, "cases": names})
    store, grid = CaseStore(root), Grid(size, (3.0, 0.8, 0.8))
    rng = np.random.default_rng(0)
    label = np.zeros(size, np.uint8)
    label[tuple(slice(n // 2 - 2, n // 2 + 2) for n in size)] = 1
    for name in names:
        image = rng.standard_normal(size, np.float32) + 2 * label
        scan = Path(f"/scans/{name}.nrrd")
        record = CaseRecord(
            name, "train", "partial", name, scan, scan, "0" * 64, "1" * 64, name, grid, grid,
            -500.0, 400.0, int(label.sum()), lungs_found=True,
        )  # fmt: skip
        store.write(record, image, label)
    return root


def make_scan(path: Path, size: Size) -> Path:
    """A body with two lungs; 0.7 mm voxels and slices of 1 mm at 512 x 512 x 656."""
    z, y, x = (np.linspace(-1, 1, n, dtype=np.float32) for n in size)
    y, x = y[:, None], x[None]
    body = (x / 0.9) ** 2 + (y / 0.65) ** 2 < 1
    lungs = ((np.abs(x) - 0.42) / 0.3) ** 2 + (y / 0.45) ** 2
    hu = np.empty(size, np.int16)
    rng = np.random.default_rng(0)
    noise = rng.integers(-30, 30, size[1:], dtype=np.int16)
    for slice_, height in zip(hu, z, strict=True):
        tissue = np.where(body, 40, -1000) + np.roll(noise, int(1000 * height))
        slice_[:] = np.where(lungs < 1 - height**2, -850, tissue)
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((358 / size[2], 358 / size[1], 656 / size[0]))
    sitk.WriteImage(image, path)
    return path


def make_masks(folder: Path, size: Size, nodes: int = 15) -> tuple[Path, Path]:
    """A reference of numbered nodes, balls of 4 to 12 mm, and a prediction a voxel beside them."""
    rng, spacing = np.random.default_rng(0), (3.0, 0.7, 0.7)
    reference = np.zeros(size, np.uint8)
    for number in range(1, nodes + 1):
        radius = rng.uniform(2, 6) / np.asarray(spacing)
        centre = rng.uniform(radius + 1, np.asarray(size) - radius - 1)
        axes = np.ogrid[tuple(slice(n) for n in size)]
        off = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, centre, radius, strict=True))
        reference[off <= 1] = number
    paths = folder / "reference.nrrd", folder / "prediction.nrrd"
    for path, mask in zip(paths, (reference, np.roll(reference > 0, 1, 2)), strict=True):
        image = sitk.GetImageFromArray(mask.astype(np.uint8))
        image.SetSpacing(spacing[::-1])
        sitk.WriteImage(image, path, useCompression=True)
    return paths
