"""How threads wait: set by the commands before torch is loaded, and left alone in programs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import sys
sys.argv = ["-m"]  # as the interpreter leaves it while it looks for the module
import lnq, os
print(os.environ.get("OMP_WAIT_POLICY"), "torch" in sys.modules)
"""


@pytest.mark.process
@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [
        (COMMAND, None, "passive False"),
        (COMMAND, "active", "active False"),
        ("import lnq, os; print(os.environ.get('OMP_WAIT_POLICY'))", None, "None"),
    ],
)
def test_waiting_threads_sleep_in_commands(
    code: str, given: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    if given is not None:
        monkeypatch.setenv("OMP_WAIT_POLICY", given)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == expected


@pytest.mark.process
def test_a_command_is_told_from_a_program(tmp_path: Path) -> None:
    """What tells them apart is the interpreter's own doing."""
    package = tmp_path / "seen"
    package.mkdir()
    (package / "__init__.py").write_text("import sys; print(sys.argv[0])")
    (package / "verb.py").touch()
    told = subprocess.run(
        [sys.executable, "-m", "seen.verb"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert told.stdout.strip() == "-m"
