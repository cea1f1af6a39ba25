"""Tables as CSV files that a spreadsheet shows and never computes with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from lnq.files import write_text

_MARK = "'"
# How a spreadsheet knows a formula; and the mark itself, so that reading can take it away again.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", _MARK)


def write_table(path: Path, table: pd.DataFrame, float_format: str | None = None) -> None:
    """Writes a table without its index; a text that would be a formula gets `'` before it.

    Args:
        path: The file.
        table: Names in it may be a stranger's.
        float_format: As of pandas.
    """
    safe = _changed(table, _is_formula, lambda cell: _MARK + cell)
    write_text(path, safe.to_csv(index=False, float_format=float_format))


def read_table(path: Path, may_lack: Sequence[str]) -> pd.DataFrame:
    """A table as it was given to `write_table`; `case` is text.

    Args:
        path: The file.
        may_lack: Columns in which a field may be empty.
    """
    table = pd.read_csv(
        path,
        dtype={"case": str},
        keep_default_na=False,
        na_values={name: [""] for name in may_lack},
    )
    return _changed(table, _is_marked, lambda cell: cell[1:])


def _changed(
    table: pd.DataFrame, chosen: Callable[[Any], bool], change: Callable[[str], str]
) -> pd.DataFrame:
    """The table with some of its cells changed; no column becomes of another type."""
    texts = {
        str(name): [change(cell) if chosen(cell) else cell for cell in table[name]]
        for name in table.select_dtypes(include=["object", "string"])
        if any(map(chosen, table[name]))
    }
    return table.assign(**texts)


def _is_formula(cell: Any) -> bool:
    return isinstance(cell, str) and cell.startswith(_FORMULA)


def _is_marked(cell: Any) -> bool:
    return isinstance(cell, str) and cell.startswith(_MARK) and cell[1:].startswith(_FORMULA)
