"""The same anatomy gives the same mask in the world, however its scan is stored, cut or padded."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
import pytest
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation
from torch import Tensor
from torch.nn import functional

from lnq.data.preparation.preprocessing import CT_MEAN, CT_SD, Preprocessing
from lnq.data.readers import read_image
from lnq.inference.found_nodes import found_nodes
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Predictor
from lnq.inference.sliding_window import Logits, SlidingWindow
from lnq.volume import Array, Grid, Volume, resample
from lnq.volume_file import write_volume

STRAIGHT = np.eye(3)
OBLIQUE = Rotation.from_euler("zx", (14, 12), degrees=True).as_matrix()
NODES = (((12.0, -8.0, 6.0), 14.0), ((-20.0, 15.0, -25.0), 18.0))
NODE_HU, TISSUE_HU = 120, 40


def thorax(grid: Grid) -> Volume:
    """A body with lungs and two nodes around the world's origin, seen from a grid."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.size), indexing="ij"), axis=-1)
    world = grid.to_world(index)

    def inside(centre: tuple[float, ...], radii: tuple[float, ...]) -> Array:
        return np.asarray((((world - centre) / radii) ** 2).sum(axis=-1) <= 1)

    hu = np.full(grid.size, -1000, np.int16)
    hu[inside((0, 0, 0), (165, 96, 1e4))] = TISSUE_HU
    for side in (-75, 75):
        hu[inside((side, 0, 0), (50, 60, 90))] = -850
    for centre, radius in NODES:
        hu[inside(centre, (radius,) * 3)] = NODE_HU
    return Volume(hu, grid)


def centred(
    direction: Array,
    size: tuple[int, int, int] = (42, 48, 62),
    spacing: tuple[float, float, float] = (6.7, 5.9, 6.1),
) -> Grid:
    """A grid whose middle is the world's origin."""
    middle = (np.asarray(size[::-1]) - 1) / 2 * spacing[::-1]
    origin = -direction @ middle
    return Grid(
        size, spacing, (float(origin[0]), float(origin[1]), float(origin[2])),
        tuple(float(v) for v in direction.ravel()),
    )  # fmt: skip


def bright(mean: float = CT_MEAN, sd: float = CT_SD) -> Logits:
    """Logits of what is brighter than half-way between tissue and node.

    Args:
        mean, sd: Of the normalisation, HU; those of `ct` unless given.
    """
    threshold = (NODE_HU + TISSUE_HU) / 2

    def logits(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), (x * sd + mean - threshold) / 4], dim=1)

    return logits


def sided(mean: float = CT_MEAN, sd: float = CT_SD) -> Logits:
    """The same of a neighbourhood that is not symmetric: sees which way the axes run."""
    kernel = torch.zeros(1, 1, 3, 3, 3)
    for place, weight in (((1, 1, 1), 0.4), ((1, 1, 2), 0.3), ((1, 0, 1), 0.2), ((2, 1, 1), 0.1)):
        kernel[0, 0, *place] = weight
    of_voxel = bright(mean, sd)

    def logits(x: Tensor) -> Tensor:
        return of_voxel(functional.conv3d(functional.pad(x, (1,) * 6, mode="replicate"), kernel))

    return logits


def settings(normalisation: Literal["zscore", "ct"] = "ct") -> Preprocessing:
    return Preprocessing(spacing_mm=(4.0, 3.0, 3.0), normalisation=normalisation)


def predictor(logits: Logits, preprocessing: Preprocessing | None = None) -> Predictor:
    windows = SlidingWindow((32, 64, 64))
    return Predictor(
        [lambda x: (logits(x),)], preprocessing or settings(), windows, PostProcessing()
    )


def in_order(volume: Volume, order: tuple[int, ...], flips: tuple[bool, ...]) -> Volume:
    """The volume with its axes stored in another order, some of them backwards."""
    start = [n - 1 if flip else 0 for n, flip in zip(volume.grid.size, flips, strict=True)]
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    signs = np.where(flips, -1.0, 1.0)
    of_axes = np.reshape(volume.grid.direction, (3, 3))[:, ::-1] * signs  # columns z, y, x
    x, y, z = (float(v) for v in volume.grid.to_world(np.asarray(start)))
    grid = Grid(
        tuple(volume.grid.size[a] for a in order),
        tuple(volume.grid.spacing_mm[a] for a in order),
        (x, y, z),
        tuple(float(v) for v in of_axes[:, list(order)][:, ::-1].ravel()),
    )
    return Volume(np.ascontiguousarray(volume.array[step].transpose(order)), grid)


def restored(mask: Array, order: tuple[int, ...], flips: tuple[bool, ...]) -> Array:
    """The inverse of `in_order`, for an array."""
    step = tuple(slice(None, None, -1 if flip else 1) for flip in flips)
    return mask.transpose(np.argsort(order))[step]


def dice(a: Array, b: Array) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


@pytest.mark.slow
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("normalisation", ["zscore", "ct"])
def test_all_48_orders_of_the_axes_give_exactly_one_mask(
    normalisation: Literal["zscore", "ct"], direction: Array, order: tuple[int, ...]
) -> None:
    scan = thorax(centred(direction))
    preprocessing = settings(normalisation)
    prepared = preprocessing.apply(scan)
    seen = predictor(sided(prepared.mean, prepared.sd), preprocessing)
    found = seen.predict(scan)
    assert len(found_nodes(found, scan)) == 2
    for flips in itertools.product((False, True), repeat=3):
        turned = in_order(scan, order, flips)
        corner = turned.grid.to_world(np.zeros(3))
        assert np.abs(scan.grid.to_index(corner)).max() < 100  # the same place in the world
        mask = seen.predict(turned).mask
        assert mask.grid == turned.grid
        assert np.array_equal(restored(mask.array, order, flips), found.mask.array)


@pytest.mark.slow
def test_an_oblique_scan_of_the_same_anatomy() -> None:
    # Scans with voxels elsewhere see edges up to half a voxel elsewhere: for balls of 14 and 18 mm
    # radius and voxels of 4 mm, drawn hard, two exact rasters of them agree to 0.92.
    size, spacing = (64, 70, 90), (4.1, 4.0, 4.2)
    straight, oblique = (thorax(centred(d, size, spacing)) for d in (STRAIGHT, OBLIQUE))
    masks = [predictor(bright()).predict(scan).mask for scan in (straight, oblique)]
    turned = resample(masks[1], straight.grid, "nearest")
    expected = resample(
        Volume((oblique.array == NODE_HU).astype(np.uint8), oblique.grid), straight.grid, "nearest"
    )
    limit = dice(expected.array > 0, straight.array == NODE_HU)
    assert limit > 0.9
    assert dice(turned.array > 0, masks[0].array > 0) >= limit - 0.02
    for one, other in zip(
        *(found_nodes(predictor(bright()).predict(s), s) for s in (straight, oblique)), strict=True
    ):
        apart = [
            getattr(one, f"centroid_{axis}_mm") - getattr(other, f"centroid_{axis}_mm")
            for axis in "xyz"
        ]
        assert np.linalg.norm(apart) < 1.0  # 0.56 mm were seen; half a voxel lost would be 2


@pytest.mark.parametrize("direction", [STRAIGHT, OBLIQUE], ids=["straight", "oblique"])
def test_cropped_twice_and_padded_the_mask_stays_in_its_place(direction: Array) -> None:
    # The crop's working grid begins elsewhere between the voxels: only edges may differ.
    scan = thorax(centred(direction))
    whole = predictor(bright()).predict(scan).mask
    first, second = (3, 4, 5), (1, 2, 3)
    part = scan.grid.crop(first, scan.grid.size).crop(
        second, [n - a for n, a in zip(scan.grid.size, first, strict=True)]
    )
    total = tuple(a + b for a, b in zip(first, second, strict=True))
    voxels = scan.array[tuple(slice(a, None) for a in total)]
    cropped = predictor(bright()).predict(Volume(voxels, part)).mask
    assert cropped.grid.difference(scan.grid.crop(total, scan.grid.size), 1e-6) is None
    assert dice(cropped.array > 0, whole.array[tuple(slice(a, None) for a in total)] > 0) >= 0.97
    width = 4
    padded = Volume(
        np.pad(scan.array, width, constant_values=-3024),
        scan.grid.crop((-width,) * 3, [n + width for n in scan.grid.size]),
    )
    inner = (slice(width, -width),) * 3
    mask = predictor(bright()).predict(padded).mask
    assert dice(mask.array[inner] > 0, whole.array > 0) >= 0.97
    assert mask.array.sum() == mask.array[inner].sum()


def test_no_offset_is_lost_between_two_crops() -> None:
    # The original forgets the origin of its first crop. Here a user crops, then the lung crop
    # does: a marked voxel is found where it is, and not where forgetting would put it.
    scan = thorax(centred(OBLIQUE))
    start = (4, 5, 6)
    part = Volume(
        scan.array[tuple(slice(a, None) for a in start)], scan.grid.crop(start, scan.grid.size)
    )
    prepared = Preprocessing(spacing_mm=scan.grid.spacing_mm, normalisation="ct").apply(part)
    inner = np.round(part.grid.to_index(np.asarray(prepared.crop.origin_mm))).astype(int)
    assert (inner > 0).any()
    right = scan.grid.to_world(np.asarray(start) + inner)
    assert np.abs(right - prepared.crop.origin_mm).max() < 1e-6
    forgetful = scan.grid.to_world(inner)
    assert np.linalg.norm(forgetful - prepared.crop.origin_mm) > 40
    node = np.argwhere(prepared.volume.array > 1.5)
    centre = prepared.volume.grid.to_world(node.mean(axis=0))
    (first, r1), (second, r2) = NODES
    expected = np.average([first, second], axis=0, weights=[r1**3, r2**3])
    assert np.linalg.norm(centre - expected) < 1.5


def write_dicom(scan: Volume, folder: Path) -> None:
    """One file a slice, named so that names run against positions."""
    folder.mkdir()
    columns = np.reshape(scan.grid.direction, (3, 3))
    series, study = generate_uid(), generate_uid()
    for number, voxels in enumerate(scan.array):
        data = FileDataset("", {}, preamble=bytes(128))
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        data.SeriesInstanceUID, data.StudyInstanceUID, data.Modality = series, study, "CT"
        data.InstanceNumber, data.SamplesPerPixel = number, 1
        data.Rows, data.Columns = voxels.shape
        data.PhotometricInterpretation, data.PixelRepresentation = "MONOCHROME2", 1
        data.BitsAllocated, data.BitsStored, data.HighBit = 16, 16, 15
        data.ImagePositionPatient = [
            f"{v:.9g}" for v in scan.grid.to_world(np.array([number, 0, 0]))
        ]
        data.ImageOrientationPatient = [f"{v:.9g}" for v in columns[:, :2].T.ravel()]
        data.PixelSpacing = [scan.grid.spacing_mm[1], scan.grid.spacing_mm[2]]
        data.SliceThickness = scan.grid.spacing_mm[0]
        data.RescaleSlope, data.RescaleIntercept = 1, -1024
        data.PixelData = (voxels + 1024).astype(np.int16).tobytes()
        pydicom.dcmwrite(folder / f"{999 - number}.dcm", data, enforce_file_format=True)


@pytest.mark.parametrize("form", ["nrrd", "nii", "nii.gz", "mha", "dicom"])
@pytest.mark.slow
def test_every_format_gives_the_same_mask(form: str, tmp_path: Path) -> None:
    scan = thorax(centred(OBLIQUE))
    path = tmp_path / ("scan" if form == "dicom" else f"scan.{form}")
    if form == "dicom":
        write_dicom(scan, path)
    else:
        write_volume(scan, path)
    read = read_image(path)
    # Headers round: a 32-bit float, a decimal of DICOM.
    assert read.grid.difference(scan.grid, 1e-3) is None
    found, expected = (predictor(sided()).predict(v).mask.array for v in (read, scan))
    assert expected.any()
    assert np.array_equal(found, expected)
