"""All figures of speed of this machine, each beside what it is to be held against.

    python benchmarks/run.py [--out benchmarks/results] [--seconds 350] [--original DIR]

Every measurement is a process of its own with a limit of its own, and all of them together have
one; what takes too long is left out and said. Writes DEVICE.json and DEVICE.md after each of them.
What training and losses are held against is the authors' code of the checkout DIR, without one a
plain stand-in for it.
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
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from original import require_checkout

ON_GPU = torch.cuda.is_available()
PATCH = (64, 128, 224)
# The paper's network halves z four times, y and x five times.
STEP_PATCH = PATCH if ON_GPU else (16, 64, 64)
PAPER: dict[str, Any] = {
    "widths": (16, 32, 64, 128, 256, 512), "dropouts": (0.05, 0.1, 0.2, 0.3, 0.5),
}  # fmt: skip
SMALL: dict[str, Any] = {"widths": (8, 16, 32), "dropouts": (0.1, 0.2)}
SMALL_PATCH = (16, 32, 32)
COMPILED = "acceleration.compile=true"
ORIGINAL = "ORIGINAL"
"""The variable by which processes of measurements know of the checkout."""
SECONDS = 350 if ON_GPU else 580
"""Of everything, by default."""


def _checkout() -> Path | None:
    given = os.environ.get(ORIGINAL)
    return Path(given) if given else None


def _training(place: Path, *more: str) -> dict[str, float]:
    from training import lnq_train

    steps = 150 if ON_GPU else 5
    name = "-".join(["run", *(word.split(".")[1] for word in more)])
    return lnq_train(place, name, STEP_PATCH, PAPER, steps, *more, "trainer.max_epochs=2")


def _compile(place: Path) -> dict[str, float]:
    from training import lnq_train

    short = ("trainer.max_epochs=1", "+trainer.max_steps=2", "trainer.log_every_n_steps=1")
    return lnq_train(place, "compiled", STEP_PATCH, PAPER, 2, COMPILED, *short)


def _pretraining(place: Path) -> dict[str, float]:
    from training import pretraining

    steps = 60 if ON_GPU else 5
    return pretraining(place, STEP_PATCH, PAPER, steps, "trainer.max_epochs=2")


def _reference(place: Path) -> dict[str, float]:
    from training import reference_step

    return reference_step(STEP_PATCH, PAPER, 20 if ON_GPU else 5, _checkout())


def _resumed(place: Path) -> dict[str, float]:
    from training import resumed

    return resumed(place / "resumed", SMALL_PATCH, SMALL)


def _windows(place: Path) -> dict[str, float]:
    from inference import windows

    return windows(PATCH, PAPER, 12 if ON_GPU else 2)


def _long_scan(place: Path) -> dict[str, float]:
    from inference import long_scan

    # Of which a run of these measurements is there: windows of the small one are a CPU's.
    run = place / "run-compile=true" if ON_GPU else place / "resumed" / "whole"
    return long_scan(place, (656, 512, 512), run)


def _make_scan(place: Path) -> dict[str, float]:
    from made_up import make_scan

    make_scan(place / "scan.nrrd", (656, 512, 512))
    return {}


def _losses(place: Path) -> dict[str, float]:
    from on_cpu import losses

    return losses(PATCH, 5, _checkout())


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


Measurements = dict[str, tuple[Callable[[Path], dict[str, float]], float]]
OF_COMPILING: Measurements = {"compile": (_compile, 180)}
OF_NETWORKS: Measurements = {
    "reference": (_reference, 100),
    "training": (lambda place: _training(place, *([COMPILED] if ON_GPU else [])), 150),
    "pre-training": (_pretraining, 100),
    "long scan": (_long_scan, 120),
    "windows": (_windows, 60),
}
OF_PROCESSORS: Measurements = {
    "losses, on the CPU": (_losses, 60),
    "corruption, of a core": (_corruption, 60),
    "evaluation of 512 x 512 x 120": (_evaluation, 60),
    "help": (_help, 60),
}
BEFORE: Measurements = {"make scan": (_make_scan, 60), "resumed": (_resumed, 180)}
# What matters most on a device comes first there. Nobody compiles for a CPU.
MEASUREMENTS: Measurements = (
    {**OF_COMPILING, **BEFORE, **OF_NETWORKS, **OF_PROCESSORS}
    if ON_GPU
    else {**BEFORE, **OF_PROCESSORS, **OF_NETWORKS}
)
"""By name: what it does and the seconds that it may take."""
TOGETHER = ("compile", "make scan", "resumed")
"""These prepare the others, side by side: what they compile lies in a cache."""

LEFT_OUT = {"left_out": "no time was left"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of everything")
    parser.add_argument("--original", type=Path, help="the authors' code", metavar="DIR")
    parser.add_argument("--only", nargs="*", default=list(MEASUREMENTS))
    parser.add_argument("--measure", help="one, in this process", metavar="NAME")
    parser.add_argument("--place", type=Path)
    options = parser.parse_args()
    if options.measure:
        found = MEASUREMENTS[options.measure][0](options.place)
        (options.place / f"{options.measure}.json").write_text(json.dumps(found))
        return
    os.environ.pop(ORIGINAL, None)
    if options.original is not None:
        require_checkout(options.original)
        os.environ[ORIGINAL] = str(options.original.absolute())
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
            if time.monotonic() >= self.deadline:
                self._keep(name, LEFT_OUT)
            else:
                self._end(name, self._start(name, 1), time.monotonic())
        print((self.out / f"{_device()}.md").read_text())

    def _prepare_stores(self) -> None:
        from made_up import make_store

        z, y, x = (side + 110 for side in STEP_PATCH)
        make_store(self.place / "store", (z, y, x))

    def _start(self, name: str, beside: int) -> subprocess.Popen[bytes]:
        threads = max(2, (os.cpu_count() or 2) // beside)
        environment = os.environ | {"TORCHINDUCTOR_COMPILE_THREADS": str(threads)}
        command = [sys.executable, __file__, "--measure", name, "--place", str(self.place)]
        return subprocess.Popen(command, env=environment, start_new_session=True)

    def _end(self, name: str, process: subprocess.Popen[bytes], begun: float) -> None:
        limit = MEASUREMENTS[name][1]
        end = min(begun + limit, self.deadline)
        try:
            code = process.wait(max(1.0, end - time.monotonic()))
            file = self.place / f"{name}.json"
            found = json.loads(file.read_text()) if file.exists() else {"failed": code}
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            found = {"not_within_s": round(end - begun)}
        self._keep(name, found)

    def _keep(self, name: str, found: dict[str, Any]) -> None:
        self.found[name] = found
        print(f"{name}: {self.found[name]}", flush=True)
        self._write()

    def _write(self) -> None:
        facts = {"machine": _machine(), "found": self.found}
        (self.out / f"{_device()}.json").write_text(json.dumps(facts, indent=1))
        (self.out / f"{_device()}.md").write_text(table(self.found))


def table(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: each measurement with its figures, and how often faster than the reference step."""
    reference = found.get("reference", {}).get("ms")
    lines = [f"Reference: {_told_reference()}.", "",
             "| measured | figures | times the reference |", "|---|---|---|"]  # fmt: skip
    for name, figures in found.items():
        told = ", ".join(
            f"{key} {value if isinstance(value, str) else format(value, '.4g')}"
            for key, value in figures.items()
        )
        faster = ""
        if reference is not None and name.startswith("training") and "ms" in figures:
            faster = f"{reference / figures['ms']:.2f} "
        lines.append(f"| {name} | {told} | {faster}|")
    return "\n".join([*lines, ""])


def _told_reference() -> str:
    checkout = _checkout()
    return f"the authors' code, {checkout}" if checkout else "the stand-in of benchmarks/plain.py"


def _machine() -> dict[str, Any]:
    found = {"torch": torch.__version__, "python": platform.python_version(),
             "cpus": len(os.sched_getaffinity(0)), "device": _device(),
             "reference": _told_reference()}  # fmt: skip
    if torch.cuda.is_available():
        found["cudnn"] = torch.backends.cudnn.version()
    return found


def _device() -> str:
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu{os.cpu_count()}"
    return re.sub(r"\W+", "-", name.lower())


if __name__ == "__main__":
    main()
