"""The visible files of a folder, and of all below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def visible(path: Path) -> Iterator[tuple[Path, list[Path]]]:
    """Every folder of a tree once, with its visible files; hidden folders are left out.

    Args:
        path: The tree; it may itself be hidden.
    """
    seen: set[Path] = set()
    for folder, subfolders, names in os.walk(path, followlinks=True):
        here = Path(folder)
        if here.resolve() in seen:  # a link back into the tree
            subfolders.clear()
            continue
        seen.add(here.resolve())
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        yield here, [here / name for name in sorted(names) if not name.startswith(".")]


def visible_files(folder: Path) -> list[Path]:
    """The visible files of one folder, in the order of their names."""
    return sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.is_file()
    )
