"""Kills, full disks and second processes: no half case, and one case lost at most."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support import forked
from support.small_store import SETTINGS, new_store, states, write_dataset
from support.synthetic_chest import GRID, chest

from lnq.data.case import Case
from lnq.data.store.building import build_case
from lnq.data.store.case_store import CaseStore
from lnq.errors import RunError, UsageError
from lnq.files import sole_user
from lnq.volume import Volume
from lnq.volume_file import write_volume


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    return write_dataset(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path, cases: list[Case]) -> Path:
    return new_store(tmp_path / "store", cases, SETTINGS)


@pytest.mark.process
def test_processes_give_the_same_store(cases: list[Case], root: Path, tmp_path: Path) -> None:
    alone = new_store(tmp_path / "alone", cases, SETTINGS)
    assert states(cases, alone) == states(cases, root, num_workers=2)
    for case_id in ("c0", "c1", "c2"):
        one, two = (CaseStore(folder).image(case_id) for folder in (alone, root))
        assert np.array_equal(one, two)


KILLS = """
import os, signal, sys
from pathlib import Path
import lnq.data.store.building as building
import lnq.data.preparation.examination as examination
from lnq.data.case import Case

real = examination.read_image_with_notes
def read_image_with_notes(path):
    if path.name.startswith("ct1"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
examination.read_image_with_notes = read_image_with_notes
if __name__ == "__main__":
    data, root = map(Path, sys.argv[1:])
    cases = [Case(f"c{n}", data / f"ct{n}.nrrd", None, "test", "none", "p") for n in range(3)]
    for outcome in building.build_store(cases, root, 2):
        print(outcome.case_id, outcome.status, flush=True)
"""


@pytest.mark.process
def test_killed_worker_costs_one_case_only(cases: list[Case], root: Path, tmp_path: Path) -> None:
    script = tmp_path / "kills.py"
    script.write_text(KILLS)
    done = forked.run([sys.executable, script, cases[0].image.parent, root], check=True)
    assert sorted(done.stdout.split("\n"))[1:] == ["c0 built", "c1 failed", "c2 built"]


@pytest.mark.process
def test_kill_while_writing_leaves_no_half_case(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(np, "save", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        build_case(cases[0], root)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert CaseStore(root).case_ids() == []
    assert states(cases[:1], root) == {"c0": "built"}


@pytest.mark.process
@pytest.mark.parametrize("change", ["stale", "broken"])
def test_kill_while_removing_leaves_no_half_case(
    change: str, cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_case(cases[0], root)
    scan = cases[0].image.read_bytes()
    cases[0].image.write_bytes(scan[:-1000])
    if change == "stale":
        write_volume(Volume(chest().array + np.int16(1), GRID), cases[0].image)
    child = os.fork()
    if child == 0:
        unlink = os.unlink

        def one_only(*args: Any, **kwargs: Any) -> None:
            unlink(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(os, "unlink", one_only)
        build_case(cases[0], root)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert list((root / "cases").glob("[!.]*")) == []
    assert CaseStore(root).case_ids() == []
    states(cases[:1], root)
    assert list((root / "cases").glob(".*")) == []


def test_full_disk_stops_the_run(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="No space left"):
        states(cases[:1], root)
    assert list((root / "cases").iterdir()) == []


def test_second_run_is_kept_out(tmp_path: Path) -> None:
    refused = pytest.raises(UsageError, match="another run")
    with sole_user(tmp_path / "out"), refused, sole_user(tmp_path / "out"):
        pass
    with sole_user(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"), sole_user(tmp_path / "file" / "out"):
        pass
