"""DICOM-SEG and RTSTRUCT as labels: put where they say, or refused with the reason."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.dicom_phantom import (
    ORIGIN,
    SIZE,
    SPACING,
    box,
    change,
    write_ct,
    write_seg,
)

from lnq.data.readers import (
    Scan,
    content_hash,
    read_image,
    read_label,
)
from lnq.data.readers.alignment import align_label
from lnq.data.readers.headers import read_header
from lnq.data.readers.segments import Segment
from lnq.errors import CaseError, UsageError
from lnq.volume import Array

# Slices 2 and 4 hold nothing: such frames are left out of the files.
FIRST = box((1, 2), (2, 6), (3, 7)) | box((3, 4), (2, 5), (3, 5))
SECOND = box((3, 4), (4, 10), (4, 8)) | box((5, 6), (1, 3), (1, 2))


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    folder = write_ct(tmp_path / "ct")
    return Scan(folder, read_image(folder).grid)


def shuffle_frames(data: Any) -> None:
    frames, pixels = list(data.PerFrameFunctionalGroupsSequence), data.pixel_array
    order = list(range(len(frames)))
    random.Random(1).shuffle(order)
    data.PerFrameFunctionalGroupsSequence = [frames[i] for i in order]
    bits = np.packbits(pixels[order].ravel(), bitorder="little")
    data.PixelData = bits.tobytes() + bytes(len(bits) % 2)


@pytest.mark.slow
def test_segments_are_merged_or_kept_wherever_their_frames_stand(
    scan: Scan, tmp_path: Path
) -> None:
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"LN 4R": FIRST, "LN 7": SECOND})
    assert len(pydicom.dcmread(path).PerFrameFunctionalGroupsSequence) == 4
    change(path, shuffle_frames)
    label = read_label(path, scan=scan)
    assert label.grid == scan.grid
    assert np.array_equal(label.array, FIRST | SECOND)
    kept = read_label(path, "instances", scan).array
    # What both claim goes to the smaller.
    assert SECOND.sum() > FIRST.sum()
    assert np.array_equal(kept, np.where(FIRST, 1, np.where(SECOND, 2, 0)))
    # Without the scan, the frames' own grid: all slices between them, not only those with frames.
    alone = read_label(path)
    assert alone.grid.size == (5, *SIZE[1:])
    assert alone.grid.spacing_mm == pytest.approx(SPACING)
    assert np.array_equal(align_label(alone, scan.grid)[0].array, FIRST | SECOND)
    assert np.array_equal(read_label(path, names="4r$").array.sum(), FIRST.sum())


def test_one_instance_hidden_in_another_is_said(scan: Scan, tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"LN 1": FIRST, "LN 2": FIRST})
    assert read_label(path, scan=scan).array.sum() == FIRST.sum()
    with pytest.raises(CaseError, match="the segment LN 1 lies wholly within others"):
        read_label(path, "instances", scan)


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_other_kinds_of_segmentation(scan: Scan, tmp_path: Path, kind: str) -> None:
    mask: Array = np.where(FIRST, 0.5, np.where(SECOND, 0.49, 0.0))
    if kind == "LABELMAP":
        mask = FIRST.astype(np.uint8)
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"node": mask}, kind=kind)
    assert np.array_equal(read_label(path, scan=scan).array, FIRST)


def test_frames_turned_against_the_scan(scan: Scan, tmp_path: Path) -> None:
    """Columns run backwards from the other end: the same voxels in space."""
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"node": FIRST})

    def turn(data: Any) -> None:
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
        for frame in data.PerFrameFunctionalGroupsSequence:
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            position[0] = float(position[0]) + SPACING[2] * (SIZE[2] - 1)
        flipped = data.pixel_array[..., ::-1]
        data.PixelData = np.packbits(flipped.ravel(), bitorder="little").tobytes()

    assert np.array_equal(read_label(change(path, turn), scan=scan).array, FIRST)


def test_a_frame_placed_by_its_slice_alone(scan: Scan, tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"node": FIRST})

    def forget(data: Any) -> None:
        for frame in data.PerFrameFunctionalGroupsSequence:
            del frame.PlanePositionSequence

    change(path, forget)
    assert np.array_equal(read_label(path, scan=scan).array, FIRST)
    with pytest.raises(CaseError, match="frame 1 does not say where it lies"):
        read_label(path)


def _shift(axis: int, by: float) -> Callable[[Any], None]:
    def edit(data: Any) -> None:
        for frame in data.PerFrameFunctionalGroupsSequence:
            del frame.DerivationImageSequence
            position = frame.PlanePositionSequence[0].ImagePositionPatient
            position[axis] = float(position[axis]) + by

    return edit


def _first(data: Any) -> Any:
    return data.PerFrameFunctionalGroupsSequence[0]


def _segment_of(data: Any) -> Any:
    """Of a single segment, all frames share the entry."""
    return data.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence[0]


def _contradict(data: Any) -> None:
    _first(data).PlanePositionSequence[0].ImagePositionPatient[2] = ORIGIN[2]


def _foreign_slice(data: Any) -> None:
    source = _first(data).DerivationImageSequence[0].SourceImageSequence[0]
    source.ReferencedSOPInstanceUID = "1.2.3"


def _repeat_frame(data: Any) -> None:
    frames = data.PerFrameFunctionalGroupsSequence
    frames[1].PlanePositionSequence = frames[0].PlanePositionSequence
    frames[1].DerivationImageSequence = frames[0].DerivationImageSequence
    data.PixelData = np.packbits(data.pixel_array[[0, 0]].ravel(), bitorder="little").tobytes()


def _coarser(data: Any) -> None:
    measures = data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    measures.PixelSpacing = [1.8, 1.6]


@pytest.mark.parametrize(
    ("damage", "why"),
    [(lambda d: setattr(d.ReferencedSeriesSequence[0], "SeriesInstanceUID", "1.2.9"),
      "annotates another series: 1.2.9"),
     (lambda d: setattr(d, "FrameOfReferenceUID", "1.2.9"), "frame of reference 1.2.9"),
     (_shift(0, 0.4), "does not lie on the scan's voxels"),
     (_shift(2, 1.25), "does not lie on the scan's voxels"),
     (_shift(0, -8 * SPACING[2]), "lie outside the scan"), (_coarser, "1.8 x 1.6 mm, does not lie"),
     (_contradict, r"frame 1 lies \d\.5 mm from the slice"),
     (_foreign_slice, "refers to the slice 1.2.3"), (_repeat_frame, "in the same place"),
     (lambda d: d.PerFrameFunctionalGroupsSequence.pop(), "1 of 2 frames are described"),
     (lambda d: setattr(d, "PixelData", d.PixelData[:-4]), "truncated or damaged"),
     (lambda d: delattr(d, "PixelData"), "it has no pixels"),
     (lambda d: delattr(d.SegmentSequence[0], "SegmentNumber"), "SegmentNumber is missing"),
     (lambda d: setattr(_segment_of(d), "ReferencedSegmentNumber", 7),
      "segment 7, which is not listed"),
     (lambda d: delattr(d.SharedFunctionalGroupsSequence[0], "PixelMeasuresSequence"),
      "no orientation or pixel size")],
)  # fmt: skip
def test_segmentations_that_are_refused(
    scan: Scan, tmp_path: Path, damage: Callable[[Any], object], why: str
) -> None:
    path = change(write_seg(tmp_path / "seg.dcm", scan.path, {"node": FIRST}), damage)
    with pytest.raises(CaseError, match=why) as error:
        read_label(path, scan=scan)
    assert str(path) in str(error.value)
    assert "Mustermann" not in str(error.value)


@pytest.mark.parametrize(
    ("tag", "kind", "other"),
    [("62000400", "US", "UW"), ("62000b00", "US", "FD"), ("08005511", "UI", "UW"),
     ("20003200", "DS", "UW"), ("08001511", "SQ", "UT"), ("62000200", "SQ", "UT")],
)  # fmt: skip
def test_one_damaged_value_is_the_files_fault(
    scan: Scan, tmp_path: Path, tag: str, kind: str, other: str
) -> None:
    """Values inside of sequences are decoded when they are looked at: never unforeseen."""
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"node": FIRST})
    content, mark = path.read_bytes(), bytes.fromhex(tag)
    assert mark + kind.encode() in content
    path.write_bytes(content.replace(mark + kind.encode(), mark + other.encode(), 1))
    with pytest.raises(CaseError, match=r"seg\.dcm\]: (damaged|truncated) DICOM"):
        read_label(path, scan=scan)
    if tag.startswith("0800"):  # those by which a segmentation is matched with its scan
        with pytest.raises(CaseError, match=r"seg\.dcm\]: (damaged|truncated) DICOM"):
            read_header(path)


def test_which_segments_are_meant(scan: Scan, tmp_path: Path) -> None:
    path = write_seg(tmp_path / "seg.dcm", scan.path, {"Heart": SECOND, "Node": FIRST})
    with pytest.raises(CaseError, match="is unclear: it has 'Heart', 'Node'"):
        read_label(path, scan=scan)
    assert np.array_equal(read_label(path, scan=scan, names="node").array, FIRST)
    with pytest.raises(CaseError, match="no segment's name fits 'x'"):
        read_label(path, scan=scan, names="x")
    with pytest.raises(UsageError, match="no regular expression"):
        read_label(path, scan=scan, names="(")
    # A file of one segment was made as a label, whatever it is called.
    path = write_seg(tmp_path / "one.dcm", scan.path, {"Tissue": FIRST})
    assert np.array_equal(read_label(path, scan=scan).array, FIRST)


@pytest.mark.parametrize(
    "name", ["LN_c40", "Lymph nodes", "4R_LN", "lnn", "node3", "GTVn", "GTV-N1"]
)
def test_names_of_nodes(name: str) -> None:
    assert Segment(1, name).is_node


@pytest.mark.parametrize("name", ["Lung_L", "Vertebra", "nodule", "Carina_c40", "GTVnew", "Kiln"])
def test_names_of_other_things(name: str) -> None:
    assert not Segment(1, name).is_node


def test_a_label_is_hashed_without_its_neighbours(scan: Scan, tmp_path: Path) -> None:
    path = write_seg(scan.path.parent / "seg" / "a.dcm", scan.path, {"node": FIRST})
    before = content_hash(path)
    (path.parent / "b.dcm").write_bytes(path.read_bytes())
    assert content_hash(path) == before
    assert read_label(path, scan=scan).array.any()
