"""All figures of speed of this machine, each beside what it is to be held against.

    python benchmarks/run.py [--out benchmarks/results] [--seconds 350]

Every measurement is a process of its own with a limit of its own; what takes too long is left out
and said. Writes DEVICE.json and DEVICE.md after each of them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

PATCH = (64, 128, 224)
PAPER: dict[str, Sequence[float]] = {
    "widths": (16, 32, 64, 128, 256, 512), "dropouts": (0.05, 0.1, 0.2, 0.3, 0.5),
}  # fmt: skip
SMALL: dict[str, Sequence[float]] = {"widths": (8, 16, 32), "dropouts": (0.1, 0.2)}
COMPILED = "acceleration.compile=true"
LAST = "acceleration.channels_last=true"


def _training(place: Path, *more: str) -> dict[str, float]:
    from training import lnq_train

    return lnq_train(place, f"run{len(more)}", PATCH, PAPER, 150, *more, "trainer.max_epochs=2")


def _compile(place: Path, *more: str) -> dict[str, float]:
    from training import lnq_train

    short = ("trainer.max_epochs=1", "+trainer.max_steps=2", "trainer.log_every_n_steps=1")
    return lnq_train(place, f"compiled{len(more)}", PATCH, PAPER, 2, *more, *short)


def _plain(place: Path) -> dict[str, float]:
    from training import plain_step

    return plain_step(PATCH, PAPER, 20 if torch.cuda.is_available() else 3)


def _resumed(place: Path) -> dict[str, float]:
    from training import resumed

    return resumed(place / "resumed", (16, 32, 32), SMALL)


def _windows(place: Path) -> dict[str, float]:
    from inference import windows

    return windows(PATCH, PAPER, 12)


def _long_scan(place: Path) -> dict[str, float]:
    from inference import long_scan

    return long_scan(place, (656, 512, 512), place / "run1")


def _make_scan(place: Path) -> dict[str, float]:
    from made_up import make_scan

    make_scan(place / "scan.nrrd", (656, 512, 512))
    return {}


def _losses(place: Path) -> dict[str, float]:
    from on_cpu import losses

    return losses(PATCH, 5)


def _corruption(place: Path) -> dict[str, float]:
    from on_cpu import corruption

    return corruption(PATCH, 30)


def _evaluation(place: Path) -> dict[str, float]:
    from made_up import make_masks
    from on_cpu import evaluation

    return evaluation(*make_masks(place, (120, 512, 512)), 3)


def _help(place: Path) -> dict[str, float]:
    from on_cpu import helps

    return helps()


MEASUREMENTS: dict[str, tuple[Callable[[Path], dict[str, float]], float]] = {
    "compile": (lambda place: _compile(place, COMPILED), 180),
    "compile channels last": (lambda place: _compile(place, COMPILED, LAST), 180),
    "make scan": (_make_scan, 60),
    "resumed": (_resumed, 180),
    "training": (lambda place: _training(place, COMPILED), 150),
    "plain": (_plain, 50),
    "training channels last": (lambda place: _training(place, COMPILED, LAST), 150),
    "long scan": (_long_scan, 60),
    "windows": (_windows, 40),
    "losses, on the CPU": (_losses, 60),
    "corruption, of a core": (_corruption, 60),
    "evaluation of 512 x 512 x 120": (_evaluation, 60),
    "help": (_help, 30),
}
"""By name: what it does and the seconds that it may take."""
TOGETHER = ("compile", "compile channels last", "make scan", "resumed")
"""These prepare the others, side by side: what they compile lies in a cache."""

NEEDS = {"training channels last": "compile channels last"}
"""What was not prepared in time would take its time again."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=350, help="of everything")
    parser.add_argument("--only", nargs="*", default=list(MEASUREMENTS))
    parser.add_argument("--measure", help="one, in this process", metavar="NAME")
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.measure:
        found = MEASUREMENTS[options.measure][0](options.place)
        (options.place / f"{options.measure}.json").write_text(json.dumps(found))
        return
    with tempfile.TemporaryDirectory() as place:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{place}/compiled"
        Driver(Path(place), options.out, time.monotonic() + options.seconds).run(options.only)


class Driver:
    """Runs measurements and keeps what they found."""

    def __init__(self, place: Path, out: Path, deadline: float) -> None:
        self.place, self.out, self.deadline = place, out, deadline
        self.found: dict[str, Any] = {}
        out.mkdir(parents=True, exist_ok=True)

    def run(self, names: Sequence[str]) -> None:
        """First those that prepare, together; then one by one."""
        first = [name for name in names if name in TOGETHER]
        if "compile" in first or "resumed" in first:
            self._prepare_stores()
        begun = time.monotonic()
        for name, process in [(name, self._start(name, len(first))) for name in first]:
            self._end(name, process, begun)
        for name in names:
            if name in TOGETHER:
                continue
            if "ms" in self.found.get(NEEDS.get(name, ""), {"ms": 0}):
                self._end(name, self._start(name, 1), time.monotonic())
        print((self.out / f"{_device()}.md").read_text())

    def _prepare_stores(self) -> None:
        from made_up import make_store

        make_store(self.place / "store", tuple(n + 110 for n in PATCH))

    def _start(self, name: str, beside: int) -> subprocess.Popen[bytes]:
        threads = max(2, (os.cpu_count() or 2) // beside)
        environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": str(threads)}
        command = [sys.executable, __file__, "--measure", name, "--place", str(self.place)]
        return subprocess.Popen(command, env=environment, start_new_session=True)

    def _end(self, name: str, process: subprocess.Popen[bytes], begun: float) -> None:
        limit = MEASUREMENTS[name][1]
        try:
            end = min(begun + limit, self.deadline)
            code = process.wait(max(1.0, end - time.monotonic()))
            file = self.place / f"{name}.json"
            self.found[name] = json.loads(file.read_text()) if file.exists() else {"failed": code}
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self.found[name] = {"not_within_s": limit}
        print(f"{name}: {self.found[name]}", flush=True)
        self._write()

    def _write(self) -> None:
        facts = {"machine": _machine(), "found": self.found}
        (self.out / f"{_device()}.json").write_text(json.dumps(facts, indent=1))
        (self.out / f"{_device()}.md").write_text(table(self.found))


def table(found: dict[str, dict[str, float]]) -> str:
    """Markdown: each measurement with its figures, and how often faster than the plain step."""
    plain = found.get("plain", {}).get("ms")
    lines = ["| measured | figures | times plain |", "|---|---|---|"]
    for name, figures in found.items():
        told = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        beside = plain and name.startswith("training") and "ms" in figures
        lines.append(f"| {name} | {told} | {plain / figures['ms']:.2f} |" if beside else
                     f"| {name} | {told} | |")  # fmt: skip
    return "\n".join([*lines, ""])


def _machine() -> dict[str, Any]:
    found = {"torch": torch.__version__, "python": platform.python_version(),
             "cpus": len(os.sched_getaffinity(0)), "device": _device()}  # fmt: skip
    if torch.cuda.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def _device() -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu{os.cpu_count()}"
    return re.sub(r"\W+", "-", name.lower())


if __name__ == "__main__":
    main()
