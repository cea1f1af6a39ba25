"""Patches a second: a stock TorchIO queue over compressed files against this project's queue.

    python benchmarks/patch_queue.py [--patches 60] [--size 105 241 345]

Both give image and label patches of 64 x 128 x 224 without augmentation, in one process, turn by
turn; the ratio is the finding.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torchio as tio

from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.queue import DrawSampler, PatchQueue, collate
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.files import write_json
from lnq.volume import Grid

PATCH = (64, 128, 224)
CASES = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=60)
    parser.add_argument("--size", type=int, nargs=3, default=(105, 241, 345))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = _make(Path(folder), tuple(options.size))
        ratios = []
        for _ in range(options.rounds):
            stock = _rate(_stock(Path(folder), options.patches), options.patches)
            ours = _rate(_ours(store, options.patches), options.patches)
            ratios.append(ours / stock)
            print(f"stock {stock:6.1f} patches/s   ours {ours:6.1f}   ratio {ratios[-1]:.1f}")
        print(f"median ratio {np.median(ratios):.1f}")


def _make(folder: Path, size: tuple[int, int, int]) -> CaseStore:
    rng = np.random.default_rng(0)
    names = [f"case{i}" for i in range(CASES)]
    write_json(folder / "manifest.json", {"settings": Preprocessing().as_dict(), "cases": names})
    store = CaseStore(folder)
    for name in names:
        image = rng.normal(size=size).astype(np.float32)
        label = (rng.random(size) < 1e-4).astype(np.uint8)
        grid = Grid(size, (3.0, 0.8, 0.8))
        path = folder / f"{name}.nii.gz"
        record = CaseRecord(
            name, "train", "partial", name, path, path, "0" * 64, "0" * 64, "0" * 64, grid, grid,
            0.0, 1.0, int(label.sum()), lungs_found=True,
        )  # fmt: skip
        store.write(record, image, label)
        sitk.WriteImage(sitk.GetImageFromArray(image), str(path))
        sitk.WriteImage(sitk.GetImageFromArray(label), str(folder / f"{name}-seg.nii.gz"))
    return store


def _stock(folder: Path, patches: int) -> Iterable[object]:
    subjects = [
        tio.Subject(
            image=tio.ScalarImage(folder / f"case{i}.nii.gz"),
            label=tio.LabelMap(folder / f"case{i}-seg.nii.gz"),
        )
        for i in range(CASES)
    ]
    each = 4
    dataset = tio.SubjectsDataset(subjects * (patches // (CASES * each) + 1))
    queue = tio.Queue(
        dataset, max_length=16, samples_per_volume=each,
        sampler=tio.UniformSampler(PATCH[::-1]), start_background=False,
    )  # fmt: skip
    return tio.SubjectsLoader(queue, batch_size=2)


def _ours(store: CaseStore, patches: int) -> Iterable[object]:
    rule = PatchRule(store.case_ids(), PATCH, 0.5, 0)
    sampler = DrawSampler(0, None, 2)
    queue = PatchQueue(PatchDataset(store, rule, None), sampler, 8, 0)
    return (collate([queue[0], queue[1]]) for _ in range(patches // 2))


def _rate(batches: Iterable[object], patches: int) -> float:
    start = time.perf_counter()
    for number, _ in enumerate(batches, 1):
        if 2 * number >= patches:
            break
    return patches / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
