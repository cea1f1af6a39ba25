"""Segmentations of 3D Slicer (`.seg.nrrd`): numbered segments, in layers where they overlap."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from lnq.data.readers.agreement import check_values
from lnq.data.readers.header import Header, check_header, refusal
from lnq.data.readers.identity import Scan
from lnq.data.readers.nrrd import key_values, parse_nrrd
from lnq.data.readers.payload import check_payload
from lnq.data.readers.plausibility import LabelKind
from lnq.data.readers.quiet import quiet_itk
from lnq.data.readers.segments import Segment, chosen_segments, painted, unique_names
from lnq.errors import memory_for
from lnq.volume import Array, Grid, Volume

_FIELD = re.compile(r"Segment(\d+)_(\w+)")
# The type's code, its scheme's name before it and its meaning behind it.
_TYPE = re.compile(r"TerminologyEntry:[^~]*~[^~]*~[^~^]*\^[^~^]*\^([^~^|]*)")


@dataclass(frozen=True)
class _Place:
    """Where a segment stands in the file: its layer and its value there."""

    layer: int
    value: int


def is_slicer_segmentation(path: Path) -> bool:
    """Whether an NRRD file lists segments."""
    return any(_FIELD.fullmatch(key) for key in key_values(path))


def read_slicer_segmentation(
    path: Path, kind: LabelKind, names: str | None, scan: Scan | None
) -> Volume:
    """Reads the segments that are lymph nodes.

    The file may be cropped to the segments: its own origin says where they lie. What it says of
    the uncropped extent is about the program's memory, not about space, and is not needed.

    Args:
        path: An NRRD file with segments.
        kind: `binary` merges them, `instances` numbers them.
        names: As for `chosen_segments`.
        scan: Only used where the file holds no voxel at all, which stands for no annotation.

    Raises:
        CaseError: Damaged, contradicting itself, or unclear which segments are meant.
    """
    header = parse_nrrd(path, layered=True)
    check_header(header, thinnest=1)
    checksum = check_payload(header)
    if header.size_xyz == (1, 1, 1):
        return _empty(path, kind, scan)
    grid = header.grid()
    if grid is None:
        raise refusal(path, "its header does not say where it lies", "save it from 3D Slicer")
    array = _array(path, header, checksum)
    segments, places = _segments(path, header.num_layers)
    _check_explained(path, array, places)
    names_of = unique_names(segments)
    voxels = {
        names_of[one.number]: np.flatnonzero(
            array[..., places[one.number].layer] == places[one.number].value
        )
        for one in chosen_segments(path, segments, names, bystanders=False)
    }
    return painted(path, voxels, grid, kind)


def _array(path: Path, header: Header, checksum: int) -> Array:
    """Values `z y x layer`."""
    try:
        with memory_for(path), quiet_itk():
            image = sitk.ReadImage(path, imageIO="NrrdImageIO")
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise refusal(path, f"the reader says: {reason}", "save it from 3D Slicer") from error
    z_y_x = header.size_xyz[::-1]
    array = sitk.GetArrayFromImage(image).reshape(*z_y_x, -1)
    if array.shape[3] != header.num_layers or array.dtype.kind not in "iu":
        raise refusal(path, "its layers are no whole numbers", "save it from 3D Slicer")
    check_values(header, array, checksum)
    return array


def _segments(path: Path, num_layers: int) -> tuple[list[Segment], dict[int, _Place]]:
    fields: dict[int, dict[str, str]] = {}
    for key, value in key_values(path).items():
        if match := _FIELD.fullmatch(key):
            fields.setdefault(int(match[1]), {})[match[2]] = value
    segments, places = [], {}
    for number, values in sorted(fields.items()):
        coded = _TYPE.search(values.get("Tags", ""))
        name = values.get("Name", values.get("ID", ""))
        segments.append(Segment(number, name, coded[1] if coded else ""))
        # Older versions wrote one layer a segment and neither field.
        layer, value = values.get("Layer", str(number)), values.get("LabelValue", "1")
        if not (layer.isdigit() and value.isdigit() and int(layer) < num_layers):
            raise refusal(
                path, f"segment {number} has the layer '{layer}' of {num_layers} and the value "
                f"'{value}'", "save it again from 3D Slicer",
            )  # fmt: skip
        places[number] = _Place(int(layer), int(value))
    return segments, places


def _check_explained(path: Path, array: Array, places: dict[int, _Place]) -> None:
    """Every value in a layer must be a segment's: else the list or the voxels are of another."""
    for layer in range(array.shape[3]):
        known = {0, *(place.value for place in places.values() if place.layer == layer)}
        unknown = sorted(set(np.unique(array[..., layer]).tolist()) - known)
        if unknown:
            raise refusal(
                path, f"layer {layer} has the value {unknown[0]}, which is no segment's",
                "save it again from 3D Slicer",
            )  # fmt: skip


def _empty(path: Path, kind: LabelKind, scan: Scan | None) -> Volume:
    if scan is None:
        raise refusal(path, "an empty segmentation: it says not even where", "give its scan too")
    grid: Grid = scan.grid
    return Volume(np.zeros(grid.size, np.uint8 if kind == "binary" else np.uint16), grid)
