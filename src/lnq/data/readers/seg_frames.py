"""Where the frames of a DICOM-SEG lie."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lnq.data.readers.header import check_geometry, refusal
from lnq.data.readers.identity import POSITION_TOLERANCE_MM, Identity
from lnq.volume import Array, Grid

# Across slices a scan may be uneven by some hundredths of its step, which its grid evens out.
_ACROSS = 0.1
_MOST_SLICES = 10_000
_EXPORT_AGAIN = "export the segmentation again, on the scan's own voxels"


@dataclass(frozen=True, eq=False)
class SegFrame:
    """One frame.

    Attributes:
        number: Its place in the file, from 1.
        segment: Number of its segment; None in a label map, whose values are the segments.
        position: LPS position of its first pixel, mm.
        axes: 2x3, world directions of increasing column and row number.
        spacing_mm: Distance of rows and of columns, mm.
        size: Rows and columns.
        step_mm: Distance of slices as the file states it; 0 = it does not.
    """

    number: int
    segment: int | None
    position: Array
    axes: Array
    spacing_mm: tuple[float, float]
    size: tuple[int, int]
    step_mm: float

    @property
    def normal(self) -> Array:
        """Across the frame, by the right-hand rule."""
        return np.cross(self.axes[0], self.axes[1])


def frames_of(path: Path, data: Any, identity: Identity | None) -> list[SegFrame]:
    """The frames in the file's order.

    Args:
        path: The file, for messages.
        data: Its tags.
        identity: Of the scan, whose slices the frames may refer to.

    Raises:
        CaseError: Frames are missing, a frame refers to a slice that the scan does not have or that
            lies elsewhere, or it does not say where it lies.
    """
    groups = data.PerFrameFunctionalGroupsSequence
    if len(groups) != int(data.NumberOfFrames):
        raise refusal(path, f"{len(groups)} of {int(data.NumberOfFrames)} frames are described",
                      "copy the file again")  # fmt: skip
    shared = (data.get("SharedFunctionalGroupsSequence") or [None])[0]
    size = int(data.Rows), int(data.Columns)
    return [
        _frame(path, number, group, shared, size, identity)
        for number, group in enumerate(groups, start=1)
    ]


def frame_grid(path: Path, frames: Sequence[SegFrame]) -> Grid:
    """A grid of the frames' own; slices between them that have no frame are part of it.

    Raises:
        CaseError: The frames' planes differ, or no step between slices is known.
    """
    first = frames[0]
    for frame in frames:
        if frame.axes.shape != first.axes.shape or not (
            np.allclose(frame.axes, first.axes, rtol=0, atol=1e-4)
            and np.allclose(frame.spacing_mm, first.spacing_mm, rtol=0, atol=1e-4)
        ):
            raise refusal(path, "its frames lie in planes of several directions", _EXPORT_AGAIN)
    heights = np.array([frame.position @ first.normal for frame in frames])
    lowest, extent = frames[int(heights.argmin())], float(np.ptp(heights))
    step = _step(path, first, heights)
    check_geometry(
        path,
        np.column_stack([*first.axes, first.normal]) * [*first.spacing_mm[::-1], step],
        tuple(lowest.position),
    )
    count = round(extent / step) + 1
    if count > _MOST_SLICES:
        raise refusal(path, f"its frames span {count} slices", _EXPORT_AGAIN)
    directions = np.column_stack([*first.axes, first.normal])
    x, y, z = (float(v) for v in lowest.position)
    return Grid((count, *first.size), (step, *first.spacing_mm), (x, y, z),
                tuple(float(v) for v in directions.ravel()))  # fmt: skip


def voxels_of(path: Path, frame: SegFrame, mask: Array, grid: Grid) -> Array:
    """Flat indices of a frame's annotated pixels in a grid.

    The frame's pixels must be voxels of the grid, whichever way its rows and columns run.

    Args:
        path: The file, for messages.
        frame: The frame.
        mask: bool `y x`.
        grid: Where to put it.

    Raises:
        CaseError: The pixels lie between the grid's voxels, or annotated ones outside.
    """
    first = grid.to_index(frame.position)
    across = grid.to_index(frame.position + frame.axes[0] * frame.spacing_mm[1]) - first
    down = grid.to_index(frame.position + frame.axes[1] * frame.spacing_mm[0]) - first
    last = first + down * (frame.size[0] - 1) + across * (frame.size[1] - 1)
    steps = np.round(np.stack([down, across]))
    allowed = np.full(3, POSITION_TOLERANCE_MM)
    through = ~steps.any(axis=0)
    allowed[through] = _ACROSS * np.asarray(grid.spacing_mm)[through]
    straight = first.round() + steps[0] * (frame.size[0] - 1) + steps[1] * (frame.size[1] - 1)
    spacing = np.asarray(grid.spacing_mm)
    off = np.maximum(np.abs(first - first.round()), np.abs(last - straight)) * spacing
    if not (np.abs(steps).sum(axis=1) == 1).all() or through.sum() != 1 or (off > allowed).any():
        x, y, z = frame.position
        raise refusal(
            path,
            f"frame {frame.number} at ({x:g}, {y:g}, {z:g}) mm, pixels of "
            f"{frame.spacing_mm[0]:g} x {frame.spacing_mm[1]:g} mm, does not lie on the scan's "
            "voxels", _EXPORT_AGAIN,
        )  # fmt: skip
    rows, columns = np.nonzero(mask)
    index = (first.round() + rows[:, None] * steps[0] + columns[:, None] * steps[1]).astype(int)
    outside = ((index < 0) | (index >= np.asarray(grid.size))).any(axis=1)
    if outside.any():
        raise refusal(
            path, f"{int(outside.sum())} annotated voxels of frame {frame.number} lie outside the "
            "scan", "check that label and scan belong together",
        )  # fmt: skip
    return np.ravel_multi_index(tuple(index.T), grid.size)


def _frame(
    path: Path, number: int, group: Any, shared: Any, size: tuple[int, int],
    identity: Identity | None,
) -> SegFrame:  # fmt: skip
    def item(name: str) -> Any:
        for holder in (group, shared):
            if holder is not None and holder.get(name):
                return holder.get(name)[0]
        return None

    measures, plane = item("PixelMeasuresSequence"), item("PlaneOrientationSequence")
    if measures is None or plane is None:
        raise refusal(path, f"frame {number} has no orientation or pixel size", _EXPORT_AGAIN)
    segment = item("SegmentIdentificationSequence")
    placed = item("PlanePositionSequence")
    stated = None if placed is None else _numbers(placed.ImagePositionPatient)
    rows, columns = _numbers(measures.PixelSpacing)
    axes = _numbers(plane.ImageOrientationPatient).reshape(2, 3)
    return SegFrame(
        number=number,
        segment=None if segment is None else int(segment.ReferencedSegmentNumber),
        position=_position(path, number, stated, axes, _sources(group), identity),
        axes=axes,
        spacing_mm=(float(rows), float(columns)),
        size=size,
        step_mm=abs(float(measures.get("SpacingBetweenSlices") or 0.0))
        or float(measures.get("SliceThickness") or 0.0),
    )


def _sources(group: Any) -> list[str]:
    """UIDs of the slices that a frame was drawn on."""
    return [
        str(source.ReferencedSOPInstanceUID)
        for derivation in group.get("DerivationImageSequence") or ()
        for source in derivation.get("SourceImageSequence") or ()
    ]


def _position(
    path: Path, number: int, stated: Array | None, axes: Array, sources: Sequence[str],
    identity: Identity | None,
) -> Array:  # fmt: skip
    """Where a frame lies by its own word, which a slice that it refers to must not contradict.

    The frame may be cropped or turned in the slice's plane, not lie in another.
    """
    if identity is not None and identity.positions:
        strange = [uid for uid in sources if uid not in identity.positions]
        if strange:
            raise refusal(
                path, f"frame {number} refers to the slice {strange[0]}, which the scan does not "
                "have", "give the whole series, or the label that belongs to it",
            )  # fmt: skip
        if len(sources) == 1:
            there = identity.positions[sources[0]]
            if stated is None:
                return there
            apart = abs(float((there - stated) @ np.cross(axes[0], axes[1])))
            if apart > POSITION_TOLERANCE_MM:
                raise refusal(path, f"frame {number} lies {apart:.3g} mm from the slice that it "
                              "refers to", _EXPORT_AGAIN)  # fmt: skip
    if stated is None:
        raise refusal(path, f"frame {number} does not say where it lies", "give its DICOM scan too")
    return stated


def _step(path: Path, first: SegFrame, heights: Array) -> float:
    """Distance of slices, of which some may have no frame."""
    gaps = np.diff(np.unique(np.round(heights, 3)))
    if len(gaps) == 0 and first.step_mm <= 0:
        raise refusal(path, "nothing tells the distance of its slices", "give its scan too")
    # A stated step counts only if all gaps are multiples: thickness is no distance of slices.
    for step in (first.step_mm, float(gaps.min(initial=np.inf))):
        if 0 < step < np.inf:
            multiples = gaps / step
            if (np.abs(multiples - multiples.round()) <= _ACROSS).all() and (multiples > 0.5).all():
                return _even(heights, step)
    raise refusal(path, "its frames lie at uneven distances", "give its scan too")


def _even(heights: Array, step: float) -> float:
    """The step that fits the whole extent best."""
    count = round(float(np.ptp(heights)) / step)
    return float(np.ptp(heights)) / count if count else step


def _numbers(values: Any) -> Array:
    return np.array([float(value) for value in values])
