"""Situations of users, one small file each: with what the commands answer them.

python benchmarks/situations.py FOLDER [--only f10 f18] [--store DIR] [--log DIR]

FOLDER holds scripts (`.py`, `.sh`) that build a situation and run commands on it; their first lines
say what is right and, after "Was:", what once came of it. A row of the table a command: its exit
code and the lines in which it says something. `--store` is a preprocessed phantom; without one, a
small one is made.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

PHANTOM = (
    "data=phantom", "data.layout.num_train=2", "data.layout.num_val=1", "data.layout.num_test=1",
    "data.layout.size_yx=64", "num_workers=0",
)  # fmt: skip
_EXIT = re.compile(r"^(?:(?P<what>.*?)\s*exit )?(?P<code>\d{1,3})$")
_SAID = re.compile(
    r"^(problem|note|warning|error)\b|: (failed|warning|note|error): |left out:", re.I
)
_MOST_SHOWN = 3


@dataclass(frozen=True)
class Answer:
    """What one command of a situation came to.

    Attributes:
        what: Which it is, where the situation says so.
        code: Its exit code; None = the situation does not tell it.
        said: Its lines that tell something, or its last one.
    """

    what: str
    code: int | None
    said: tuple[str, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--store", type=Path)
    parser.add_argument("--log", type=Path, default=Path(tempfile.mkdtemp()))
    given = parser.parse_args()
    store = given.store.resolve() if given.store else None
    print("| situation | before | exit | now |\n|---|---|---|---|")
    for script in situations(given.folder, given.only):
        if store is None and "preprocess/phantom" in script.read_text():
            store = _phantom(given.log)
        output = run(script, store, given.log)
        for answer in answers(output):
            code = "-" if answer.code is None else answer.code
            said = _cell("; ".join(answer.said))
            before = _cell(was(script))
            print(f"| {script.stem} {answer.what} | {before} | {code} | {said} |", flush=True)


def situations(folder: Path, only: list[str]) -> list[Path]:
    """The scripts that are a situation, in their order."""
    scripts = [p for p in sorted(folder.iterdir()) if re.fullmatch(r"f\d+_.*\.(py|sh)", p.name)]
    return [p for p in scripts if not only or p.name.partition("_")[0] in only]


def run(script: Path, store: Path | None, log: Path) -> str:
    """A situation's whole output, which is kept in a file of its name, too."""
    made = log / script.stem
    made.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(script.parent), os.environ.get("PYTHONPATH", "")]),
        "PY": sys.executable,
        "MADE": str(made.resolve()),
        "COLUMNS": "400",  # no line is broken
    }
    shell = [sys.executable] if script.suffix == ".py" else ["bash"]
    arguments = [str(store)] if store is not None and script.suffix == ".sh" else []
    done = subprocess.run(
        [*shell, str(script), *arguments], env=environment, text=True, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    (log / f"{script.stem}.log").write_text(done.stdout)
    return done.stdout


def answers(output: str) -> list[Answer]:
    """The commands of a situation: each ends with its exit code, alone or behind `exit`."""
    found, lines, what = [], list[str](), ""
    for line in output.splitlines():
        if line.startswith("# "):
            what = line[2:]
        elif match := _EXIT.fullmatch(line.strip()):
            found.append(Answer(match["what"] or what, int(match["code"]), _shown(lines)))
            lines, what = [], ""
        elif line.strip():
            lines.append(line.strip())
    if lines or not found:
        found.append(Answer("", None, _shown(lines) or ("nothing is said",)))
    return found


def _shown(lines: list[str]) -> tuple[str, ...]:
    """The lines that tell something; where none does, the last one."""
    telling = [text for text in lines if _SAID.search(text)] or lines[-1:]
    more = len(telling) - _MOST_SHOWN
    return (*telling[:_MOST_SHOWN], *([f"and {more} more lines"] if more > 0 else []))


def was(script: Path) -> str:
    """What the first lines of a situation say that once came of it."""
    end = '"""' if script.suffix == ".py" else "\n"
    before = script.read_text().partition("Was: ")[2].partition(end)[0]
    return " ".join(before.split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _phantom(log: Path) -> Path:
    """A small store, for situations that train."""
    outputs = log / "phantom"
    subprocess.run(
        [sys.executable, "-m", "lnq.preprocess", *PHANTOM, f"paths.outputs={outputs}"],
        check=True, stdout=sys.stderr,
    )  # fmt: skip
    return outputs / "preprocess/phantom"


if __name__ == "__main__":
    main()
