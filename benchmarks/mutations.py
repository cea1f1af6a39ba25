"""Files of every format, damaged at random: what readers make of them, and the memory it takes.

PYTHONPATH=tests python benchmarks/mutations.py [--count 300] [--seed 0] [--only nii] [--say KIND]

Each damaged file is read in a process of its own. The table counts how many were refused, read the
same, read differently with a note and without one, ended in a traceback or killed the process;
MiB is the most that one of them took beyond what the process had.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk
from support.mutations import SUBJECTS, mutations

OUTCOMES = ("refused", "same", "noted", "different", "traceback", "killed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(SUBJECTS))
    parser.add_argument("--say", nargs="*", default=[], help="outcomes whose words are printed")
    given = parser.parse_args()
    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    print(f"{'format':16}" + "".join(f"{kind:>11}" for kind in OUTCOMES) + f"{'MiB':>8}")
    for name in given.only:
        folder = Path(tempfile.mkdtemp())
        counts, peak = Counter[str](), 0
        for number, read in mutations(name, folder, given.count, given.seed):
            kind, words, memory = _measured(read)
            counts[kind] += 1
            peak = max(peak, memory)
            if kind in given.say:
                print(f"{name} {number} {kind}: {words}", file=sys.stderr)
        shutil.rmtree(folder)
        print(
            f"{name:16}" + "".join(f"{counts[kind]:11}" for kind in OUTCOMES) + f"{peak:8}",
            flush=True,
        )


def _measured(read: Callable[[], tuple[str, str]]) -> tuple[str, str, int]:
    """Outcome, words, and the MiB that a process of its own took."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        Path("/proc/self/clear_refs").write_text("5")
        before = _peak()
        kind, words = read()
        with os.fdopen(theirs, "w") as pipe:
            json.dump([kind, words, _peak() - before], pipe)
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        said = pipe.read()
    os.waitpid(child, 0)
    return tuple(json.loads(said)) if said else ("killed", "", 0)


def _peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    main()
