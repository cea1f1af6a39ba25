"""Damaged, contradictory and odd files: each is refused in words, or read right."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from lnq.data.readers import (
    SUFFIXES,
    content_hash,
    read_image,
    read_image_with_notes,
    read_label,
    reading,
    scan_name,
)
from lnq.data.readers.header import Header
from lnq.errors import CaseError
from lnq.volume import Array, Grid, Volume, to_sitk

# Turned and with z flipped: what axis-aligned tests do not see.
_COS, _SIN = np.cos(0.2), np.sin(0.2)
GRID = Grid((8, 10, 12), (3.0, 0.8, 0.9), (-31.5, 12.25, -400.0),
            (_COS, -_SIN, 0.0, _SIN, _COS, 0.0, 0.0, 0.0, -1.0))  # fmt: skip
NRRD_HEAD = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
    "space directions: {steps}\nendian: little\nencoding: raw\nspace origin: (0,0,0)\n{more}\n"
)


def hu(shape: tuple[int, ...] = GRID.size, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(-1000, 1500, shape, dtype=np.int16)


def written(path: Path, array: Array | None = None, compress: bool = True) -> Path:
    array = hu() if array is None else array
    sitk.WriteImage(to_sitk(Volume(array, GRID)), str(path), useCompression=compress)
    return path


def nifti(path: Path, array: Array, affine: Array | None = None) -> Path:
    nib.save(nib.Nifti1Image(array, np.diag([1, 1, 2, 1.0]) if affine is None else affine), path)
    return path


def nrrd(path: Path, payload: bytes, size: str = "4 5 6",
         steps: str = "(1,0,0) (0,1,0) (0,0,2)", more: str = "") -> Path:  # fmt: skip
    path.write_bytes(NRRD_HEAD.format(size=size, steps=steps, more=more).encode() + payload)
    return path


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("compress", [False, True])
def test_every_format_gives_the_same_volume(tmp_path: Path, suffix: str, compress: bool) -> None:
    path = written(tmp_path / f"é a <b>{suffix}", compress=compress)
    volume = read_image(path)
    assert np.array_equal(volume.array, hu())
    assert volume.array.dtype == np.int16
    assert volume.grid.difference(GRID, 1e-4) is None
    assert scan_name(path) == "é a <b>"
    capital = path.rename(path.with_name(f"é a <b>{suffix.upper()}"))
    assert np.array_equal(read_image(capital).array, hu())


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_flipped_bit_a_cut_or_a_lost_trailer_is_found(tmp_path: Path, suffix: str) -> None:
    """In a file of more than 2 MB, where native readers most often say nothing."""
    array = np.random.default_rng(1).integers(-1000, 1000, (40, 200, 200), dtype=np.int16)
    good = tmp_path / f"good{suffix}"
    sitk.WriteImage(sitk.GetImageFromArray(array), str(good), useCompression=True)
    data = good.read_bytes()
    assert len(data) > 2_000_000
    assert np.array_equal(read_image(good).array, array)
    flipped = bytearray(data)
    flipped[len(data) * 3 // 5] ^= 4
    for name, damaged in {"flip": bytes(flipped), "half": data[: len(data) // 2],
                          "trailer": data[:-6], "longer": data + b"1234567"}.items():  # fmt: skip
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(damaged)
        with pytest.raises(CaseError, match=r"damaged|promises|cut off") as error:
            read_image(path)
        assert str(path) in str(error.value)
        assert error.value.remedy


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("change", [-7, 4])
def test_an_uncompressed_file_of_another_length(tmp_path: Path, suffix: str, change: int) -> None:
    path = written(tmp_path / f"a{suffix}", compress=False)
    data = path.read_bytes()
    path.write_bytes(data[:change] if change < 0 else data + bytes(change))
    with pytest.raises(CaseError, match="promises 1920 bytes"):
        read_image(path)


@pytest.mark.parametrize("suffix", [".nii", ".nrrd", ".mha"])
def test_a_header_that_two_programs_read_differently(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(path: Path) -> Header:
        return replace(parse(path), origin_mm=(0.0, 0.0, 0.0))

    parse = reading._PARSERS[suffix]
    monkeypatch.setitem(reading._PARSERS, suffix, other)
    with pytest.raises(CaseError, match="read in two ways: origin_mm"):
        read_image(written(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("size", ["4 5 7", "4 5 5"])
def test_nrrd_sizes_that_do_not_fit(tmp_path: Path, size: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", hu((6, 5, 4)).tobytes(), size)
    with pytest.raises(CaseError, match="promises"):
        read_image(path)


def test_exchanged_x_and_y_are_noticed(tmp_path: Path) -> None:
    z, y, x = np.mgrid[:6, :60, :40]
    smooth = (800 * np.sin(x / 9) * np.cos(y / 11) + 5 * z).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 20, smooth.shape)
    payload = (smooth + noise).astype(np.int16).tobytes()
    right = nrrd(tmp_path / "right.nrrd", payload, "40 60 6")
    assert read_image(right).array.shape == (6, 60, 40)
    with pytest.raises(CaseError, match="exchanged"):
        read_image(nrrd(tmp_path / "wrong.nrrd", payload, "60 40 6"))


@pytest.mark.parametrize("suffix", ["nhdr", "mhd"])
def test_a_data_file_outside_the_folder_is_not_read(tmp_path: Path, suffix: str) -> None:
    inner = tmp_path / "scans"
    inner.mkdir()
    path = written(inner / f"a.{suffix}", compress=False)
    raw = inner / "a.raw"
    raw.replace(tmp_path / "secret.raw")
    path.write_text(path.read_text().replace("a.raw", "../secret.raw"))
    with pytest.raises(CaseError, match="outside its folder"):
        read_image(path)
    path.write_text(path.read_text().replace("../secret.raw", "gone.raw"))
    with pytest.raises(CaseError, match="missing"):
        read_image(path)
    raw.symlink_to(tmp_path / "secret.raw")
    path.write_text(path.read_text().replace("gone.raw", "a.raw"))
    with pytest.raises(CaseError, match="outside its folder"):
        read_image(path)


@pytest.mark.parametrize("suffix", ["nhdr", "mhd"])
def test_content_hash_covers_the_voxels_beside_a_header(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f"a.{suffix}", compress=False)
    before = content_hash(path)
    raw = tmp_path / "a.raw"
    raw.write_bytes(raw.read_bytes()[::-1])
    assert content_hash(path) != before


@pytest.mark.parametrize("steps", ["(0,0,0) (0,1,0) (0,0,2)", "(nan,0,0) (0,1,0) (0,0,2)",
                                   "(1,0,0) (0,1,0) (0,0,900)"])  # fmt: skip
def test_nrrd_voxel_sizes(tmp_path: Path, steps: str) -> None:
    path = nrrd(tmp_path / "a.nrrd", hu((6, 5, 4)).tobytes(), steps=steps)
    with pytest.raises(CaseError, match="voxel size"):
        read_image(path)


def test_an_unknown_voxel_type(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii", hu((4, 5, 6)))
    data = bytearray(path.read_bytes())
    data[70] = 83  # datatype
    path.write_bytes(data)
    with pytest.raises(CaseError, match="unknown type 83"):
        read_image(path)


@pytest.mark.parametrize("zoom", [0.0, np.nan, -1.0, np.inf])
def test_nifti_voxel_sizes(tmp_path: Path, zoom: float) -> None:
    path = nifti(tmp_path / "a.nii", hu((4, 5, 6)))
    data = bytearray(path.read_bytes())
    data[80:84] = np.float32(zoom).tobytes()  # pixdim[1]
    path.write_bytes(data)
    with pytest.raises(CaseError, match="voxel size"):
        read_image(path)


def test_enormous_dims_are_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    path = nifti(tmp_path / "a.nii.gz", hu((20, 50, 46)))
    data = bytearray(gzip.decompress(path.read_bytes()))
    data[42:48] = np.array([32767] * 3, np.int16).tobytes()
    path.write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(CaseError, match=r"more than .* packed"):
        read_image(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_nan_and_infinity_are_seen_as_stored(tmp_path: Path, value: float, suffix: str) -> None:
    array = hu().astype(np.float32)
    array[3, 4, 5] = value
    with pytest.raises(CaseError, match="1 voxels are NaN or infinite"):
        read_image(written(tmp_path / f"a{suffix}", array))


@pytest.mark.parametrize(
    ("name", "content"),
    [("a.nrrd", b""), ("a.nii", b""), ("a.nii.gz", b""), ("a.mha", b""), ("a.nii", b"no header"),
     ("a.nrrd", b"\x1f\x8b" + bytes(400)), ("a.nii.gz", b"NRRD0004\n" + bytes(400)),
     ("a.mha", bytes(128) + b"DICM" + bytes(400)), ("a.txt", b"hello")],
)  # fmt: skip
def test_empty_files_and_wrong_suffixes(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(CaseError, match=r"empty|content|suffix"):
        read_image(path)
    with pytest.raises(CaseError, match="no such file"):
        read_image(tmp_path / "missing.nrrd")


@pytest.mark.parametrize(
    ("array", "why"),
    [(np.full((4, 5, 6), -1000, np.int16), "every voxel has the value -1000"),
     (np.zeros((4, 5, 6), np.int16), "every voxel has the value 0"),
     (hu((4, 5, 6, 2)), "three axes"), (hu((4, 5)), "three axes"), (hu((4, 5, 1)), "single slice"),
     (np.zeros((4, 5, 6), [("R", "u1"), ("G", "u1"), ("B", "u1")]), "no single numbers"),
     (np.full((4, 5, 6), 1j, np.complex64), "no single numbers"),
     (np.arange(40000, 40120, dtype=np.int32).reshape(4, 5, 6), "no Hounsfield units")],
)  # fmt: skip
def test_what_is_no_scan(tmp_path: Path, array: Array, why: str) -> None:
    with pytest.raises(CaseError, match=why):
        read_image(nifti(tmp_path / "a.nii.gz", array))


def test_a_colour_image_as_nrrd(tmp_path: Path) -> None:
    path = tmp_path / "a.nrrd"
    sitk.WriteImage(sitk.Image([4, 5, 6], sitk.sitkVectorUInt8, 3), str(path))
    with pytest.raises(CaseError, match=r"axis of kind|three axes"):
        read_image(path)


def test_shear_and_disagreeing_forms(tmp_path: Path) -> None:
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 2] = 0.4
    with pytest.raises(CaseError, match=r"sheared|voxel sizes"):
        read_image(nifti(tmp_path / "shear.nii", hu((4, 5, 6)), affine))
    with pytest.raises(CaseError, match="sheared"):
        read_image(nrrd(tmp_path / "a.nrrd", hu((6, 5, 4)).tobytes(),
                        steps="(1,0,0) (0,1,0) (0,0.3,2)"))  # fmt: skip
    image = nib.Nifti1Image(hu((4, 5, 6)), np.diag([1.0, 1.0, 2.0, 1.0]))
    moved = np.diag([1.0, 1.0, 2.0, 1.0])
    moved[:3, 3] = 5
    image.set_qform(moved, 1)
    image.set_sform(image.affine, 1)
    nib.save(image, tmp_path / "two.nii")
    with pytest.raises(CaseError, match="qform and sform"):
        read_image(tmp_path / "two.nii")


def test_no_forms_at_all_is_noted(tmp_path: Path) -> None:
    image = nib.Nifti1Image(hu((4, 5, 6)), None)
    image.header.set_zooms((1, 2, 3))
    nib.save(image, tmp_path / "a.nii")
    volume, notes = read_image_with_notes(tmp_path / "a.nii")
    assert volume.grid.spacing_mm == (3, 2, 1)
    assert "no qform" in notes[0]
    path = written(tmp_path / "a.mha", compress=False)
    path.write_bytes(path.read_bytes().replace(b"TransformMatrix", b"TransformMatriX"))
    volume, notes = read_image_with_notes(path)
    assert volume.grid.direction == (1, 0, 0, 0, 1, 0, 0, 0, 1)
    assert "no TransformMatrix" in notes[0]


@pytest.mark.parametrize(("values", "shown"), [((0, 255), "0, 255"), ((0, 0.6), "0, 0.6"),
                                               ((0, np.nan), "nan"), ((0, 300), "0, 300"),
                                               ((0, -1), "-1, 0")])  # fmt: skip
def test_label_values(tmp_path: Path, values: tuple[float, float], shown: str) -> None:
    array = np.zeros((4, 5, 6), np.float32 if values[1] in (0.6,) or np.isnan(values[1])
                     else np.int16)  # fmt: skip
    array[1, 2, 3] = values[1]
    path = nifti(tmp_path / "a.nii.gz", array)
    with pytest.raises(CaseError, match=shown if shown != "nan" else "NaN"):
        read_label(path)


def test_good_labels(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.float32)
    array[1, 2, 3] = 1
    binary = read_label(nifti(tmp_path / "a.nii.gz", array)).array
    assert binary.dtype == np.uint8
    assert binary.sum() == 1
    array[0, 0, 0] = 300
    instances = read_label(nifti(tmp_path / "b.nii.gz", array), "instances").array
    assert instances.dtype == np.uint16
    assert instances[0, 0, 0] == 300
    array[0, 0, 0] = 70000
    with pytest.raises(CaseError, match="70000"):
        read_label(nifti(tmp_path / "c.nii.gz", array), "instances")


def test_messages_of_readers_are_one_line(tmp_path: Path) -> None:
    checks: list[Callable[[Path], object]] = [read_image, read_label]
    path = tmp_path / "new\nline.nrrd"
    path.write_bytes(b"NRRD0004\nencoding: raw\n\n")
    for check in checks:
        with pytest.raises(CaseError) as error:
            check(path)
        assert "\n" not in str(error.value)
