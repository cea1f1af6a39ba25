"""`ckpt_path=last`: which run that is."""

from __future__ import annotations

from pathlib import Path

from lnq.config.as_written import quoted
from lnq.config.composition import Arguments, compose
from lnq.errors import UsageError
from lnq.run_folder import RunFolder

LAST = "ckpt_path=last"


def with_last_run(argv: list[str]) -> list[str]:
    """The command line with `ckpt_path=last` turned into the folder and checkpoint of a run.

    That is the run in `run_dir`, where that is given, else the newest beside the one that the
    command would begin without `ckpt_path=last`.

    Args:
        argv: Arguments of the command train.

    Raises:
        UsageError: No run has a checkpoint, or a sweep is asked for.
    """
    arguments = Arguments.parse(argv)
    if arguments.passes_through or LAST not in arguments.overrides:
        return argv
    if arguments.multirun:
        raise UsageError(
            "which run of the sweep?", where=LAST,
            remedy="leave it out: a sweep goes on with each run that is not finished",
        )  # fmt: skip
    (overrides,) = arguments.jobs()
    overrides.remove(LAST)
    folder = Path(compose("train", overrides, arguments.config_dir).run_dir)
    given = [override for override in overrides if override.partition("=")[0] == "run_dir"]
    run = RunFolder(folder) if given else _newest(folder.parent)
    rest = [argument for argument in argv if argument not in (LAST, *given)]
    return [*rest, f"run_dir={quoted(str(run.path))}", f"ckpt_path={quoted(str(run.checkpoint))}"]


def _newest(folder: Path) -> RunFolder:
    runs = [RunFolder(inner) for inner in folder.glob("*")]
    saved = [run for run in runs if run.checkpoint.exists()]
    if not saved:
        raise UsageError(
            "nothing to resume", where=folder, why="no run below it has a checkpoint",
            remedy="give run_dir=DIR, or leave out ckpt_path",
        )  # fmt: skip
    return max(saved, key=lambda run: run.checkpoint.stat().st_mtime)
