"""What tells runs apart: the keys of their configurations that differ."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from lnq.resuming import MAY_DIFFER, movable

MODE = "method.mode"
USUAL_MODE = "paper"
SEED = "seed"
_RESULT = ("init_from", "measure")
_NO_VARIATION = ("name", "callbacks.trial", *(key for key in MAY_DIFFER if key not in _RESULT))
"""Keys that name, place, watch or number a run, with all below them; its results are the same."""


def variations(configs: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The differing keys of resolved configurations.

    Folders inside the run's or the outputs' own are compared by their place in it: each seed may
    have outputs of its own, with its own dataset and its own pre-training.

    Args:
        configs: Of each run.

    Returns:
        A row a run, a column a key by its full name: the seed, the mode, and each other key that
        has two values or more. Where a run has no such key, its value is None; lists are text.
    """
    table = pd.DataFrame([dict(_leaves(movable(config))) for config in configs], dtype=object)
    table = table.where(table.notna(), None)
    free = tuple(f"{key}." for key in _NO_VARIATION)
    others = [
        key
        for key in map(str, table)
        if key != MODE
        and key.rpartition(".")[2] != SEED  # method.seed is the run's
        and not f"{key}.".startswith(free)
        and table[key].nunique(dropna=False) > 1
    ]
    return table.reindex(columns=[SEED, MODE, *sorted(others)]).infer_objects()


def alike(runs: pd.DataFrame, keys: Sequence[str]) -> Iterator[tuple[str, pd.DataFrame]]:
    """Groups of runs that differ in none of some keys, so that they may be put together.

    Args:
        runs: A row a run.
        keys: Columns of `runs`, as `variations` gives them.

    Yields:
        What tells a group from the others and from the paper, in words, and its runs. The words are
        empty where nothing does; a key that a group lacks is left out.
    """
    # Keys that part the runs alike, such as those of two networks, are one difference.
    parts = {
        tuple(pd.factorize(runs[key], use_na_sentinel=False)[0]): key for key in reversed(keys)
    }
    differing = [key for part, key in parts.items() if any(part)][::-1]
    groups = runs.groupby(differing, dropna=False, sort=False) if differing else [((), runs)]
    for _, own in groups:
        yield _words(own.iloc[0], differing), own


def _words(run: pd.Series, differing: Sequence[str]) -> str:
    mode = run[MODE]
    words = [] if pd.isna(mode) or mode == USUAL_MODE else [mode]
    values = {key: run[key] for key in differing if key != MODE and not pd.isna(run[key])}
    words += [f"{key}={_text(value)}" for key, value in values.items()]
    return f" ({', '.join(words)})" if words else ""


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        value = {str(place): inner for place, inner in enumerate(value)}
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}".lstrip("."))
    else:
        yield path, json.dumps(value) if isinstance(value, list) else value
