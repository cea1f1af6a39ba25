"""A run's `curves.csv`: a row a logged step, a column a quantity; strictly read.

Nothing can vouch for a file that still grows. So its reader takes only what `CurvesLogger` writes:
each row as wide as the header, whole steps in their order, numbers or nothing. A last line without
its end was cut by a kill, and is no row yet. A run that came to its end has the file's hash in its
manifest.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterator, Sequence

import pandas as pd

from lnq.errors import UsageError
from lnq.files import sha256
from lnq.run_folder import RunFolder
from lnq.run_manifest import read_manifest

STEP, EPOCH = "step", "epoch"

Row = dict[str, str]
"""By quantity the number as it was written; empty where it was not logged."""

_WHOLE = re.compile(r"\d{1,15}")
_NUMBER = re.compile(r"-?(\d{1,309}(\.\d{1,340})?(e[+-]\d{1,3})?|inf)|nan")


def read_rows(run: RunFolder) -> list[Row]:
    """What a run logged; nothing where it has not logged yet.

    Raises:
        UsageError: The file is damaged.
    """
    path = run.curves
    if not path.is_file():
        return []
    try:
        content = path.read_bytes()
        _check_hash(run)
        rows = list(_rows(content.decode("utf-8")))
    except (OSError, ValueError) as error:
        raise UsageError(
            "the run's curves are damaged", where=path, why=str(error),
            remedy="put a copy of the file in its place, or remove it: a run that is resumed "
            "begins it anew with the step it goes on from",
        ) from error  # fmt: skip
    return rows


def read_curves(run: RunFolder) -> pd.DataFrame:
    """What a run logged, as numbers; NaN where a quantity was not logged.

    Raises:
        UsageError: The file is damaged.
    """
    table = pd.DataFrame(read_rows(run), dtype=object)
    return table.replace("", math.nan).astype(float)


def last_logged(run: RunFolder, quantity: str) -> float | None:
    """The last value that a run logged under a name, if there is any.

    Raises:
        UsageError: The file is damaged.
    """
    values = [row[quantity] for row in read_rows(run) if row.get(quantity)]
    return float(values[-1]) if values else None


def _check_hash(run: RunFolder) -> None:
    if not run.manifest.is_file():
        return
    try:
        expected = read_manifest(run).curves_sha256
    except UsageError:  # whoever needs the manifest says so
        return
    if expected not in (None, sha256(run.curves)):
        raise ValueError("it is not what the run's manifest says that training left")


def _rows(text: str) -> Iterator[Row]:
    """The rows of whole lines.

    Raises:
        ValueError: Says which line is wrong, and how.
    """
    whole = text[: text.rfind("\n") + 1]
    if not whole:
        return
    lines = csv.reader(io.StringIO(whole), strict=True)
    try:
        header = next(lines)
        _check_header(header)
        step = 0
        for values in lines:
            row = _row(header, values)
            if int(row[STEP]) < step:
                raise ValueError("its step is before that of the line above")
            step = int(row[STEP])
            yield row
    except (csv.Error, StopIteration, ValueError) as error:
        raise ValueError(f"line {lines.line_num}: {error}") from error


def _check_header(names: Sequence[str]) -> None:
    if STEP not in names or len(set(names)) < len(names) or not all(names):
        raise ValueError(f"no header with different names and {STEP!r} among them")


def _row(header: Sequence[str], values: Sequence[str]) -> Row:
    if len(values) != len(header):
        raise ValueError(f"{len(values)} values under {len(header)} names")
    row = dict(zip(header, values, strict=True))
    for name, value in row.items():
        needed = name == STEP
        form = _WHOLE if name in (STEP, EPOCH) else _NUMBER
        if (value or needed) and not form.fullmatch(value):
            raise ValueError(f"{name} is {value[:40]!r}")
    return row
