"""Tables of cases as people, spreadsheets, pandas and Windows write them."""

from __future__ import annotations

import codecs
import csv
import io
from pathlib import Path

from lnq.data.datasets.checks import shortened
from lnq.errors import UsageError

BEYOND = "(cells beyond the header)"
"""Column of a row that is too long."""
_INDEX = ("", "unnamed: 0")  # what pandas calls the column that it adds
_HEAD = 1 << 12
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_csv(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV by the names of their columns.

    Commas, semicolons or tabs separate the cells. Lines of comments (`#`) before the header, rows
    without content and pandas' index are left out.

    Args:
        path: The file, in UTF-8 or UTF-16.

    Returns:
        Names in lower case and cells as texts, both without blanks around them.

    Raises:
        UsageError: It is no text, quotes do not match, a column is there twice, or the last row is
            cut off.
    """
    text = _text(path)
    if odd := sorted({repr(c) for c in text if c < " " and c not in "\r\n\t"}):
        raise _refusal(path, f"it holds {shortened(odd)}", "remove such characters")
    body = _without_preface(text)
    delimiter = _delimiter(body)
    try:
        lines = csv.reader(
            io.StringIO(body, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True
        )
        rows = [[cell.strip() for cell in row] for row in lines]
    except csv.Error as error:
        raise _refusal(path, f"line {lines.line_num}: {error}", "correct its quotes") from error
    names = [name.lower() for name in rows[0]] if rows else []
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise _refusal(path, f"the column {twice[0]} is there twice", "remove one")
    if len(rows) > 1 and len(rows[-1]) < len(names) and not text.endswith(("\n", "\r")):
        raise _refusal(path, f"its last row has {len(rows[-1])} of {len(names)} cells and no end",
                       "copy it again, or end that line")  # fmt: skip
    return [_record(names, row) for row in rows[1:] if any(row)]


def has_column(path: Path, name: str) -> bool:
    """Whether a CSV has a column, whatever else is wrong with it."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    text = head.decode("utf-16" if head.startswith(_UTF_16) else "utf-8-sig", "replace")
    body = _without_preface(text)
    cells = body.partition("\n")[0].lower().split(_delimiter(body))
    return name in (cell.strip().strip('"') for cell in cells)


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        # utf-8-sig: spreadsheets write a byte-order mark
        return content.decode("utf-16" if content.startswith(_UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _refusal(path, f"line {line} is not UTF-8", "save it as CSV in UTF-8") from error


def _without_preface(text: str) -> str:
    """The table from its header on; a spreadsheet may be told its separator before."""
    while text and (not text.splitlines()[0].strip() or text.startswith(("#", "sep=", "SEP="))):
        text = text.partition("\n")[2]
    return text


def _delimiter(text: str) -> str:
    # Where a comma is the decimal sign, spreadsheets write semicolons.
    return max(",;\t", key=text.partition("\n")[0].count)


def _record(names: list[str], row: list[str]) -> dict[str, str]:
    record = dict(zip(names, row, strict=False))
    for name in _INDEX:
        record.pop(name, None)
    if any(row[len(names) :]):
        record[BEYOND] = ", ".join(row[len(names) :])
    return record


def _refusal(path: Path, why: str, remedy: str) -> UsageError:
    return UsageError("cannot read the table", where=path, why=why, remedy=remedy)
