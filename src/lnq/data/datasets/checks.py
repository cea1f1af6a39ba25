"""What every listed dataset must hold before any work starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lnq.data.case import Case, DicomScan, ScanPath, first_path
from lnq.errors import UsageError

_MOST_SHOWN = 10
_LONGEST_ID = 150


def checked(cases: Sequence[Case], root: Path, allow_links_outside: bool) -> list[Case]:
    """The cases, ordered by id, if the list is sound.

    Args:
        cases: What a layout found.
        root: The dataset's folder.
        allow_links_outside: Accept files that lie, once links are followed, outside `root`.

    Raises:
        UsageError: No cases, an id that is unsafe as a file name, two cases of one id, or files
            outside `root`; all offenders are named.
    """
    if not cases:
        raise UsageError("no cases found", where=root, remedy="check data.root and the layout")
    unsafe = [case.case_id for case in cases if not is_safe_id(case.case_id)]
    if unsafe:
        raise UsageError(
            "case ids that cannot be file names",
            where=root,
            why=shortened([repr(name) for name in unsafe]),
            remedy="use ids without slashes, control characters and leading dots",
        )
    # Compared without case: on some disks the results of `A` and `a` would be one file.
    counts = Counter(case.case_id.casefold() for case in cases)
    twice = [case for case in cases if counts[case.case_id.casefold()] > 1]
    if twice:
        raise UsageError(
            "several scans have the same case id",
            where=root,
            why=shortened([f"{case.case_id} ({case.image})" for case in twice]),
            remedy="rename or remove all but one",
        )
    if not allow_links_outside:
        _check_inside(cases, root)
    return sorted(_without_shared_labels(cases), key=lambda case: case.case_id)


def _without_shared_labels(cases: Sequence[Case]) -> list[Case]:
    """The cases, of which those that name one file as their label cannot be used: whose is it?"""
    users: dict[Path, list[Case]] = {}
    for case in cases:
        if case.label is not None:
            users.setdefault(case.label.resolve(), []).append(case)
    faults = {
        case.case_id: f"its label {case.label} is also that of "
        f"{shortened([one.case_id for one in shared if one is not case])}"
        for shared in users.values()
        if len({first_path(case.image).resolve() for case in shared}) > 1
        for case in shared
    }
    return [replace(case, fault=case.fault or faults.get(case.case_id)) for case in cases]


def is_safe_id(name: str) -> bool:
    """Whether a case id can stand as a file name without leaving the output folder."""
    return (
        name == name.strip()
        and 0 < len(name) <= _LONGEST_ID
        and not name.startswith(".")
        and "/" not in name
        and "\\" not in name
        and name.isprintable()
    )


def numbered(names: Sequence[str]) -> list[str]:
    """The names, of which each later one that is there already gets a number."""
    taken = {name.casefold() for name in names}
    seen: set[str] = set()
    ids = []
    for name in names:
        number, chosen = 1, name
        while chosen.casefold() in seen or (number > 1 and chosen.casefold() in taken):
            number += 1
            chosen = f"{name}_{number}"
        seen.add(chosen.casefold())
        ids.append(chosen)
    return ids


def shortened(items: Sequence[str]) -> str:
    """The first items of a list, and how many more there are."""
    more = len(items) - _MOST_SHOWN
    return ", ".join(items[:_MOST_SHOWN]) + (f" and {more} more" if more > 0 else "")


def existing_folder(root: Path, looked_for: str, key: str = "data.root") -> Path:
    """The folder, if it is one.

    Raises:
        UsageError: It is missing; says what was looked for.
    """
    if not root.is_dir():
        raise UsageError(
            "the data root is missing" if key == "data.root" else "the folder is missing",
            where=root,
            why=f"looked for a folder with {looked_for}",
            remedy=f"give {key}=DIR",
        )
    return root


def _check_inside(cases: Sequence[Case], root: Path) -> None:
    real_root = root.resolve()
    outside = [
        f"{file} -> {file.resolve()}"
        for case in cases
        for file in (*_files(case.image), *(() if case.label is None else _files(case.label)))
        if not file.resolve().is_relative_to(real_root)
    ]
    if outside:
        raise UsageError(
            "files outside the data root",
            where=root,
            why=shortened(outside),
            remedy="if that is meant, set data.layout.allow_links_outside=true",
        )


def _files(source: ScanPath) -> list[Path]:
    if isinstance(source, DicomScan):
        return list(source.files)
    return [source, *(source.iterdir() if source.is_dir() else ())]
