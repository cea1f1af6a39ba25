"""Values, units, sizes: what two programs read differently is refused, all else read right."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lnq.data.readers import header, read_image, read_label_with_notes
from lnq.errors import CaseError
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((6, 8, 9), (2.5, 0.9, 0.8), (-10.0, 5.0, -40.0))
META = (
    "ObjectType = Image\nNDims = 3\nBinaryData = True\n{more}Offset = 0 0 0\n"
    "ElementSpacing = 1 1 2\n"
    "TransformMatrix = 1 0 0 0 1 0 0 0 1\nDimSize = 9 8 6\nElementType = MET_SHORT\n"
    "ElementDataFile = {file}\n"
)
NRRD = (
    "NRRD0005\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: 9 8 6\n{more}"
    "space directions: (1,0,0) (0,1,0) (0,0,2)\nendian: little\nencoding: raw\n"
    "space origin: (0,0,0)\n\n"
)


def hu() -> Array:
    return np.random.default_rng(0).integers(-1000, 1500, GRID.size, dtype=np.int16)


def nifti(
    path: Path, array: Array, slope: float, intercept: float, kind: type = nib.Nifti1Header
) -> Path:
    """A file whose scale is exactly this; nibabel would choose its own."""
    head = kind(endianness=">" if array.dtype.byteorder == ">" else "<")
    head.set_data_dtype(array.dtype)
    head.set_data_shape(array.T.shape)
    head.set_sform(np.diag([-0.8, -0.9, 2.5, 1]), 1)
    head["pixdim"][1:4] = 0.8, 0.9, 2.5
    head["scl_slope"], head["scl_inter"] = slope, intercept
    head["magic"] = b"n+1" if kind is nib.Nifti1Header else head["magic"]
    head["vox_offset"] = head["sizeof_hdr"] + 4
    data = head.binaryblock + bytes(4) + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def meta(path: Path, more: str = "", data: bytes | None = None) -> Path:
    text = META.format(more=more, file="LOCAL").encode()
    path.write_bytes(text + (hu().tobytes() if data is None else data))
    return path


def nrrd(path: Path, more: str = "") -> Path:
    path.write_bytes(NRRD.format(more=more).encode() + hu().tobytes())
    return path


@pytest.mark.parametrize("dtype", ["i1", "u1", "<i2", ">i2", "<u2", "<i4", "<u4", "<i8", "<f4"])
@pytest.mark.parametrize(
    ("slope", "intercept", "valid"),
    [(1, 0, True), (1, -1000, True), (0.5, -30, True), (-1, 0, True), (-2, 100, True),
     (0, 0, True), (np.nan, 0, True), (np.nan, np.nan, True), (0, np.nan, True),
     (0, -1000, False), (np.nan, -1000, False), (1, np.inf, False), (np.inf, 0, False),
     (1, np.nan, False)],
)  # fmt: skip
def test_nifti_scales_are_nibabels_or_refused(
    tmp_path: Path, dtype: str, slope: float, intercept: float, valid: bool
) -> None:
    stored = (np.arange(hu().size).reshape(GRID.size) % 100).astype(dtype)
    path = nifti(tmp_path / "a.nii.gz", stored, slope, intercept)
    if valid:
        theirs = np.asarray(nib.load(path).dataobj).T
        assert np.allclose(read_image(path).array, theirs, rtol=1e-6)
        return
    with pytest.raises(CaseError, match=r"scale of slope|value scaling"):
        read_image(path)


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_2_is_read(tmp_path: Path, name: str) -> None:
    volume = read_image(nifti(tmp_path / name, hu(), 1, 0, nib.Nifti2Header))
    assert np.array_equal(volume.array, hu())
    assert volume.array.dtype == np.int16
    assert volume.grid.difference(Grid(GRID.size, GRID.spacing_mm), 1e-4) is None
    scaled = read_image(nifti(tmp_path / f"s{name}", hu(), 0.5, -100, nib.Nifti2Header))
    assert np.allclose(scaled.array, hu() * 0.5 - 100)


def _one_voxel_off(image: sitk.Image) -> sitk.Image:
    image = sitk.Image(image)
    image[5, 5, 5] += 1
    return image


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("wrong", [lambda i: i - 1024, lambda i: -i, _one_voxel_off])
def test_a_reader_that_gives_other_values_is_not_believed(
    tmp_path: Path, suffix: str, wrong: Callable[[Any], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"a{suffix}"
    sitk.WriteImage(to_sitk(Volume(hu(), GRID)), str(path))
    read = sitk.ReadImage
    monkeypatch.setattr(sitk, "ReadImage", lambda *args, **more: wrong(read(*args, **more)))
    with pytest.raises(CaseError, match="values can be read in two ways"):
        read_image(path)


@pytest.mark.parametrize("unit", ["cm", "m", "um", "inches"])
def test_other_units_of_length_are_refused(tmp_path: Path, unit: str) -> None:
    triple = " ".join([f'"{unit}"'] * 3)
    for path in (
        nrrd(tmp_path / "a.nrrd", f"space units: {triple}\n"),
        nrrd(tmp_path / "b.nrrd", f'units: "mm" "mm" "{unit}"\n'),
        meta(tmp_path / "c.mha", f"DistanceUnits = {unit}\n"),
    ):
        with pytest.raises(CaseError, match=f"unit of length is {unit}"):
            read_image(path)


@pytest.mark.parametrize("unit", ["mm", "MM", "millimeter", "?", ""])
def test_millimetres_by_any_name(tmp_path: Path, unit: str) -> None:
    triple = " ".join([f'"{unit}"'] * 3)
    for path in (nrrd(tmp_path / "a.nrrd", f"space units: {triple}\n"),
                 meta(tmp_path / "c.mha", f"DistanceUnits = {unit}\n")):  # fmt: skip
        assert np.array_equal(read_image(path).array, hu())


@pytest.mark.parametrize(
    ("more", "why"),
    [("ElementToIntensityFunctionOffset = -1024\n", "ElementToIntensityFunctionOffset is -1024"),
     ("ElementToIntensityFunctionSlope = 2\n", "ElementToIntensityFunctionSlope is 2"),
     ("ElementToIntensityFunctionSlope = 1\nElementToIntensityFunctionOffset = 0\n", None)],
)  # fmt: skip
def test_a_scale_that_readers_pass_over(tmp_path: Path, more: str, why: str | None) -> None:
    path = meta(tmp_path / "a.mha", more)
    if why is None:
        assert np.array_equal(read_image(path).array, hu())
        return
    with pytest.raises(CaseError, match=why):
        read_image(path)


def test_quantised_values_are_no_hu(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="old min"):
        read_image(nrrd(tmp_path / "a.nrrd", "old min: -1024\nold max: 3071\n"))


@pytest.mark.parametrize("off", [-40, 3, 1000])
def test_a_wrong_number_of_packed_bytes(tmp_path: Path, off: int) -> None:
    """The native reader would unpack that many, and leave the other voxels as they were."""
    data = zlib.compress(hu().tobytes())
    for size in (len(data), len(data) + off):
        more = f"CompressedData = True\nCompressedDataSize = {size}\n"
        path = meta(tmp_path / f"{size}.mha", more, data)
        if size == len(data):
            assert np.array_equal(read_image(path).array, hu())
            continue
        with pytest.raises(CaseError, match="CompressedDataSize"):
            read_image(path)


def test_a_windows_path_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.mhd"
    path.write_text(META.format(more="", file="C:\\scans\\a.raw"))
    with pytest.raises(CaseError, match="a Windows path") as error:
        read_image(path)
    assert "Put a.raw beside it" in str(error.value)


def test_large_and_empty_is_refused_before_it_is_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(header, "LARGEST_UNPACKED", 1 << 20)
    paths = [nifti(tmp_path / "a.nii.gz", np.zeros((100, 100, 100), np.int16), 1, 0)]
    for suffix in (".nrrd", ".mha"):
        paths.append(tmp_path / f"b{suffix}")
        sitk.WriteImage(sitk.Image([100] * 3, sitk.sitkInt16), str(paths[-1]), useCompression=True)
    for path in paths:
        with pytest.raises(CaseError, match="hardly any content"):
            read_image(path)


@pytest.mark.parametrize("size", ["9 8 100000", "9 8 " + "9" * 4000])
def test_impossible_sizes(tmp_path: Path, size: str) -> None:
    path = nrrd(tmp_path / "a.nrrd")
    path.write_bytes(path.read_bytes().replace(b"9 8 6", size.encode()))
    with pytest.raises(CaseError, match="gives the size"):
        read_image(path)


def test_voxels_that_are_said_to_begin_far_behind(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", hu(), 1, 0)
    data = bytearray(path.read_bytes())
    data[108:112] = np.float32(3e9).tobytes()
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(CaseError, match="said to begin at byte 3e"):
        read_image(tmp_path / "a.nii.gz")


def test_a_name_that_is_not_utf_8(tmp_path: Path) -> None:
    """SimpleITK would end the whole process."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/a\xfc.nrrd"))
    nrrd(path)
    for read in (read_image, read_label_with_notes):
        with pytest.raises(CaseError, match="name is not UTF-8") as error:
            read(path)
        str(error.value).encode()


@pytest.mark.parametrize(("value", "whole"), [(0.9999999, True), (1.0005, True), (0.99, False)])
def test_a_label_of_almost_one(tmp_path: Path, value: float, whole: bool) -> None:
    array = np.zeros(GRID.size, np.float32)
    array[2, 3, 4] = value
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(to_sitk(Volume(array, GRID)), str(path))
    if not whole:
        with pytest.raises(CaseError, match=f"this file has 0, {np.float32(value):.9g}"):
            read_label_with_notes(path)
        return
    label, notes = read_label_with_notes(path)
    assert label.array.sum() == label.array[2, 3, 4] == 1
    assert "rounded" in notes[0]


@pytest.mark.parametrize(
    ("said", "what"),
    [("Exception thrown in SimpleITK ImageFileReader_Execute: Resource temporarily unavailable",
      "no threads are left"), ("ITK ERROR: Failed to allocate memory for image.", "enough memory"),
     ("ITK ERROR: it is odd", "the reader says: ITK ERROR: it is odd")],
)  # fmt: skip
def test_what_the_machine_lacks_is_no_damage(
    tmp_path: Path, said: str, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError(said)

    monkeypatch.setattr(sitk, "ReadImage", fail)
    with pytest.raises(CaseError, match=what) as error:
        read_image(nrrd(tmp_path / "a.nrrd"))
    assert ("damaged" in str(error.value)) is False
