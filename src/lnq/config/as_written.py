"""Values of a command line that Hydra's grammar would not take for what they are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

_KEY = re.compile(r"[+~]{0,2}[\w./@-]+")
_STRUCTURE = ("'", '"', "[", "{")


def as_written(argv: Sequence[str]) -> list[str]:
    """The command line with such values in quotes, and with `~` for the home folder.

    Paths hold letters, brackets, quotes and equal signs that the grammar refuses, and commas, which
    it takes for several values. Lists, mappings, interpolations and what is in quotes stay.
    """
    return [_taken(argument) for argument in argv]


def _taken(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if not equals or not _KEY.fullmatch(key) or key.startswith("-") or value.startswith(_STRUCTURE):
        return argument
    if value == "~" or value.startswith("~/"):
        value = os.path.expanduser(value)  # noqa: PTH111 (where there is no home, it stays)
    if "${" not in value and not _is_understood(f"{key}={value}", value):
        value = quoted(value)
    return f"{key}={value}"


def _is_understood(argument: str, value: str) -> bool:
    try:
        (parsed,) = OverridesParser.create().parse_overrides([argument])
    except HydraException:
        return False
    return not (parsed.is_sweep_override() and os.path.exists(value))  # noqa: PTH110 (False for what is no path)


def quoted(value: str) -> str:
    """A value that Hydra's grammar takes as it is, whatever a file is called."""
    # A backslash is doubled before a quote alone, the closing one included; elsewhere it stays.
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + m[2].replace("'", "\\'"), value) + "'"
