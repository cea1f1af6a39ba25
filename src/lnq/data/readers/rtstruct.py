"""DICOM RTSTRUCT: contours in space, drawn onto the slices of their scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from lnq.data.readers.contours import filled
from lnq.data.readers.dicom_objects import damage_told, parsed_tags
from lnq.data.readers.header import refusal
from lnq.data.readers.identity import (
    POSITION_TOLERANCE_MM,
    Identity,
    Scan,
    check_belongs,
    identity_of,
)
from lnq.data.readers.plausibility import LabelKind
from lnq.data.readers.segments import Segment, chosen_segments, painted, unique_names
from lnq.volume import Array, Grid, Volume

RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
# Names of patients and physicians stand in other tags, which are never parsed.
_TAGS = ["StructureSetROISequence", "ROIContourSequence", "ReferencedFrameOfReferenceSequence"]
_REDRAW = "export the contours for this scan"
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR")
_OPEN = ("POINT", "OPEN_PLANAR", "OPEN_NONPLANAR")
# Of a contour's own points, along the slices' normal, in slices.
_PLANAR = 0.1


@dataclass(frozen=True, eq=False)
class _Contour:
    """One closed contour.

    Attributes:
        points: (points, 3) `z y x`, voxels of the scan.
        source: UID of the slice it was drawn on; empty where the file does not say.
    """

    points: Array
    source: str

    @property
    def height(self) -> float:
        return float(self.points[:, 0].mean())


def read_rtstruct(
    path: Path, kind: LabelKind, names: str | None, scan: Scan | None
) -> tuple[Volume, list[str]]:
    """Draws the contours of lymph nodes onto the scan's slices.

    Within a slice, voxels whose centres lie in an odd number of a ROI's contours belong to it, so
    that contours within contours are holes. A contour between two slices belongs to the nearer.

    Args:
        path: The file.
        kind: `binary` merges the ROIs, `instances` numbers them.
        names: As for `chosen_segments`; other ROIs beside the nodes are usual.
        scan: Where to draw: contours have no grid of their own.

    Returns:
        The label on exactly the scan's grid; what was left out because it encloses nothing, as
        ROIs of a template do that nobody has drawn.

    Raises:
        CaseError: Damaged, of another scan, drawn across its slices or beside it, two planes of
            contours for one slice, or unclear which ROIs are meant.
    """
    if scan is None:
        raise refusal(path, "contours have no voxels of their own", "give the scan beside them")
    identity = identity_of(scan)
    with pydicom.config.disable_value_validation():
        data = parsed_tags(path, _TAGS, pixels=False)
        with damage_told(path, "RTSTRUCT"):
            return _drawn(path, data, kind, names, scan.grid, identity)


def _drawn(
    path: Path, data: Any, kind: LabelKind, names: str | None, grid: Grid, identity: Identity | None
) -> tuple[Volume, list[str]]:
    rois = {int(roi.ROINumber): roi for roi in data.StructureSetROISequence}
    contours = {int(one.ReferencedROINumber): one for one in data.ROIContourSequence}
    segments = [Segment(number, str(roi.get("ROIName") or "")) for number, roi in rois.items()]
    chosen = chosen_segments(path, segments, names, bystanders=True)
    names_of = unique_names(segments)
    closed, notes = _closed(
        path, {one.number: contours.get(one.number) for one in chosen}, names_of
    )
    frames = {str(rois[number].get("ReferencedFrameOfReferenceUID") or "") for number in closed}
    check_belongs(path, identity, _series(data), frames)
    voxels = {}
    for number, items in closed.items():
        name = names_of[number]
        drawn = [_contour(path, name, item, grid, identity) for item in items]
        voxels[name] = _voxels(path, name, drawn, grid)
    return painted(path, voxels, grid, kind), notes


def _closed(
    path: Path, rois: Mapping[int, Any], names_of: Mapping[int, str]
) -> tuple[dict[int, list[Any]], list[str]]:
    """The closed contours of each ROI that has any, and what is left out.

    Raises:
        CaseError: Nothing is left.
    """
    contours, left_out = {}, []
    for number, roi in rois.items():
        items = list((roi is not None and roi.get("ContourSequence")) or ())
        closed = [one for one in items if str(one.ContourGeometricType) in _CLOSED]
        if not items:
            left_out.append(f"the ROI {names_of[number]} has no contours")
        elif len(closed) < len(items):
            shapes = sorted({str(one.ContourGeometricType) for one in items} - set(_CLOSED))
            if not set(shapes) <= set(_OPEN):
                raise refusal(
                    path, f"a contour of {names_of[number]} is damaged: its type is none",
                    "copy it again",
                )  # fmt: skip
            left_out.append(
                f"{len(items) - len(closed)} of {len(items)} contours of the ROI "
                f"{names_of[number]} are drawn as {', '.join(shapes)}, which encloses nothing"
            )
        if closed:
            contours[number] = closed
    if not contours:
        raise refusal(path, "; ".join(left_out), "choose others, or draw closed contours")
    return contours, [f"{one}: left out. If it is a node, draw it" for one in left_out]


def _series(data: Any) -> set[str]:
    """UIDs of the series that the structures were drawn on."""
    return {
        str(series.SeriesInstanceUID)
        for frame in data.get("ReferencedFrameOfReferenceSequence") or ()
        for study in frame.get("RTReferencedStudySequence") or ()
        for series in study.get("RTReferencedSeriesSequence") or ()
    }


def _contour(path: Path, name: str, item: Any, grid: Grid, identity: Identity | None) -> _Contour:
    numbers = np.array([float(v) for v in item.ContourData])
    if len(numbers) != 3 * int(item.NumberOfContourPoints) or not np.isfinite(numbers).all():
        raise refusal(path, f"a contour of {name} is damaged: points are missing", "copy it again")
    world = numbers.reshape(-1, 3)
    points = grid.to_index(world)
    if np.ptp(points[:, 0]) > _PLANAR:
        raise refusal(path, f"a contour of {name} runs across the scan's slices", _REDRAW)
    outside = (points < -0.5) | (points > np.asarray(grid.size) - 0.5)
    if outside.any():
        x, y, z = world[outside.any(axis=1)][0]
        raise refusal(path, f"a contour of {name} lies outside the scan: ({x:g}, {y:g}, {z:g}) mm",
                      "check that label and scan belong together")  # fmt: skip
    sources = [
        str(image.ReferencedSOPInstanceUID) for image in item.get("ContourImageSequence", ())
    ]
    contour = _Contour(points, sources[0] if len(sources) == 1 else "")
    _check_source(path, name, contour, grid, identity)
    return contour


def _check_source(
    path: Path, name: str, contour: _Contour, grid: Grid, identity: Identity | None
) -> None:
    """The slice that a contour names must be the scan's and lie where the contour does."""
    if identity is None or not (contour.source and identity.positions):
        return
    if contour.source not in identity.positions:
        raise refusal(path, f"a contour of {name} was drawn on a slice that the scan does not have",
                      "give the whole series, or the label that belongs to it")  # fmt: skip
    height = float(grid.to_index(identity.positions[contour.source])[0])
    tolerance = POSITION_TOLERANCE_MM / grid.spacing_mm[0] + _PLANAR
    if abs(height - contour.height) > tolerance:
        raise refusal(
            path, f"a contour of {name} lies {abs(height - contour.height):.3g} slices from the "
            "slice that it names", _REDRAW,
        )  # fmt: skip


def _voxels(path: Path, name: str, contours: Sequence[_Contour], grid: Grid) -> Array:
    """Flat indices of the voxels inside."""
    planes: dict[int, list[_Contour]] = {}
    for contour in contours:
        planes.setdefault(round(contour.height), []).append(contour)
    indices = []
    for slice_, members in sorted(planes.items()):
        if np.ptp([contour.height for contour in members]) > _PLANAR:
            raise refusal(
                path, f"two planes of contours of {name} fall into slice {slice_} of the scan: "
                "they were drawn on thinner slices", _REDRAW,
            )  # fmt: skip
        z = min(max(slice_, 0), grid.size[0] - 1)
        inside = filled([contour.points[:, 1:] for contour in members], grid.size[1:])
        indices.append(z * inside.size + np.flatnonzero(inside))
    flat = np.concatenate(indices)
    if len(flat) == 0:
        raise refusal(path, f"the ROI {name} is smaller than the scan's voxels",
                      "use a scan of finer grid, or leave the ROI out")  # fmt: skip
    return flat
