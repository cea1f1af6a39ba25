"""What is installed is what was tested."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parents[1]
PIN = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)


def test_every_pin_but_torch_has_hashes_of_its_files() -> None:
    pins = dict(PIN.findall((ROOT / "constraints.txt").read_text()))
    entries = re.split(r"\n(?=\w)", (ROOT / ".ci" / "hashes.txt").read_text())[1:]
    hashed = {name: version for entry in entries for name, version in PIN.findall(entry)}
    assert len(hashed) == len(entries) > 100
    assert all("--hash=sha256:" in entry for entry in entries)
    pins.pop("torch")

    def plain(versions: dict[str, str]) -> dict[str, str]:
        return {re.sub(r"[-_.]+", "-", name).lower(): v for name, v in versions.items()}

    assert plain(hashed) == plain(pins)


def test_every_pin_takes_the_oldest_python_that_is_asked_for() -> None:
    """Debian 12's is 3.11.2: a pin that needs more fails there in the middle of the set-up."""
    pins = PIN.findall((ROOT / "constraints.txt").read_text())
    needs = {name: distribution(name).metadata["Requires-Python"] for name, _ in pins}
    too_new = {n: of for n, of in needs.items() if of and not SpecifierSet(of).contains("3.11.0")}
    assert too_new == {}
