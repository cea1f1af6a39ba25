"""Which way of running a training step, and a window of inference, is the fastest on this GPU.

    python benchmarks/acceleration.py [--out DIR] [--seconds 230]

Every variant has a process of its own. All prepare at once, the first ones with precedence, which
takes the processor and hardly the GPU; then each is measured while the others wait. What is not
prepared in time is stopped meanwhile, and measured at the end if there is time left. Results are
written after each variant.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import selectors
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

from acceleration_variants import VARIANTS

WORKER = Path(__file__).with_name("acceleration_worker.py")
LONGEST_S = 45
"""What one measurement may take."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--seconds", type=float, default=230, help="of everything")
    parser.add_argument("--prepare", type=float, default=100, help="seconds of preparation at most")
    parser.add_argument("--only", nargs="*", default=[v.name for v in VARIANTS])
    options, passed = parser.parse_known_args()
    options.out.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    results = Results(options.out)
    with (options.out / "log.txt").open("w") as log:
        chosen = [v.name for v in VARIANTS if v.name in options.only]
        workers = [Worker(name, passed, log, min(n, 19)) for n, name in enumerate(chosen)]
        try:
            wait_for(workers, begun + options.prepare)
            _measure(workers, begun, begun + options.seconds, results)
        finally:
            for worker in workers:
                worker.end()
    results.write()
    print((options.out / "table.md").read_text())


def _measure(workers: list[Worker], begun: float, deadline: float, results: Results) -> None:
    late = [worker for worker in workers if not worker.ready]
    for worker in late:
        worker.pause()
    for worker in workers:
        if worker.ready:
            results.add(worker.measure(deadline), begun)
    for worker in late:
        worker.resume()
    while late and time.monotonic() < deadline:
        wait_for(late, deadline, all_of_them=False)
        for worker in [each for each in late if each.ready or each.ended]:
            late.remove(worker)
            results.add(worker.measure(deadline), begun)
    for worker in late:
        results.add({"name": worker.name, "error": "not prepared in time"}, begun)


class Worker:
    """The process of one variant."""

    def __init__(self, name: str, passed: list[str], log: IO[str], niceness: int) -> None:
        self.name = name
        self.ready = self.ended = False
        self.prepared: dict[str, Any] = {}
        environment = {"TORCHINDUCTOR_COMPILE_THREADS": "3", "OMP_NUM_THREADS": "2"}
        self.process = subprocess.Popen(
            ["nice", "-n", str(niceness), sys.executable, str(WORKER), name, *passed],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
            start_new_session=True,
            env=environment | os.environ,
        )  # fmt: skip

    def read(self) -> dict[str, Any]:
        """Its next answer; nothing if it has died."""
        line = self.process.stdout.readline()
        self.ended = not line
        return json.loads(line) if line else {}

    def note_readiness(self) -> None:
        """Takes its first answer, which is there."""
        self.prepared = self.read()
        self.ready = bool(self.prepared)

    def measure(self, deadline: float) -> dict[str, Any]:
        """Lets it measure; an error in words if it cannot before `deadline`."""
        if not self.ready or self.process.poll() is not None:
            return {"name": self.name, "error": f"ended with {self.process.wait()}; see the log"}
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        if not _readable([self], min(deadline, time.monotonic() + LONGEST_S)):
            self.end()
            return {"name": self.name, "error": "not measured in time"}
        answer = self.read()
        if not answer:
            return {"name": self.name, "error": f"ended with {self.process.wait()}; see the log"}
        self.end()
        return answer | self.prepared

    def pause(self) -> None:
        """Stops it and the processes it compiles with."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Lets it go on."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Ends it and the processes it compiles with."""
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number: int) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)


def wait_for(workers: list[Worker], deadline: float, *, all_of_them: bool = True) -> None:
    """Waits until they are ready or dead, or one of them where one does, or until `deadline`."""
    waiting = [worker for worker in workers if not worker.ready and not worker.ended]
    while waiting and (answered := _readable(waiting, deadline)):
        for worker in answered:
            worker.note_readiness()
            waiting.remove(worker)
        if not all_of_them:
            return


def _readable(workers: list[Worker], deadline: float) -> list[Worker]:
    with selectors.DefaultSelector() as selector:
        for worker in workers:
            selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
        left = max(0.0, deadline - time.monotonic())
        return [key.data for key, _ in selector.select(left)]


class Results:
    """What was measured so far, in three files: numbers, a table, kernels."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.rows: list[dict[str, Any]] = []

    def add(self, row: dict[str, Any], begun: float) -> None:
        """Takes a variant's row and writes everything."""
        row["measured_at_s"] = round(time.monotonic() - begun, 1)
        self.rows.append(row)
        told = row.get("error") or f"{row.get('ms', row.get('ms_of_1', 0)):.1f} ms"
        print(f"{row['measured_at_s']:6.1f} s  {row['name']}: {told}", flush=True)
        self.write()

    def write(self) -> None:
        """Writes the files."""
        kernels = [
            f"## {row['name']}: busy {row['busy_ms']} ms, {row['kernels_a_step']:.0f} kernels, "
            f"{json.dumps(row['groups_ms'])}\n{row['text']}\n"
            for row in self.rows if "text" in row
        ]  # fmt: skip
        (self.out / "kernels.txt").write_text("\n".join(kernels))
        numbers = [{key: row[key] for key in row if key != "text"} for row in self.rows]
        facts = {"machine": _machine(), "variants": numbers}
        (self.out / "acceleration.json").write_text(json.dumps(facts, indent=1))
        (self.out / "table.md").write_text(_table(self.rows))


def _machine() -> dict[str, Any]:
    import torch

    found: dict[str, Any] = {
        "torch": torch.__version__, "python": platform.python_version(), "cpus": os.cpu_count(),
    }  # fmt: skip
    if torch.cuda.is_available():
        found |= {
            "gpu": torch.cuda.get_device_name(), "cudnn": torch.backends.cudnn.version(),
        }  # fmt: skip
    return found


def _table(rows: list[dict[str, Any]]) -> str:
    plain = next((row["ms"] for row in rows if row.get("plain") and "ms" in row), None)
    steps = ["| step | ms | times plain | forward | loss | backward | optimiser | host | GiB | "
             "prepared s | first step s | graphs, new, breaks |", "|" + "---|" * 12]  # fmt: skip
    windows = ["| window | ms, one | ms, of four | distance | GiB of 1, 4 |", "|" + "---|" * 5]
    other = []
    for row in rows:
        if "ms" in row:
            cells = [f"{row[key]:.1f}" for key in (
                "forward_ms", "loss_ms", "backward_ms", "optimiser_ms", "host_ms")]  # fmt: skip
            gib = f"{row.get('allocated_gib', 0):.2f} ({row.get('reserved_gib', 0):.2f})"
            counted = f"{row['graphs']}, {row['graphs'] - row['graphs_before']}, {row['breaks']}"
            ratio = f"{plain / row['ms']:.2f}" if plain else "?"
            cells = [row["name"], f"{row['ms']:.1f}", ratio, *cells, gib,
                     f"{row['prepared_s']:.0f}", f"{row['first_step_s']:.1f}", counted]  # fmt: skip
            steps.append(f"| {' | '.join(cells)} |")
        elif "ms_of_1" in row:
            gib = ", ".join(f"{row.get(f'allocated_gib_of_{n}', 0):.2f}" for n in (1, 4))
            windows.append(
                f"| {row['name']} | {row['ms_of_1']:.2f} | {row['ms_per_window_of_4']:.2f} | "
                f"{row['distance_of_1']:.1e} | {gib} |"
            )
        elif "convolutions" in row:
            other += ["", *_convolutions(row["convolutions"])]
        else:
            other.append(f"{row['name']}: {row['error']}")
    return "\n".join([*steps, "", *windows, *other, ""])


def _convolutions(rows: list[dict[str, Any]]) -> list[str]:
    """Times in ms, of forward, input's gradient and weights' gradient."""
    lines = ["| input | weight | count | contiguous | channels last | planar |", "|" + "---|" * 6]
    for row in rows:
        times = [" ".join(f"{t:.3f}" for t in row.get(key, ())) for key in
                 ("contiguous", "channels_last", "planar")]  # fmt: skip
        weight = f"{row['weight']}{' transposed' if row['transposed'] else ''}"
        lines.append(f"| {row['input']} | {weight} | {row['count']} | {' | '.join(times)} |")
    return lines


if __name__ == "__main__":
    main()
