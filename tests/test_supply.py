"""What is installed is what was tested."""

from __future__ import annotations

import re
from pathlib import Path

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
