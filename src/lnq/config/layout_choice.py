"""`data=NAME` for command lines that do not say it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lnq.config.as_written import quoted
from lnq.config.composition import Arguments, group_options
from lnq.console import console
from lnq.construction import nearest
from lnq.data.datasets.layout_detection import LayoutCandidate, detect
from lnq.errors import UsageError

AUTO = "auto"
_OF_PAIRS = ("data.layout.table", "data.layout.images")


def with_layout(argv: list[str], anything: bool = False) -> list[str]:
    """The command line with the layout that `data.root` has, and one line that says so.

    It becomes the command line that the user could have given: everything after this, the
    dataset's name in the output folder included, is as if the user had.

    Args:
        argv: Arguments of a command that lists a dataset; those with `data=NAME` stay.
        anything: As for `detect`.

    Raises:
        UsageError: There is no `data.root`, or its layout is unknown or ambiguous.
    """
    arguments = Arguments.parse(argv)
    given = None if arguments.passes_through else _values(arguments)
    if given is None or given.get("data", AUTO) != AUTO:
        return argv
    candidate = _detected(given, anything)
    rest = [argument for argument in argv if not argument.startswith(("data=", "+data="))]
    more = {key: value for key, value in candidate.values.items() if key not in given}
    return [*rest, f"data={candidate.layout}", *(f"{k}={quoted(v)}" for k, v in more.items())]


def with_layout_or_scans(argv: list[str]) -> list[str]:
    """As `with_layout`, for a command that can do with scans alone."""
    return with_layout(argv, anything=True)


def _detected(given: dict[str, Any], anything: bool) -> LayoutCandidate:
    if any(key in given for key in _OF_PAIRS):
        return LayoutCandidate("pairs", "a table or a folder of images is given")
    root = given.get("data.root")
    if not isinstance(root, str | int):
        meant = [key for key in given if key != "data.root" and nearest(key, ["data.root"])]
        if meant:
            raise UsageError(
                f"{meant[0]}: no such key", remedy=f"did you mean data.root={given[meant[0]]}?"
            )
        names = ", ".join(name for name in group_options("data") if name != AUTO)
        raise UsageError(
            "which dataset?", where="data.root",
            remedy=f"give data.root=DIR, and data=NAME, one of {names}, to choose its layout",
        )  # fmt: skip
    candidate = detect(Path(str(root)), anything)
    console(stderr=True).print(f"layout of {root}: {candidate}")
    return candidate


def _values(arguments: Arguments) -> dict[str, Any] | None:
    """Values by key; None where the command line is at fault, which is told elsewhere."""
    try:
        parsed = OverridesParser.create().parse_overrides(list(arguments.overrides))
    except HydraException:
        return None
    single = {item.key_or_group: item.value() for item in parsed if not item.is_sweep_override()}
    root = single.get("data.root")
    try:
        return {**single, "data.root": OmegaConf.create({"root": root})["root"]}
    except OmegaConfBaseException:  # it refers to other keys: not known before composition
        return {**single, "data.root": None}
