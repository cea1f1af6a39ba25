"""RTSTRUCT: contours drawn, left out where they enclose nothing, refused where they do not fit."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from support.dicom_phantom import (
    ORIGIN,
    SIZE,
    SPACING,
    box,
    change,
    uid,
    write_ct,
    write_rtstruct,
)

from lnq.data.readers import (
    Scan,
    read_image,
    read_label,
    read_label_with_notes,
)
from lnq.data.readers.contours import filled
from lnq.errors import CaseError
from lnq.volume import Array, Grid

GRID = Grid(SIZE, SPACING, ORIGIN)


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    folder = write_ct(tmp_path / "ct")
    return Scan(folder, read_image(folder).grid)


def square(y0: float, y1: float, x0: float, x1: float, z: float) -> Array:
    """A closed contour between voxel numbers, x y z mm."""
    corners = np.array([(z, y0, x0), (z, y0, x1), (z, y1, x1), (z, y1, x0)])
    return GRID.to_world(corners)


def rtstruct(folder: Path, contours: Sequence[Array], **changes: Any) -> Path:
    rois = {"BODY": [square(0, 11, 0, 9, 0)], "LN_4R": contours}
    return write_rtstruct(folder / "rt.dcm", "case_0001", rois, **changes)


def test_contours_are_drawn_with_holes_and_islands(scan: Scan, tmp_path: Path) -> None:
    outer, hole = square(1.5, 9.5, 0.5, 8.5, 2), square(3.5, 7.5, 2.5, 6.5, 2)
    island = square(4.5, 6.5, 3.5, 5.5, 2)
    path = rtstruct(tmp_path, [outer, hole, island, square(1.5, 3.5, 0.5, 2.5, 3.4)])
    expected = box((2, 3), (2, 10), (1, 9)) & ~box((2, 3), (4, 8), (3, 7))
    expected |= box((2, 3), (5, 7), (4, 6)) | box((3, 4), (2, 4), (1, 3))
    label = read_label(path, scan=scan)
    assert label.grid == scan.grid
    assert np.array_equal(label.array, expected)
    both = read_label(path, "instances", scan, names="BODY|LN").array
    assert set(np.unique(both)) == {0, 1, 2}


def test_a_slanted_contour_and_one_with_a_keyhole() -> None:
    triangle = np.array([(0.0, 0.0), (0.0, 8.0), (8.0, 0.0)])
    y, x = np.mgrid[:10, :10]
    inside = filled([triangle], (10, 10))
    assert np.array_equal(inside[x + y != 8], ((x + y < 8) & (y >= 0))[x + y != 8])
    inner = [(5.5, 3.5), (5.5, 5.5), (2.5, 5.5), (2.5, 2.5), (5.5, 2.5), (5.5, 3.5)]
    right = [(7.5, 3.5), *inner, (7.5, 3.5)]
    keyhole = np.array([(-0.5, -0.5), (-0.5, 7.5), (7.5, 7.5), *right, (7.5, -0.5)])
    expected = np.ones((8, 8), bool)
    expected[3:6, 3:6] = False
    assert np.array_equal(filled([keyhole], (8, 8)), expected)


def _tilted() -> Array:
    contour = square(1.5, 9.5, 0.5, 8.5, 2)
    contour[2:, 2] += 2.5
    return contour


def test_what_encloses_nothing_is_left_out_and_told(scan: Scan, tmp_path: Path) -> None:
    """ROIs of a template that nobody drew, and single points among contours."""
    plain = [square(1, 5, 1, 5, 2.0), square(1, 5, 1, 5, 4.5)]
    path = rtstruct(tmp_path, plain)
    expected = read_label(path, scan=scan).array

    def add(data: Any) -> None:
        for number, name in ((90, "LN empty"), (91, "LN nowhere")):
            roi = copy.deepcopy(data.StructureSetROISequence[-1])
            roi.ROINumber, roi.ROIName, roi.ReferencedFrameOfReferenceUID = number, name, "1.2.9"
            data.StructureSetROISequence.append(roi)
        drawn = Dataset()
        drawn.ReferencedROINumber = 90
        data.ROIContourSequence.append(drawn)
        contours = data.ROIContourSequence[1].ContourSequence
        point = copy.deepcopy(contours[0])
        point.ContourGeometricType, point.NumberOfContourPoints = "POINT", 1
        point.ContourData = list(point.ContourData)[:3]
        contours.append(point)

    label, notes = read_label_with_notes(change(path, add), scan=scan)
    assert np.array_equal(label.array, expected)
    assert [note.partition(":")[0] for note in notes] == [
        "1 of 3 contours of the ROI LN_4R are drawn as POINT, which encloses nothing",
        "the ROI LN empty has no contours",
        "the ROI LN nowhere has no contours",
    ]


@pytest.mark.parametrize(
    ("contours", "why"),
    [([square(1, 3, 1, 3, 2.0), square(1, 3, 1, 3, 2.4)], "two planes of contours of LN_4R"),
     ([_tilted()], "runs across the scan's slices"),
     ([square(1, 3, 1, 3, 8.0)], "lies outside the scan"),
     ([square(1, 3, 1, 30, 2.0)], "lies outside the scan"),
     ([square(1.2, 1.4, 1, 3, 2.0)], "smaller than the scan's voxels"), ([], "has no contours")],
)  # fmt: skip
def test_contours_that_are_refused(
    scan: Scan, tmp_path: Path, contours: list[Array], why: str
) -> None:
    with pytest.raises(CaseError, match=why):
        read_label(rtstruct(tmp_path, contours), scan=scan)


def test_structures_of_another_scan_or_damaged(scan: Scan, tmp_path: Path) -> None:
    good = [square(1.5, 9.5, 0.5, 8.5, 2)]
    path = rtstruct(tmp_path, good)
    assert read_label(path, scan=scan).array.sum() == 64
    with pytest.raises(CaseError, match="contours have no voxels of their own"):
        read_label(path)
    change(path, lambda d: d.StructureSetROISequence.pop())
    with pytest.raises(CaseError, match="has 'BODY'"):
        read_label(path, scan=scan)
    path = rtstruct(tmp_path, good)
    number = bytes.fromhex("06308400") + b"IS"  # of the ROI that contours are for
    assert number in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(number, number[:4] + b"UW", 1))
    with pytest.raises(CaseError, match=r"\]: damaged DICOM file \(NotImplementedError\)"):
        read_label(path, scan=scan)
    path = rtstruct(tmp_path, good)
    change(path, lambda d: setattr(d.StructureSetROISequence[1],
                                   "ReferencedFrameOfReferenceUID", "1.2.9"))  # fmt: skip
    with pytest.raises(CaseError, match=r"frame of reference 1\.2\.9"):
        read_label(path, scan=scan)
    path = rtstruct(tmp_path, good)
    whole = path.read_bytes()
    for part in (0.5, 0.7, 0.9, 0.99):
        path.write_bytes(whole[: int(len(whole) * part)])
        with pytest.raises(CaseError, match=r"truncated|damaged") as error:
            read_label(path, scan=scan)
        assert "Mustermann" not in str(error.value)
    path.write_bytes(whole)
    contour = "ContourSequence"
    change(path, lambda d: setattr(d.ROIContourSequence[1][contour][0],
                                   "ContourData", [1, 2, 3] * 3))  # fmt: skip
    with pytest.raises(CaseError, match="points are missing"):
        read_label(path, scan=scan)
    path.write_bytes(whole)
    change(path, lambda d: setattr(d.ROIContourSequence[1][contour][0],
                                   "ContourGeometricType", "POINT"))  # fmt: skip
    with pytest.raises(CaseError, match="drawn as POINT"):
        read_label(path, scan=scan)
    change(path, lambda d: setattr(d.ROIContourSequence[1][contour][0],
                                   "ContourGeometricType", "CLOSED_PLANAX"))  # fmt: skip
    with pytest.raises(CaseError, match="its type is none"):
        read_label(path, scan=scan)


@pytest.mark.parametrize(
    ("source", "why"), [(("case_0001", "slice", 4), "2 slices from the slice that it names"),
                        (("other", "slice", 2), "a slice that the scan does not have")]
)  # fmt: skip
def test_a_contour_that_names_another_slice(
    scan: Scan, tmp_path: Path, source: tuple[object, ...], why: str
) -> None:
    path = rtstruct(tmp_path, [square(1.5, 9.5, 0.5, 8.5, 2)])
    image = pydicom.Dataset()
    image.ReferencedSOPInstanceUID = uid(*source)
    change(path, lambda d: setattr(d.ROIContourSequence[1].ContourSequence[0],
                                   "ContourImageSequence", [image]))  # fmt: skip
    with pytest.raises(CaseError, match=why):
        read_label(path, scan=scan)
