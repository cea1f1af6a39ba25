"""Seconds and peak memory of preprocessing one case, by the size of the scan and the workers.

    python benchmarks/preprocessing.py [--slices 120 656] [--workers 1 2]

The scan is a phantom, enlarged to 512 x 512 x SLICES voxels and stored as int16 in a compressed
NRRD, with its label. Every worker gets one copy. Seconds, of the clock and of the processor, are
those of the whole, start of the processes included, through the number of cases; memory is the
largest resident set of a worker.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.case import Case
from lnq.data.phantom import LargestNodes, make_case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.building import build_store
from lnq.files import write_json
from lnq.volume import Volume, resample, to_sitk

ROWS = 512


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slices", type=int, nargs="+", default=(120, 656))
    parser.add_argument("--workers", type=int, nargs="+", default=(1, 2))
    parser.add_argument("--step", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        step, folder = options.step
        if step == "make":
            make(Path(folder), options.slices[0])
        else:
            measure(Path(folder), options.workers[0])
        return
    print("slices  workers  s/case  CPU s/case  peak GB/worker")
    for slices in options.slices:
        with tempfile.TemporaryDirectory() as folder:
            run("make", folder, "--slices", str(slices))
            for workers in options.workers:
                found = run("measure", folder, "--workers", str(workers))
                print(f"{slices:6d}  {workers:7d}  {found}", flush=True)


def run(step: str, folder: str, *arguments: str) -> str:
    """A step in a process of its own: a process hands its peak of memory down to its children."""
    call = [sys.executable, __file__, *arguments, "--step", step, folder]
    return subprocess.run(call, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make(folder: Path, slices: int) -> None:
    case = make_case(0, "train", 1, LargestNodes(count=3))
    small = case.image.grid
    extent = np.multiply(small.size, small.spacing_mm)
    grid = small.with_spacing((extent / (slices, ROWS, ROWS)).tolist())
    image = resample(case.image, grid, "linear", outside=-1000)
    noise = np.random.default_rng(0).integers(-15, 16, grid.size[1:], np.int16)
    image.array[:] += noise
    label = resample(case.instances, grid, "nearest")
    sitk.WriteImage(to_sitk(image), folder / "ct.nrrd", useCompression=True)
    mask = Volume((label.array > 0).astype(np.uint8), grid)
    sitk.WriteImage(to_sitk(mask), folder / "seg.nrrd", useCompression=True)


def measure(folder: Path, workers: int) -> None:
    root = folder / f"store{workers}"
    names = [f"case{number}" for number in range(workers)]
    write_json(root / "manifest.json", {"settings": Preprocessing().as_dict(), "cases": names})
    cases = [
        Case(name, folder / "ct.nrrd", folder / "seg.nrrd", "train", "partial", name)
        for name in names
    ]
    start = time.perf_counter()
    for outcome in build_store(cases, root, workers):
        if outcome.error is not None:
            raise outcome.error
    seconds = (time.perf_counter() - start) / workers
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = (used.ru_utime + used.ru_stime) / workers
    print(f"{seconds:6.1f}  {processor:10.1f}  {used.ru_maxrss / 2**20:14.2f}")


if __name__ == "__main__":
    main()
