"""Processes that are forked with everything imported are as those that are started."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from support import forked
from support.lanes import watch

pytestmark = pytest.mark.process


def test_it_is_what_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("NAME = 'beside'")
    (tmp_path / "script.py").write_text(
        "import atexit, os, sys, torch\n"
        "from beside import NAME\n"
        "atexit.register(print, 'at the end')\n"
        "print(NAME, sys.argv[1:], os.getcwd(), dict(os.environ), __name__)\n"
        "print('told', file=sys.stderr)\n"
        "sys.exit(7)\n"
    )
    (tmp_path / "folder").mkdir()
    command = [sys.executable, tmp_path / "script.py", "a", "b c"]
    done = forked.run(command, cwd=tmp_path / "folder", env={"GIVEN": "ä"})
    said = f"beside ['a', 'b c'] {tmp_path}/folder {{'GIVEN': 'ä'}} __main__\nat the end\n"
    assert (done.returncode, done.stdout, done.stderr) == (7, said, "told\n")
    assert "process" in watch.done  # what marks are held to


@pytest.mark.parametrize(
    ("code", "ended", "told"),
    [
        ("1 / 0", 1, "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", -9, ""),
        ("import signal; signal.raise_signal(signal.SIGTERM)", -15, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
    ],
)
def test_it_ends_as_it_would(code: str, ended: int, told: str) -> None:
    done = forked.run([sys.executable, "-c", code])
    assert done.returncode == ended
    assert told in done.stderr
    assert bool(done.stderr) == bool(told)


def test_a_module_is_the_main_one() -> None:
    done = forked.run([sys.executable, "-m", "lnq.rank", "--help"])
    assert done.returncode == 0, done.stderr
    assert "python -m lnq.rank published=FILE" in done.stdout


def test_a_signal_meets_it_and_its_group_alone() -> None:
    code = "import os, time; print(os.getpgid(0), os.getsid(0), flush=True); time.sleep(60)"
    ours = forked.start([sys.executable, "-c", code])
    assert ours.stdout is not None
    assert ours.stdout.readline() == f"{os.getpgid(0)} {os.getsid(0)}\n"
    own = forked.start([sys.executable, "-c", code], start_new_session=True)
    assert own.stdout is not None
    assert own.stdout.readline() == f"{own.pid} {own.pid}\n"
    os.killpg(own.pid, signal.SIGINT)
    _, errors = own.communicate(20)
    assert (own.returncode, "KeyboardInterrupt" in errors) == (-signal.SIGINT, True)
    ours.send_signal(signal.SIGTERM)
    ours.communicate(20)
    assert ours.returncode == -signal.SIGTERM
