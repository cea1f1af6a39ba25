"""What travels in the wheel: the configuration and the report's templates."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from support import REPOSITORY


@pytest.mark.process
def test_the_wheel_holds_configuration_and_templates(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("lnq-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    conf = {p.relative_to(REPOSITORY) for p in (REPOSITORY / "conf").rglob("*.yaml")}
    assert conf
    assert {f"lnq/{path.as_posix()}" for path in conf} <= names
    templates = set((REPOSITORY / "src" / "lnq" / "reporting" / "templates").iterdir())
    assert len(templates) == 5
    assert {f"lnq/reporting/templates/{path.name}" for path in templates} <= names
    assert {"hydra_plugins/lnq_sweeper.py", "lnq/py.typed"} <= names
    _help_comes_from(wheel, tmp_path / "unpacked")
    assert not [name for name in names if name.startswith(("tests", "outputs", "issues"))]


def _help_comes_from(wheel: Path, folder: Path) -> None:
    """Help reads the wheel's own conf/: one more file in it is one more line."""
    zipfile.ZipFile(wheel).extractall(folder)
    (folder / "lnq/conf/experiment/mine.yaml").write_text(
        "# @package _global_\n# My own.\nseed: 1\n"
    )
    shown = subprocess.run(
        [sys.executable, "-c", "from lnq.config.help import help_text; print(help_text('train'))"],
        cwd=folder, check=True, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": str(folder)},
    )  # fmt: skip
    lines = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert "mine My own" in lines
    assert any(line.startswith("table1/g Table 1, row g") for line in lines)
