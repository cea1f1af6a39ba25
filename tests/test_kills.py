"""kill -9 in the middle of preprocessing: what is there is whole, and the result is the same."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from support import forked
from support.synthetic_chest import SMALL, chest_with_spine

from lnq.volume import Volume
from lnq.volume_file import write_volume

# A process of its own, which forks one run after another: nothing has to be imported again, and no
# thread of a test that ran before is lost in a fork.
DRIVER = """
import os, random, signal, sys, time
from pathlib import Path
from lnq.data.store.building import build_store
from lnq.data.case import Case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_store import CaseStore
from lnq.files import write_json

root, store = Path(sys.argv[1]), Path(sys.argv[2])
cases = [Case(f"c{n}", root / f"ct{n}.nrrd", root / f"seg{n}.nrrd", "train", "partial", f"c{n}")
         for n in range(6)]
wanted, others = (Preprocessing(spacing_mm=(10.0, side, side)).as_dict() for side in (8.0, 9.0))

def begin(output, settings=wanted):
    ids = [case.case_id for case in cases]
    write_json(output / "manifest.json", {"settings": settings, "cases": ids})
    child = os.fork()
    if child == 0:
        code = 1
        try:
            assert not any(outcome.error for outcome in build_store(cases, output, 0))
            code = 0
        finally:
            os._exit(code)
    return child

def ended(child):
    state = os.waitpid(child, 0)[1]
    assert state in (0, signal.SIGKILL), state
    return state == 0

started = time.monotonic()
assert ended(begin(root / "undisturbed"))
whole = time.monotonic() - started
moments, hits = random.Random(4), 0
settings = wanted
while hits < 10:
    child = begin(store, settings)
    time.sleep(whole * moments.uniform(0.05, 0.6))
    os.kill(child, signal.SIGKILL)
    # A child does nothing else and ends by itself: one that the signal ended was at work.
    hits += not ended(child)
    stored = CaseStore(store)
    for path in (store / "cases").glob("[!.]*"):  # what is visible is whole, stale or not
        stored.image(path.name), stored.label(path.name), stored.foreground(path.name)
    if len(stored.case_ids()) == 6:  # from now on all are stale
        settings = others if settings == wanted else wanted
assert ended(begin(store))
print(hits)
"""


def files(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b""
        for path in (folder / "cases").rglob("*")
    }


@pytest.mark.process
def test_ten_kills_at_random_moments_change_nothing(tmp_path: Path) -> None:
    for number in range(6):
        noise = np.random.default_rng(number).integers(-9, 10, SMALL.size, dtype=np.int16)
        write_volume(Volume(chest_with_spine().array + noise, SMALL), tmp_path / f"ct{number}.nrrd")
        label = np.zeros(SMALL.size, np.uint8)
        label[14, 17:19, 22 : 24 + number] = 1
        write_volume(Volume(label, SMALL), tmp_path / f"seg{number}.nrrd")
    done = forked.run([sys.executable, "-c", DRIVER, tmp_path, tmp_path / "store"], timeout=570)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "10\n"
    undisturbed = files(tmp_path / "undisturbed")
    assert len([name for name in undisturbed if name.endswith("image.npy")]) == 6
    assert files(tmp_path / "store") == undisturbed
