"""Files of other programs: read right, or refused with a reason."""

from __future__ import annotations

import json
import sys
import tarfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support import forked

from lnq.data.readers import read_image, read_label
from lnq.data.readers.alignment import align_label
from lnq.errors import CaseError
from lnq.volume import reorient

_READ_ALL = """
import json, sys
from pathlib import Path
from lnq.data.readers import read_image
from lnq.errors import LnqError
found = {}
for name in sys.argv[2:]:
    try:
        volume = read_image(Path(sys.argv[1]) / name)
        found[name] = [*volume.array.shape, volume.array.dtype.name]
    except LnqError as error:
        found[name] = str(error)
print(json.dumps(found))
"""
_EXPECTED = {
    "4d-lung-P113/ct_bin3x3x1.nii.gz": [99, 104, 142, "int16"],
    "4d-lung-P113/ct_mediastinumcrop_native.nrrd": [36, 176, 160, "int16"],
    "slicerio/CTChest4.nrrd": [34, 128, 128, "int16"],
    "slicerio/SegmentationOverlapping.seg.nrrd": "three axes",
    "chestimagingplatform/ct-64.nrrd": [79, 64, 64, "int16"],
    "totalsegmentator/pulmonary_report/ct_cropped.nii.gz": [112, 102, 122, "int16"],
    "odd/pynrrd/BallBinary30x30x30_gz.nrrd": [30, 30, 30, "int16"],
    "odd/pynrrd/BallBinary30x30x30_bz2.nrrd": "encoding is bzip2",
    "odd/pynrrd/BallBinary30x30x30_byteskip_minus_five.nhdr": "byte skip -5",
    "odd/pynrrd/test_simple4d_raw.nrrd": "single slice",
    "odd/nibabel/example4d.nii.gz": "three axes",
    "odd/nibabel/example_nifti2.nii.gz": "three axes",
    "odd/nifti-reader-js/5D_small.nii": "three axes",
    "odd/nifti-reader-js/not-nifti.nii": "no NIfTI file",
    "odd/nifti-reader-js/big.nii.gz": [21, 64, 64, "float32"],
    "odd/nifti-reader-js/little.nii.gz": [21, 64, 64, "float32"],
    "odd/pydicom": "no DICOM mark",
    "odd/highdicom": "single slice",
    "odd/dcmqi/23x38x3/image": [3, 38, 23, "int16"],
    "odd/dcmqi/23x38x3/multiframe": "multi-frame",
    "odd/dcmqi/23x38x3/seg": "no DICOM CT",
}


@pytest.mark.process
def test_every_file_is_read_or_refused(real_data: Path) -> None:
    """In a process of its own: one of these kills the native reader, sometimes only later."""
    result = forked.run([sys.executable, "-c", _READ_ALL, real_data, *_EXPECTED])
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    for name, expected in _EXPECTED.items():
        if isinstance(expected, str):
            assert expected in found[name], name
        else:
            assert found[name] == expected, name


def test_voxels_and_places_agree_with_another_reader(real_data: Path) -> None:
    path = real_data / "4d-lung-P113/ct_bin3x3x1.nii.gz"
    volume, other = read_image(path), nib.load(path)
    assert np.array_equal(volume.array, np.asarray(other.dataobj).T)
    index = np.array([7, 50, 31])
    ras = other.affine @ [*index[::-1], 1]
    assert np.allclose(volume.grid.to_world(index), ras[:3] * [-1, -1, 1], atol=1e-3)


def test_four_axis_orders_agree_in_the_world(real_data: Path) -> None:
    volumes = [
        reorient(read_image(real_data / f"odd/niivue/{name}.nii.gz"))
        for name in ("LPS", "RAS", "AIR", "SLA")
    ]
    for other in volumes[1:]:
        assert volumes[0].grid.difference(other.grid, 1e-2) is None
        assert np.allclose(volumes[0].array, other.array, atol=1e-3)


def test_byte_orders_agree(real_data: Path) -> None:
    big, little = (
        read_image(real_data / f"odd/nifti-reader-js/{name}.nii.gz") for name in ("big", "little")
    )
    assert np.array_equal(big.array, little.array)
    assert big.grid == little.grid


@pytest.mark.slow
def test_original_dicom_slices_agree_with_their_crop(real_data: Path, tmp_path: Path) -> None:
    with tarfile.open(real_data / "4d-lung-P113/dicom_28slices_plus_rtstruct.tar.xz") as archive:
        archive.extractall(tmp_path, filter="data")
    scan = read_image(tmp_path / "dcmsub/ct_series")
    crop = read_image(real_data / "4d-lung-P113/ct_mediastinumcrop_native.nrrd")
    assert scan.array.shape == (28, 512, 512)
    offset = scan.grid.to_index(np.array(crop.grid.origin_mm))
    z, y, x = np.round(offset).astype(int)
    low, high = max(z, 0), min(z + 36, 28)
    assert high - low > 20
    mine = scan.array[low:high, y : y + 176, x : x + 160]
    assert np.array_equal(mine, crop.array[low - z : high - z])


def test_labels_of_the_nodes(real_data: Path) -> None:
    folder = real_data / "4d-lung-P113"
    crop = read_image(folder / "ct_mediastinumcrop_native.nrrd")
    nodes, notes = align_label(read_label(folder / "ln_mediastinumcrop_native.nrrd"), crop.grid)
    assert notes == []
    assert 2000 < nodes.array.sum() * nodes.grid.voxel_volume_mm3 < 9000
    with pytest.raises(CaseError, match="0, 1, 2"):
        read_label(folder / "labels_tumor1_ln2_bin3x3x1.nii.gz")


def test_a_label_larger_than_its_scan(real_data: Path) -> None:
    folder = real_data / "totalsegmentator/pulmonary_report"
    scan = read_image(folder / "ct_cropped.nii.gz")
    artery, notes = align_label(read_label(folder / "pulmonary_artery.nii.gz"), scan.grid)
    assert notes == []
    assert artery.array.any()
    whole = read_label(folder / "heart.nii.gz")
    heart, notes = align_label(whole, scan.grid)
    assert "placed in the scan" in notes[0]
    centres = [v.grid.to_world(np.argwhere(v.array).mean(axis=0)) for v in (whole, heart)]
    assert np.allclose(*centres, atol=1e-3)
    assert heart.array.sum() == whole.array.sum() > 0
