"""What augmentation costs: milliseconds a patch of 64 x 128 x 224 with none, light and full.

    python benchmarks/augmentation.py [--patches 40] [--rounds 3]

One process, from a store on disk, turn by turn; the ratio to `none` is the finding. Patches are the
same in each round and setting, and `full` applies its transforms as often as it says.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from lnq.config import CONF, instantiate
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_record import CaseRecord
from lnq.data.store.case_store import CaseStore
from lnq.files import write_json
from lnq.volume import Grid

PATCH = (64, 128, 224)
SETTINGS = ("none", "light", "full")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patches", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = _make(Path(folder))
        rounds = []
        for _ in range(options.rounds):
            rounds.append([_milliseconds(store, name, options.patches) for name in SETTINGS])
            print(
                "   ".join(f"{n} {ms:.0f} ms" for n, ms in zip(SETTINGS, rounds[-1], strict=True))
            )
        medians = np.median(rounds, axis=0)
        for name, ms in zip(SETTINGS, medians, strict=True):
            print(f"{name:<6} median {ms:5.0f} ms a patch, {ms / medians[0]:.1f} times none")


def _make(folder: Path) -> CaseStore:
    rng = np.random.default_rng(0)
    size = (105, 241, 345)
    write_json(folder / "manifest.json", {"settings": Preprocessing().as_dict(), "cases": ["a"]})
    store = CaseStore(folder)
    label = (rng.random(size) < 1e-4).astype(np.uint8)
    grid = Grid(size, (3.0, 0.8, 0.8))
    path = folder / "a.nii.gz"
    record = CaseRecord(
        "a", "train", "partial", "a", path, path, "0" * 64, "0" * 64, "0" * 64, grid, grid,
        0.0, 1.0, int(label.sum()), lungs_found=True,
    )  # fmt: skip
    store.write(record, rng.normal(size=size).astype(np.float32), label)
    return store


def _milliseconds(store: CaseStore, name: str, patches: int) -> float:
    node = yaml.safe_load((CONF / "augmentation" / f"{name}.yaml").read_text())
    rule = PatchRule(store.case_ids(), PATCH, 0.5, seed=0)
    dataset = PatchDataset(store, rule, instantiate(node))
    start = time.perf_counter()
    for draw in range(patches):
        dataset[draw]
    return 1000 * (time.perf_counter() - start) / patches


if __name__ == "__main__":
    main()
