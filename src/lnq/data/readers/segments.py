"""Segments of an annotation: which of them are meant, and how they become one array."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lnq.data.readers.header import refusal
from lnq.data.readers.plausibility import LabelKind
from lnq.errors import UsageError
from lnq.volume import Array, Grid, Volume

# "Lymph node 4R", "LN_c40", "7_LNs", "nodal GTV", "GTVn", "GTV-N1"; not "Lung", "nodule".
_NODE = re.compile(r"lymph|(?<![a-z])(lnn?s?|nodes?|nodal)(?![a-z])|gtv[ _-]?n(?![a-z])", re.I)
# What programs call a segment that nobody has named.
_UNNAMED = re.compile(r"(segment(ation)?|region|roi)?[ _-]*\d*", re.I)
_MOST_SHOWN = 20


@dataclass(frozen=True)
class Segment:
    """One segment of a DICOM-SEG or `.seg.nrrd`, or one ROI of an RTSTRUCT.

    Attributes:
        number: As the file counts it.
        name: As a user called it.
        meaning: Coded type in words, where the file has one.
    """

    number: int
    name: str
    meaning: str = ""

    @property
    def is_node(self) -> bool:
        """Whether its name or type says that it is a lymph node."""
        return bool(_NODE.search(self.name) or _NODE.search(self.meaning))


def checked_pattern(names: str | None, key: str = "label_names") -> str | None:
    """A regular expression of segment names, if it is one.

    Args:
        names: As a user gave it.
        key: What it was given as.

    Raises:
        UsageError: It is none.
    """
    try:
        re.compile(names or "")
    except re.error as error:
        raise UsageError(
            "no regular expression", where=f"{key}={names}", why=str(error),
            remedy="correct it, as in '^LN' or 'node|LN_'",
        ) from error  # fmt: skip
    return names


def chosen_segments(
    path: Path, segments: Sequence[Segment], names: str | None, bystanders: bool
) -> list[Segment]:
    """The segments that are lymph nodes, ordered by number.

    Args:
        path: The file, for messages.
        segments: All of its segments.
        names: Regular expression searched for in their names, upper and lower case alike. None =
            those whose name or coded type says lymph node.
        bystanders: Without `names`, others beside these are usual and left out, as in an RTSTRUCT.
            Else they are a reason to ask, and a single segment or unnamed ones need no fitting
            name: the file was made as a label.

    Raises:
        CaseError: None is meant, or it is unclear which; all names are listed.
    """
    ordered = sorted(segments, key=lambda one: one.number)
    if names is not None:
        named = [one for one in ordered if re.search(checked_pattern(names) or "", one.name, re.I)]
        if not named:
            raise refusal(
                path, f"no segment's name fits '{names}'; it has {_listed(ordered)}",
                "correct data.layout.label_names=REGEX",
            )  # fmt: skip
        return named
    nodes = [one for one in ordered if one.is_node]
    if bystanders and nodes:
        return nodes
    if not bystanders and ordered:
        unclear = [one for one in ordered if not one.is_node and not _UNNAMED.fullmatch(one.name)]
        if len(ordered) == 1 or not unclear:
            return ordered
    raise refusal(
        path, f"which segments are lymph nodes is unclear: it has {_listed(ordered)}",
        "name those that are meant with data.layout.label_names=REGEX",
    )  # fmt: skip


def painted(path: Path, voxels: Mapping[str, Array], grid: Grid, kind: LabelKind) -> Volume:
    """One array of several segments, which may overlap.

    Args:
        path: The file, for messages.
        voxels: By name, the flat indices into `grid` of each segment.
        grid: Where they lie.
        kind: `binary` merges them; `instances` numbers them from 1 in their order. A voxel of
            several then belongs to the smallest, which would suffer most.

    Raises:
        CaseError: As instances, one is hidden behind smaller ones.
    """
    binary = kind == "binary"
    array = np.zeros(int(np.prod(grid.size)), np.uint8 if binary else np.uint16)
    numbers = {name: 1 if binary else number for number, name in enumerate(voxels, start=1)}
    for name in sorted(voxels, key=lambda name: -len(voxels[name])):
        array[voxels[name]] = numbers[name]
    if not binary:
        for name, indices in voxels.items():
            if len(indices) and not np.any(array[indices] == numbers[name]):
                raise refusal(
                    path, f"the segment {name} lies wholly within others",
                    "remove one of those that mark the same node",
                )  # fmt: skip
    return Volume(array.reshape(grid.size), grid)


def unique_names(segments: Sequence[Segment]) -> dict[int, str]:
    """A name for each number; segments of one name are told apart by their numbers."""
    taken = [one.name for one in segments]
    return {
        one.number: one.name if one.name and taken.count(one.name) == 1
        else f"{one.name or 'segment'} ({one.number})"
        for one in segments
    }  # fmt: skip


def _listed(segments: Sequence[Segment]) -> str:
    if not segments:
        return "none"
    more = len(segments) - _MOST_SHOWN
    names = ", ".join(f"'{one.name}'" for one in segments[:_MOST_SHOWN])
    return names + (f" and {more} more" if more > 0 else "")
