"""What a scan takes in memory, by its size: so that the largest do within what is promised."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

from lnq.volume import Grid
from lnq.volume_file import write_volume

GRID = Grid((240, 256, 256), (1.25, 1.5, 1.5), (-188.0, -140.0, -145.0))
LARGEST, PROMISED = 512 * 512 * 656, 8e9
"""Voxels of LNQ2023's largest scan, and the bytes within which it is segmented."""
PROGRAM = 1.2e9
"""Bytes of the process before any scan, libraries and network, with room for their growth."""
A_VOXEL = 24.0
"""Bytes that two scans, one segmented and one prepared, may take for each voxel of one."""
PREDICT = """
import re, sys
from pathlib import Path
from lnq import Segmenter
from lnq.inference.mask_files import Job
from lnq.inference.scan_folder import predict_folder

run, scan, output = map(Path, sys.argv[1:])
def peak():  # of this program alone: what rusage tells includes the process that started it
    return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])

segmenter = Segmenter.load(run, "cpu", overlap=0.25)
before = peak()
jobs = [Job(name, scan, f"{name}.nrrd") for name in ("first", "second")]
code = predict_folder(segmenter, jobs, output, config={}, say=str, ahead=True)
print(code, before, peak())
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted otherwise elsewhere")
def test_a_scan_and_the_next_one_take_few_bytes_a_voxel(tmp_path: Path) -> None:
    # As many of the network's voxels to one of the scan's as in the largest, of 1 x 0.7 x 0.7 mm.
    spacing = [ours * here / there for ours, here, there in zip(
        (3.0, 0.8, 0.8), GRID.spacing_mm, (1.0, 0.7, 0.7), strict=True)]  # fmt: skip
    run = untrained_run(tmp_path / "run", (32, 64, 64), {"spacing_mm": spacing})
    scan = chest_with_spine(GRID)
    write_volume(scan, tmp_path / "scan.nrrd")
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, run, tmp_path / "scan.nrrd", tmp_path / "out"],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    code, before, peak = map(int, done.stdout.split())
    assert code == 0
    assert before < PROGRAM
    a_voxel = (peak - before) / scan.array.size
    assert a_voxel < A_VOXEL
    assert PROGRAM + A_VOXEL * LARGEST < PROMISED
