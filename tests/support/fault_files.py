"""Datasets with one fault each, by what makes them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import nibabel as nib
import numpy as np
import SimpleITK as sitk

from lnq.volume import Array, Grid, Volume, to_sitk
from support.dicom_slices import write_slice
from support.synthetic_chest import SMALL, chest_with_spine

Maker = Callable[[Path], None]
SCAN = chest_with_spine()
AFFINE = np.diag([-8.0, -8.0, 10.0, 1.0])
RAW = (
    "NRRD0004\ntype: short\ndimension: 3\nspace: left-posterior-superior\nsizes: {size}\n"
    "space directions: {steps}\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n{more}\n"
)


def nodes(value: float = 1, dtype: type[np.generic] = np.uint8) -> Array:
    label = np.zeros(SMALL.size, dtype)
    label[14:16, 17:20, 22:25] = np.asarray(value).astype(dtype)
    return label


def write(path: Path, array: Array = SCAN.array, grid: Grid = SMALL) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    compress = path.suffix != ".nii"
    sitk.WriteImage(to_sitk(Volume(array, grid)), str(path), useCompression=compress)


def scan(name: str, array: Array = SCAN.array, grid: Grid = SMALL) -> Maker:
    return lambda folder: write(folder / name, array, grid)


def sound(suffix: str = ".nrrd", seed: int = 1) -> Maker:
    noise = np.random.default_rng(seed).integers(-9, 10, SMALL.size, dtype=np.int16)
    return scan(f"ct{suffix}", SCAN.array + noise)


def labelled(array: Array, grid: Grid = SMALL, seed: int = 1) -> Maker:
    def make(folder: Path) -> None:
        sound(seed=seed)(folder)
        write(folder / "label.nrrd", array, grid)

    return make


def large(name: str, damage: Callable[[bytes], bytes]) -> Maker:
    """A file of 2 MB and more, damaged; native readers most often say nothing of large ones."""

    def make(folder: Path) -> None:
        array = np.random.default_rng(0).integers(-1000, 1000, (40, 180, 200), dtype=np.int16)
        write(folder / name, array, Grid(array.shape, (3.0, 2.0, 2.0)))
        data = (folder / name).read_bytes()
        assert len(data) > 2_000_000
        (folder / name).write_bytes(damage(data))

    return make


def flipped(data: bytes) -> bytes:
    middle = len(data) * 3 // 5
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def raw(size: str = "48 36 30", steps: str = "(8,0,0) (0,8,0) (0,0,10)", more: str = "") -> Maker:
    def make(folder: Path) -> None:
        head = RAW.format(size=size, steps=steps, more=more)
        voxels = b"" if more else SCAN.array.tobytes()
        (folder / "ct.nrrd").write_bytes(head.encode() + voxels)

    return make


def outside(folder: Path) -> None:
    raw(more="data file: ../secret.raw\n")(folder)
    (folder.parent / "secret.raw").write_bytes(SCAN.array.tobytes())


def content(name: str, data: bytes) -> Maker:
    return lambda folder: (folder / name).write_bytes(data) and None


def nifti(array: Array, affine: Array | None = AFFINE) -> Maker:
    return lambda folder: nib.save(nib.Nifti1Image(array, affine), folder / "ct.nii.gz")


def enormous(folder: Path) -> None:
    nifti(np.ascontiguousarray(SCAN.array.T))(folder)
    data = bytearray(gzip.decompress((folder / "ct.nii.gz").read_bytes()))
    data[42:48] = np.array([32767] * 3, np.int16).tobytes()
    (folder / "ct.nii.gz").write_bytes(gzip.compress(bytes(data)))


def two_forms(folder: Path) -> None:
    image = nib.Nifti1Image(np.ascontiguousarray(SCAN.array.T), AFFINE)
    moved = AFFINE.copy()
    moved[0, 3] = 5
    image.set_qform(moved, 1)
    image.set_sform(AFFINE, 1)
    nib.save(image, folder / "ct.nii.gz")


def no_forms(folder: Path) -> None:
    image = nib.Nifti1Image(np.ascontiguousarray(SCAN.array.T), None)
    image.header.set_zooms((8, 8, 10))
    nib.save(image, folder / "ct.nii.gz")


def colour(folder: Path) -> None:
    sitk.WriteImage(sitk.Image([8, 9, 7], sitk.sitkVectorUInt8, 3), str(folder / "ct.nrrd"))


def uid_of(place: Path) -> str:
    """Of the series in a folder `ct` of a case: its own, for one UID is one scan."""
    return f"1.2.3.{crc32(place.parent.name.encode())}"


def series(damage: Callable[[Path], object] = lambda folder: None, shift: float = 0.0) -> Maker:
    """Twelve DICOM slices, each with the patient's name in it."""

    def make(folder: Path) -> None:
        place = folder / "ct"
        place.mkdir()
        for number in range(12):
            y = 5 + shift * number
            write_slice(place / f"{number:02d}.dcm", number, uid_of(place), 2.5 * number, y)
        damage(place)

    return make


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def water(folder: Path) -> None:
    _, y, x = np.mgrid[:30, :36, :48] * 8.0
    disc = (y - 140) ** 2 + (x - 188) ** 2 < 110**2
    write(folder / "ct.nrrd", np.where(disc, 0, -1000).astype(np.int16))


def with_nan(value: float) -> Array:
    array = SCAN.array.astype(np.float32)
    array[3, 4, 5] = value
    return array


def sheared() -> Array:
    affine = AFFINE.copy()
    affine[0, 2] = 2.0
    affine[2, 2] = np.sqrt(96)
    return affine


def grid(origin_mm: tuple[float, float, float] = SMALL.origin_mm, thickness: float = 10.0,
         direction: tuple[float, ...] = SMALL.direction) -> Grid:  # fmt: skip
    return Grid(SMALL.size, (thickness, 8.0, 8.0), origin_mm, direction)


DOWN = (1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0)
