"""Files appear whole or not at all; folders have one user; messages keep their parts."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.folders import names

import lnq.files
from lnq.errors import CaseError, ConfigError, LnqError, RunError, UsageError
from lnq.files import (
    FailureLog,
    atomic_path,
    read_json,
    sha256,
    sole_user,
    write_json,
    write_manifest,
    write_text,
)


def test_atomic_path_gives_the_final_name_at_the_end_only(tmp_path: Path) -> None:
    target = tmp_path / "new" / "mask.nii.gz"
    with atomic_path(target) as temporary:
        assert temporary.name.endswith("mask.nii.gz")  # writers choose the format by the name
        temporary.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert names(target.parent) == ["mask.nii.gz"]


def test_atomic_path_keeps_the_old_file_when_writing_fails(tmp_path: Path) -> None:
    target = tmp_path / "summary.json"
    target.write_text("old")

    def fill_the_disk() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ha")
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        fill_the_disk()
    assert target.read_text() == "old"
    assert names(tmp_path) == ["summary.json"]


@pytest.mark.process
def test_atomic_path_survives_a_kill(tmp_path: Path) -> None:
    target = tmp_path / "store.npy"
    code = (
        "import os, pathlib, sys; from lnq.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as t:\n"
        "    t.write_text('half'); os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(target)], timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert not target.exists()


def test_flush_comes_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, seen = tmp_path / "a", []
    monkeypatch.setattr(lnq.files.os, "fsync", lambda handle: seen.append(target.exists()))
    write_text(target, "x")
    assert seen == [False]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_has_no_nan(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", {"dice": None, "where": Path("x")})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"dice": value})
    assert read_json(tmp_path / "a.json") == {"dice": None, "where": "x"}


def test_read_json_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"half": ')
    for name in ("a.json", "missing.json"):
        with pytest.raises(LnqError, match=name):
            read_json(tmp_path / name)


@pytest.mark.process
def test_sole_user_keeps_a_second_process_out_until_the_first_ends(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys; from lnq.files import sole_user; from lnq.errors import UsageError\n"
        "try:\n    with sole_user(pathlib.Path(sys.argv[1])): print('in')\n"
        "except UsageError as error: print(error)\n"
    )

    def second() -> str:
        command = [sys.executable, "-c", code, str(tmp_path / "out")]
        return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout

    with sole_user(tmp_path / "out"):
        assert "another run is writing into this folder" in second()
    assert second() == "in\n"


@pytest.mark.process
def test_a_worker_that_lives_on_does_not_keep_the_folder(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    with sole_user(tmp_path / "out"):
        worker = os.fork()
        if not worker:
            os.write(writing, b"x")
            signal.pause()
        os.read(reading, 1)
    try:
        with sole_user(tmp_path / "out"):
            pass
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_sole_user_refuses_a_file_in_the_folders_place(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with (
        pytest.raises(UsageError, match="cannot write the output folder"),
        sole_user(tmp_path / "out"),
    ):
        pass


def test_sha256_of_folders_depends_on_content_and_order(tmp_path: Path) -> None:
    for name, text in (("a", "1"), ("b", "2")):
        (tmp_path / "d" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "d" / name).write_text(text)
    first = sha256(tmp_path / "d")
    assert sha256(tmp_path / "d" / "a") != sha256(tmp_path / "d" / "b")
    assert sha256(tmp_path / "d") == first
    (tmp_path / "d" / "a").write_text("3")
    assert sha256(tmp_path / "d") != first


def test_manifest_says_where_a_folder_came_from(tmp_path: Path) -> None:
    write_manifest(tmp_path, "predict", {"checkpoint": "x"}, inputs={"c0": "hash"})
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written["stage"] == "predict"
    assert written["config"] == {"checkpoint": "x"}
    assert written["inputs"] == {"c0": "hash"}
    assert {"python", "lnq", "torch"} <= written["versions"].keys()
    assert written["command"]


def test_failures_are_listed_and_an_old_list_goes(tmp_path: Path) -> None:
    log = FailureLog()
    log.add("c1", CaseError("cannot read", where="c1.nrrd", why="cut short", remedy="copy it anew"))
    assert log.write(tmp_path) == 3
    assert read_json(tmp_path / "failures.json") == [
        {"case": "c1", "what": "cannot read", "where": "c1.nrrd", "why": "cut short",
         "remedy": "copy it anew"}
    ]  # fmt: skip
    assert FailureLog().write(tmp_path) == 0
    assert names(tmp_path) == []


def test_a_message_is_one_printable_line() -> None:
    error = UsageError("no such file", where="a\nb\x1b[31m", why="gone", remedy="look again")
    assert str(error) == r"no such file [a\nb\x1b[31m]: gone. Look again"


@pytest.mark.parametrize("kind", [LnqError, UsageError, ConfigError, CaseError, RunError])
def test_errors_learn_where_they_happened_unless_they_know(kind: type[LnqError]) -> None:
    error = kind("what", why="because", remedy="do").at("here")
    assert type(error) is kind
    assert (error.what, error.where, error.why, error.remedy) == ("what", "here", "because", "do")
    assert error.at("there").where == "here"


@pytest.mark.parametrize(
    ("kind", "code"),
    [(LnqError, 4), (UsageError, 2), (ConfigError, 2), (CaseError, 3), (RunError, 4)],
)
def test_errors_cross_processes_whole(kind: type[LnqError], code: int) -> None:
    error = pickle.loads(pickle.dumps(kind("what", where="here", why="because", remedy="do")))
    assert type(error) is kind
    assert error.exit_code == code
    assert (error.what, error.where, error.why, error.remedy) == ("what", "here", "because", "do")
