"""Segmentations of 3D Slicer as labels."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from lnq.data.readers import Scan, read_label
from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError
from lnq.volume import Array, Grid

GRID = Grid((5, 6, 7), (3.0, 0.9, 0.8), (10.0, 20.0, 30.0))
SEGMENTS = (("LN 4R", 0, 1), ("LN 7", 0, 2), ("hilar node", 1, 1))


def write(
    path: Path,
    layers: Array,
    origin: tuple[float, float, float] = GRID.origin_mm,
    segments: tuple[tuple[str, int | str, int], ...] = SEGMENTS,
) -> Path:
    """A file as 3D Slicer writes it.

    Args:
        path: Where.
        layers: uint8 `z y x layer`.
        origin: Of the first voxel, x y z mm.
        segments: Name, layer and value of each.
    """
    z, y, x, count = layers.shape
    layered = count > 1
    lines = [
        "NRRD0004", "type: unsigned char", f"dimension: {3 + layered}",
        "space: left-posterior-superior", f"sizes: {f'{count} ' if layered else ''}{x} {y} {z}",
        f"space directions: {'none ' if layered else ''}(0.8,0,0) (0,0.9,0) (0,0,3)",
        f"kinds: {'list ' if layered else ''}domain domain domain", "encoding: gzip",
        f"space origin: ({origin[0]},{origin[1]},{origin[2]})",
    ]  # fmt: skip
    for number, (name, layer, value) in enumerate(segments):
        lines += [f"Segment{number}_ID:=Segment_{number + 1}", f"Segment{number}_Name:={name}",
                  f"Segment{number}_Extent:=0 6 0 5 0 4", f"Segment{number}_Layer:={layer}",
                  f"Segment{number}_LabelValue:={value}"]  # fmt: skip
    lines += ["Segmentation_ReferenceImageExtentOffset:=1 2 3"]
    header = "\n".join(lines) + "\n\n"
    path.write_bytes(header.encode() + gzip.compress(np.ascontiguousarray(layers).tobytes()))
    return path


@pytest.fixture
def layers() -> Array:
    array = np.zeros((*GRID.size, 2), np.uint8)
    array[1:3, 1:5, 1:6, 0] = 1
    array[4, :, 2, 0] = 2
    array[2, 2:4, 2:4, 1] = 1
    return array


def test_overlapping_layers(tmp_path: Path, layers: Array) -> None:
    path = write(tmp_path / "a.seg.nrrd", layers)
    label = read_label(path)
    assert label.grid.difference(GRID) is None
    assert np.array_equal(label.array, layers.any(axis=-1))
    expected = layers[..., 0].copy()
    expected[layers[..., 1] == 1] = 3  # the smaller one within the larger
    assert np.array_equal(read_label(path, "instances").array, expected)
    chosen = read_label(path, names="hilar").array
    assert np.array_equal(chosen, layers[..., 1])


def test_a_cropped_file_lies_where_its_origin_says(tmp_path: Path, layers: Array) -> None:
    """Also one cropped to a single slice; the offset it states is not applied once more."""
    part = layers[4:5, :, 2:4, :1]
    x, y, z = (float(v) for v in GRID.to_world(np.array([4, 0, 2])))
    path = write(tmp_path / "a.seg.nrrd", part, (x, y, z), SEGMENTS[:2])
    placed, notes = align_label(read_label(path), GRID)
    assert np.array_equal(placed.array, layers[..., 0] == 2)
    assert len(notes) == 1


def test_no_segment_at_all(tmp_path: Path) -> None:
    path = write(tmp_path / "a.seg.nrrd", np.zeros((1, 1, 1, 1), np.uint8), segments=SEGMENTS[:1])
    label = read_label(path, scan=Scan(tmp_path / "scan.nrrd", GRID))
    assert label.grid == GRID
    assert not label.array.any()
    with pytest.raises(CaseError, match="empty segmentation"):
        read_label(path)


def test_files_that_are_refused(tmp_path: Path, layers: Array) -> None:
    path = write(tmp_path / "a.seg.nrrd", layers)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    with pytest.raises(CaseError, match="damaged or cut off"):
        read_label(path)
    layers[0, 0, 0, 1] = 5
    with pytest.raises(CaseError, match="layer 1 has the value 5, which is no segment's"):
        read_label(write(path, layers))
    layers[0, 0, 0, 1] = 0
    with pytest.raises(CaseError, match="segment 2 has the layer '9' of 2"):
        read_label(write(path, layers, segments=(*SEGMENTS[:2], ("hilar node", 9, 1))))
    with pytest.raises(CaseError, match="unclear: it has 'LN 4R', 'LN 7', 'aorta'"):
        read_label(write(path, layers, segments=(*SEGMENTS[:2], ("aorta", 1, 1))))
