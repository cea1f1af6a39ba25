"""One user an output folder, on every disk; no link leads out of it, and what a kill left goes."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lnq.errors import UsageError
from lnq.files import sole_user
from lnq.locks import held
from lnq.run_folder import RunFolder

HOLD = """
import errno, fcntl, os, sys, time
from pathlib import Path
from lnq.files import sole_user

def none(*_):
    raise OSError(errno.ENOLCK, "No locks available")
if sys.argv[2] == "none":
    fcntl.flock = none
with sole_user(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["system", "none"])
def disk(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A disk with the operating system's locks, and one that has none."""
    if request.param == "none":

        def none(*_: object) -> None:
            raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

        monkeypatch.setattr(fcntl, "flock", none)
    return str(request.param)


def holding(folder: Path, disk: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder), disk], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


@pytest.mark.process
def test_a_second_process_waits_and_a_killed_one_frees(disk: str, tmp_path: Path) -> None:
    process = holding(tmp_path, disk)
    try:
        with pytest.raises(UsageError, match="another run is writing") as told, sole_user(tmp_path):
            pass
        assert (f"process {process.pid}" in str(told.value)) == (disk == "none")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    with sole_user(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


@pytest.mark.parametrize(
    ("owner", "free"),
    [
        ({"boot": "an earlier one"}, True),
        ({"started": "1"}, True),
        ({"pid": 2**22 + 1}, True),
        ({"host": "another"}, False),
        ({"space": "pid:[1]"}, False),
    ],
)
def test_who_finds_a_dead_owner_takes_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: dict[str, object], free: bool
) -> None:
    def none(*_: object) -> None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", none)
    lock = tmp_path / ".lock"
    with held(lock):
        mine = json.loads((tmp_path / ".lock.owner").read_text())
    (tmp_path / ".lock.owner").write_text(json.dumps(mine | owner))
    if free:
        with held(lock):
            assert json.loads((tmp_path / ".lock.owner").read_text()) == mine
        assert not (tmp_path / ".lock.owner").exists()
    else:
        with pytest.raises(BlockingIOError, match="if that has ended, remove"), held(lock):
            pass


def test_a_lock_that_is_a_link_empties_nothing(tmp_path: Path) -> None:
    victim, folder = tmp_path / "thesis.txt", tmp_path / "out"
    victim.write_text("years of work")
    folder.mkdir()
    (folder / ".lock").symlink_to(victim)
    with pytest.raises(UsageError, match="cannot write the output folder"), sole_user(folder):
        pass
    assert victim.read_text() == "years of work"


@pytest.mark.parametrize("name", ["probabilities", "predictions/x", "config.yaml"])
def test_a_link_that_leads_out_is_not_written_through(tmp_path: Path, name: str) -> None:
    outside, folder = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    (folder / name).parent.mkdir(parents=True)
    (folder / name).symlink_to(outside)
    with pytest.raises(UsageError, match="a link leads out of the folder"), sole_user(folder):
        pass


def test_links_that_stay_inside_and_a_linked_output_folder_are_fine(tmp_path: Path) -> None:
    (tmp_path / "disk" / "a").mkdir(parents=True)
    (tmp_path / "disk" / "b").symlink_to("a")
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    with sole_user(tmp_path / "out"):
        pass


@pytest.mark.parametrize(
    "part", ["predictions", "evaluation", "training", "config", "curves", "manifest", "panels"]
)
def test_no_part_of_a_run_is_a_link_out_of_it(tmp_path: Path, part: str) -> None:
    run = RunFolder(tmp_path / "run")
    place = getattr(run, part)
    place = getattr(place, "path", place)
    place.parent.mkdir()
    place.symlink_to(tmp_path)
    with pytest.raises(UsageError, match="a link leads out"):
        getattr(run, part)


def test_what_a_killed_run_was_writing_goes(tmp_path: Path) -> None:
    mine = [tmp_path / ".77.tmp.a.nrrd", tmp_path / "imagesTr" / ".77.tmp.b.nii.gz"]
    theirs = tmp_path / "predictions" / ".78.tmp.c.nrrd"
    kept = [tmp_path / ".tmp", tmp_path / "imagesTr" / "77.tmp.b", theirs]
    for path in (*mine, *kept, theirs.with_name(".lock")):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    (tmp_path / ".79.tmp.case").mkdir()
    (tmp_path / ".79.tmp.case" / "image.npy").write_bytes(b"half")
    with sole_user(tmp_path):
        assert not any(path.exists() for path in (*mine, tmp_path / ".79.tmp.case"))
        assert all(path.exists() for path in kept)
