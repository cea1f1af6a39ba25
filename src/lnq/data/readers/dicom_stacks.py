"""Which CT slices are one scan: by their UIDs, their positions, and how they were acquired."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

import numpy as np

from lnq.data.readers.dicom_heads import Head, read_traits
from lnq.volume import Array

# Fewer slices than that, each a series of its own, are as well localizers.
_FEWEST_MERGED = 4
_FEWEST = 3  # slices of which one says that they are evenly spaced
_LEAST_COMMON = 0.5  # of what folders show together, phases and copies show in each
_SAME_AXES = 1e-4
SAME_PLACE_MM = 0.05
# Positions are written with few digits; beyond this, slices are unevenly spaced.
_STEP_TOLERANCE = 0.02
_STEP_TOLERANCE_MM = 0.05
_UID_TAIL = 8

Stack = tuple[Head, ...]
"""The slices of one scan, in the order of their paths."""


def stacks_of(heads: Sequence[Head]) -> list[Stack]:
    """The scans that CT slices make up.

    Slices of one series UID are one scan, in whatever folders they lie, unless they show a place
    twice, or are of several sizes or orientations. Then they are told apart by the first trait, or
    two, whose values make stacks of them: phases and reconstructions; at last by their folders,
    where each shows the same. Nothing is left out: slices that make no scan stay together, and
    reading them says why.

    Args:
        heads: The slices, of any folders.
    """
    series: dict[Hashable, list[Head]] = {}
    for head in sorted(_merged(heads), key=lambda one: one[1].path):
        series.setdefault(head[0], []).append(head[1])
    return [stack for together in series.values() for stack in _told_apart(together)]


def names_of(stacks: Sequence[Stack]) -> list[str]:
    """What tells scans apart in words: phase, acquisition, kernel ..., else the end of their UIDs.

    Args:
        stacks: Scans that would have one name; a single one needs no more.

    Returns:
        Short texts without any free text of the headers.
    """
    if len(stacks) == 1:
        return [""]
    traits = [read_traits(stack[0]) for stack in stacks]
    for chosen in _choices(len(traits[0].words)):
        words = [[one.words[k] for k in chosen] for one in traits]
        names = ["_".join(word for word in each if word) for each in words]
        if all(all(each) for each in words) and _differ(names):
            return names
    names = [stack[0].series[-_UID_TAIL:] for stack in stacks]
    return names if _differ(names) else [str(k) for k in range(1, len(stacks) + 1)]


def usual_step(heights: Array) -> tuple[float, Array]:
    """The distance of neighbouring slices that most have, and which pairs have another.

    Args:
        heights: Of two or more slices along their normal, ascending, mm.

    Returns:
        The distance, mm, and indices of pairs.
    """
    steps = np.diff(heights)
    tolerance = np.maximum(_STEP_TOLERANCE_MM, _STEP_TOLERANCE * steps)
    alike = (np.abs(steps[:, None] - steps) <= tolerance[:, None]).sum(axis=1)
    usual = float(np.median(steps[alike == alike.max()]))
    odd = np.abs(steps - usual) > max(_STEP_TOLERANCE_MM, _STEP_TOLERANCE * usual)
    return usual, np.flatnonzero(odd)


def _differ(names: Sequence[str]) -> bool:
    return all(names) and len({name.casefold() for name in names}) == len(names)


def _choices(count: int) -> itertools.chain[tuple[int, ...]]:
    """One trait, then two."""
    return itertools.chain.from_iterable(itertools.combinations(range(count), n) for n in (1, 2))


def _merged(heads: Sequence[Head]) -> list[tuple[Hashable, Head]]:
    """Each slice with what its series is called.

    Where UIDs are blank, or each slice of a folder has one of its own, as after some
    de-identification, the folder is the series: of the latter if their positions speak for it.
    """
    counts = Counter(head.series for head in heads)
    folders: dict[Path, list[Head]] = {}
    for head in heads:
        folders.setdefault(head.path.parent, []).append(head)
    named: list[tuple[Hashable, Head]] = []
    for folder, inside in folders.items():
        alone = len(inside) >= _FEWEST_MERGED and all(
            head.series and counts[head.series] == 1 for head in inside
        )
        one = alone and _repeats(inside) is False
        named += [(folder if one or not head.series else head.series, head) for head in inside]
    return named


def _told_apart(series: list[Head]) -> list[Stack]:
    whole = [tuple(series)]
    unplaced = any(head.frame is None or head.position is None for head in series)
    if unplaced or _repeats(series) is False:
        return whole
    traits = {head: read_traits(head) for head in series}
    for chosen in _choices(len(traits[series[0]].values)):
        parts = _parts(series, lambda head, c=chosen: tuple(traits[head].values[k] for k in c))
        if _are_scans(parts):
            return [tuple(part) for part in parts]
    folders = _parts(series, lambda head: head.path.parent)
    return [tuple(part) for part in folders] if _show_one_place(folders) else whole


def _parts(series: list[Head], rule: Callable[..., Hashable]) -> list[list[Head]]:
    parts: dict[Hashable, list[Head]] = {}
    for head in series:
        parts.setdefault(rule(head), []).append(head)
    return list(parts.values())


def _are_scans(parts: list[list[Head]]) -> bool:
    """Whether parts of a series are scans: stacks, most of them even, that show one place again.

    Parts that lie one behind the other are pieces of one scan.
    """
    if len(parts) < 2 or min(map(len, parts)) < _FEWEST or any(map(_repeats, parts)):
        return False
    if 2 * sum(map(_is_even, parts)) < len(parts):
        return False
    spans = _spans(parts)
    return spans is None or any(
        low < high - SAME_PLACE_MM for (_, high), (low, _) in itertools.pairwise(sorted(spans))
    )


def _show_one_place(parts: list[list[Head]]) -> bool:
    """Whether folders show the same part of the patient, most of it in all: phases, or copies.

    Else they are pieces of one scan, some slices of which are there twice.
    """
    spans = _spans(parts)
    if len(parts) < 2 or not spans:
        return len(parts) > 1 and spans is None
    lows, highs = zip(*spans, strict=True)
    common = min(highs) - max(lows) + SAME_PLACE_MM
    return common >= _LEAST_COMMON * (max(highs) - min(lows) + SAME_PLACE_MM)


def _spans(parts: list[list[Head]]) -> list[tuple[float, float]] | None:
    """Lowest and highest position of each part; None where sizes or orientations differ."""
    if _heights([part[0] for part in parts]) is None:
        return None
    heights = [_heights(part) for part in parts]
    return [(float(one[0]), float(one[-1])) for one in heights if one is not None]


def _is_even(heads: Sequence[Head]) -> bool:
    heights = _heights(heads)
    if heights is None or len(heads) < _FEWEST or np.diff(heights).min() <= SAME_PLACE_MM:
        return False
    return len(usual_step(heights)[1]) == 0


def _repeats(heads: Sequence[Head]) -> bool | None:
    """Whether a place is there twice; None where sizes, orientations or places are no stack's."""
    heights = _heights(heads)
    if heights is None:
        return None
    return len(heights) > 1 and bool(np.diff(heights).min() <= SAME_PLACE_MM)


def _heights(heads: Sequence[Head]) -> Array | None:
    """Positions along the normal, ascending, mm; None where slices cannot lie in one stack."""
    frames = [head.frame for head in heads]
    places = [head.position for head in heads]
    first = frames[0]
    if first is None or None in frames or None in places:
        return None
    axes = np.array([frame.axes for frame in frames if frame is not None])
    sizes = {frame.size for frame in frames if frame is not None}
    if len(sizes) > 1 or np.abs(axes - axes[0]).max() > _SAME_AXES:
        return None
    heights: Array = np.sort(np.array(places) @ first.normal)
    return heights
