"""Annotations of other programs: DICOM-SEG, RTSTRUCT and 3D Slicer's segmentations."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest

from lnq.data.readers import Scan, read_image, read_label
from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError
from lnq.volume import Array


def dice(first: Array, second: Array) -> float:
    return float(2 * (first & second).sum() / (first.sum() + second.sum()))


def scan_of(path: Path) -> Scan:
    return Scan(path, read_image(path).grid)


@pytest.mark.slow
def test_contours_agree_with_masks_drawn_by_another_program(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "4d-lung-P113"
    contours = folder / "rtstruct_original.dcm"
    scan = scan_of(folder / "ct_mediastinumcrop_native.nrrd")
    given, _ = align_label(read_label(folder / "ln_mediastinumcrop_native.nrrd"), scan.grid)
    mine = read_label(contours, scan=scan)
    # One voxel whose centre lies on a contour goes either way.
    assert dice(mine.array > 0, given.array > 0) > 0.999
    scan = scan_of(folder / "ct_bin3x3x1.nii.gz")
    coarse = read_label(folder / "labels_tumor1_ln2_bin3x3x1.nii.gz", "instances").array
    for names, value in ((None, 2), ("Tumor", 1)):
        assert dice(read_label(contours, scan=scan, names=names).array > 0, coarse == value) == 1
    with tarfile.open(folder / "dicom_28slices_plus_rtstruct.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    series = scan_of(tmp_path / "dcmsub/ct_series")
    on_series = read_label(contours, scan=series)
    sizes = [int(np.count_nonzero(label.array)) for label in (on_series, mine, given)]
    assert max(sizes) - min(sizes) <= 2
    with pytest.raises(CaseError, match="lies outside the scan"):
        read_label(contours, scan=series, names="Tumor")


def test_segments_agree_with_the_same_label_as_nrrd(real_data: Path) -> None:
    folder = real_data / "odd/dcmqi/23x38x3"
    scan = scan_of(folder / "image")
    label = read_label(folder / "seg/label.seg", scan=scan)
    assert label.grid == scan.grid
    other = read_label(folder / "nrrd/label.nrrd", "instances")
    assert np.array_equal(label.array > 0, other.array > 0)
    assert np.array_equal(read_label(folder / "seg").array, label.array)
    foreign = real_data / "odd/highdicom/seg_image_ct_binary.dcm"
    with pytest.raises(CaseError, match="annotates another series"):
        read_label(foreign, scan=scan)
    assert read_label(foreign).array.sum() == 638


def test_overlapping_segments_with_frames_missing_between(real_data: Path) -> None:
    path = real_data / "odd/highdicom/seg_image_ct_binary_overlap.dcm"
    label = read_label(path, "instances", names="segment")
    assert label.grid.size == (165, 16, 16)  # 162 slices of 1.25 mm lie between two of its frames
    assert np.flatnonzero(label.array.any(axis=(1, 2))).tolist() == [0, 162, 163, 164]
    assert set(np.unique(label.array)) == {0, 1, 2}


def test_segmentations_of_3d_slicer(real_data: Path) -> None:
    folder = real_data / "slicerio"
    flat, layered = folder / "Segmentation.seg.nrrd", folder / "SegmentationOverlapping.seg.nrrd"
    grid = read_image(folder / "CTChest4.nrrd").grid
    for path in (flat, layered):
        lungs = read_label(path, "instances", names="lung")
        assert np.unique(lungs.array, return_counts=True)[1].tolist() == [488906, 34450, 33700]
        assert lungs.grid.difference(grid) is None
        with pytest.raises(CaseError, match="'right lung'"):
            read_label(path)
    assert read_label(layered, names="sphere").array.sum() == 19139
