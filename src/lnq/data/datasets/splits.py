"""A table that says which case belongs to which split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from lnq.data.case import Case, Split
from lnq.data.datasets.checks import shortened
from lnq.data.datasets.table import read_csv
from lnq.errors import UsageError

_ID_COLUMNS = ("id", "case", "case_id", "patient", "patientid", "patient_id")


def read_splits(table: Path, cases: Sequence[Case]) -> list[Case]:
    """The cases with the splits of a table.

    The table is a CSV with a column of ids (`id`, `Case`, `PatientID`, ...) and, if wanted, one
    named `split`. Without that it lists the test cases, as a challenge's table of results does;
    further completely annotated cases are then for validation. Ids are case or patient ids, or
    their number alone: `0669` for `case_0669`.

    Args:
        table: The file.
        cases: All cases of the dataset.

    Raises:
        UsageError: The table cannot be read, has an unknown split or two for one case; an id is
            not there, or fits several cases; or a case that it lists for testing is not
            completely annotated, so that its ids must mean other cases.
    """
    rows, has_splits = _rows(table)
    listed: dict[str, Split] = {}
    missing = []
    for key, split in rows.items():
        mine = [case for case in cases if _fits(key, case)]
        if len({case.group for case in mine}) > 1:
            raise _refusal(table, f"'{key}' fits {shortened([c.case_id for c in mine])}")
        if not mine:
            missing.append(key)
        listed |= {case.case_id: split for case in mine}
    if missing:
        raise _refusal(
            table, f"{len(missing)} of its {len(rows)} ids are not there: {shortened(missing)}; do "
            "they mean other cases, or is only a part of the collection here?",
        )  # fmt: skip
    placed = [
        replace(case, split=listed[case.case_id]) if case.case_id in listed
        else replace(case, split="val") if case.supervision == "full" and not has_splits
        else case
        for case in cases
    ]  # fmt: skip
    wrong = [
        case.case_id for case in placed
        if case.case_id in listed and case.split == "test" and case.supervision == "partial"
    ]  # fmt: skip
    if wrong:
        raise _refusal(
            table, f"it lists partially annotated cases for testing: {shortened(wrong)}; do its "
            "ids mean other cases?",
        )  # fmt: skip
    return placed


def _fits(key: str, case: Case) -> bool:
    if key in (case.case_id, case.group):
        return True
    number = re.fullmatch(r".*?(\d+)", case.group)
    return key.isdigit() and number is not None and int(number[1]) == int(key)


def _rows(table: Path) -> tuple[dict[str, Split], bool]:
    if not table.is_file():
        raise UsageError("the table of splits is missing", where=table,
                         remedy="correct data.layout.splits=FILE")  # fmt: skip
    records = read_csv(table)
    column = next((name for name in _ID_COLUMNS if records and name in records[0]), None)
    if column is None:
        raise _refusal(table, f"it has no column of ids ({', '.join(_ID_COLUMNS)})")
    allowed: tuple[Split, ...] = get_args(Split)
    rows: dict[str, Split] = {}
    for record in records:
        split = next((one for one in allowed if record.get("split", "test").lower() == one), None)
        if split is None or rows.get(record[column], split) != split:
            raise _refusal(
                table, f"'{record[column]}' has the split '{record.get('split')}'"
                + ("" if split is None else f" and '{rows[record[column]]}'"),
            )  # fmt: skip
        rows[record[column]] = split
    return rows, "split" in records[0]


def _refusal(table: Path, why: str) -> UsageError:
    return UsageError("the table of splits cannot be used", where=table, why=why,
                      remedy="correct it, or leave data.layout.splits out")  # fmt: skip
