"""The phantom: repeatable, in the challenge's layout, and a thorax with the nodes it claims."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from scipy.ndimage import binary_erosion
from support.faults import fill_disk_under
from support.folders import names

from lnq.data.datasets.layout_detection import detect
from lnq.data.phantom import (
    LargestNodes,
    PhantomCase,
    PhantomDataset,
    RandomNodes,
    VolumeShare,
    make_case,
    picture,
)
from lnq.data.phantom.canvas import Canvas
from lnq.data.phantom.scanner import EXTENT_MM, FIELD_OF_VIEW_MM, THICKNESS_MM, draw_acquisition
from lnq.data.phantom.shapes import Tube, ellipsoid, smooth_tube
from lnq.errors import RunError, UsageError
from lnq.files import write_json
from lnq.locks import held
from lnq.seeding import generator
from lnq.volume import Grid

SMALL = {"num_train": 2, "num_val": 1, "num_test": 1, "size_yx": 48}


def _digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("phantom")
    PhantomDataset(folder, VolumeShare(1 / 3), seed=3, **SMALL).write()
    return folder


@pytest.fixture(scope="module")
def case() -> PhantomCase:
    return make_case(1, "train", 1, VolumeShare(1 / 3), size_yx=128)


@pytest.mark.slow
def test_same_seed_gives_the_same_bytes(root: Path, tmp_path: Path) -> None:
    PhantomDataset(tmp_path, VolumeShare(1 / 3), seed=3, **SMALL).write()
    assert _digests(tmp_path) == _digests(root)


@pytest.mark.slow
def test_another_seed_another_split_another_number_differ() -> None:
    policy = RandomNodes(1)
    images = [
        make_case(seed, split, number, policy, size_yx=32).image
        for seed, split, number in (
            (0, "train", 1),
            (1, "train", 1),
            (0, "val", 1),
            (0, "train", 2),
        )
    ]
    grids = {image.grid for image in images}
    assert len(grids) == 4


@pytest.mark.slow
def test_a_case_does_not_depend_on_how_many_others_there_are(root: Path) -> None:
    alone = make_case(3, "train", 2, VolumeShare(1 / 3), size_yx=SMALL["size_yx"])
    written = _read(root / "train" / "phantom-train-0002-ct.nrrd")
    np.testing.assert_array_equal(written, alone.image.array)


@pytest.mark.slow
def test_the_policy_changes_labels_but_not_the_image() -> None:
    few = make_case(0, "train", 1, LargestNodes(1), size_yx=32)
    many = make_case(0, "train", 1, LargestNodes(4), size_yx=32)
    np.testing.assert_array_equal(few.image.array, many.image.array)
    assert few.annotated < many.annotated


def test_layout_is_the_challenges(root: Path) -> None:
    names = {
        *(f"train/phantom-train-000{n}-{kind}.nrrd" for n in (1, 2) for kind in ("ct", "seg")),
        *(f"complete/train/phantom-train-000{n}-seg.nrrd" for n in (1, 2)),
        "val/phantom-val-0001-ct.nrrd",
        "val/phantom-val-0001-seg.nrrd",
        "complete/val/phantom-val-0001-seg.nrrd",
        "test/phantom-test-0001-ct.nrrd",
        "complete/test/phantom-test-0001-seg.nrrd",
        "phantom.json",
        ".lock",
    }
    assert set(_digests(root)) == names


def test_labels_are_partial_in_train_and_complete_in_val(root: Path) -> None:
    record = json.loads((root / "phantom.json").read_text())["cases"]
    for name, split in (("phantom-train-0001", "train"), ("phantom-val-0001", "val")):
        label = _read(root / split / f"{name}-seg.nrrd")
        complete = _read(root / "complete" / split / f"{name}-seg.nrrd")
        chosen = [node["id"] for node in record[name]["nodes"] if node["annotated"]]
        assert set(np.unique(label)) == {0, 1}
        assert set(np.unique(complete)) == {0, *(node["id"] for node in record[name]["nodes"])}
        np.testing.assert_array_equal(label == 1, np.isin(complete, chosen))
        hidden = np.count_nonzero(complete) - np.count_nonzero(label)
        assert hidden > 0 if split == "train" else hidden == 0


def test_label_lies_on_the_scans_grid(root: Path) -> None:
    image = sitk.ReadImage(str(root / "train" / "phantom-train-0001-ct.nrrd"))
    label = sitk.ReadImage(str(root / "train" / "phantom-train-0001-seg.nrrd"))
    assert image.GetPixelID() == sitk.sitkInt16
    assert label.GetPixelID() == sitk.sitkUInt8
    for get in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(image, get)() == getattr(label, get)()


def test_recorded_nodes_are_where_the_labels_are(root: Path) -> None:
    record = json.loads((root / "phantom.json").read_text())["cases"]["phantom-test-0001"]
    labels = sitk.ReadImage(str(root / "complete" / "test" / "phantom-test-0001-seg.nrrd"))
    shapes = sitk.LabelShapeStatisticsImageFilter()
    shapes.Execute(labels)
    for node in record["nodes"]:
        assert shapes.GetPhysicalSize(node["id"]) == pytest.approx(node["volume_mm3"], abs=1e-2)
        assert shapes.GetCentroid(node["id"]) == pytest.approx(node["centroid_mm"], abs=1e-2)


def test_writing_again_does_nothing_and_other_settings_are_refused(root: Path) -> None:
    def never(cases: Iterable[Any]) -> Iterator[Any]:
        raise AssertionError("a finished dataset was written again")

    before = _digests(root)
    PhantomDataset(root, VolumeShare(1 / 3), seed=3, **SMALL).write(never)
    with pytest.raises(UsageError, match=r"seed is 3, not 4.*delete"):
        PhantomDataset(root, VolumeShare(1 / 3), seed=4, **SMALL).write()
    with pytest.raises(UsageError, match="policy"):
        PhantomDataset(root, VolumeShare(0.5), seed=3, **SMALL).write()
    assert _digests(root) == before


@pytest.mark.slow
def test_an_interrupted_dataset_is_finished_by_writing_again(root: Path, tmp_path: Path) -> None:
    def one_only(cases: Iterable[Any]) -> Iterator[Any]:
        yield next(iter(cases))
        raise KeyboardInterrupt

    dataset = PhantomDataset(tmp_path, VolumeShare(1 / 3), seed=3, **SMALL)
    with pytest.raises(KeyboardInterrupt):
        dataset.write(one_only)
    assert not (tmp_path / "phantom.json").exists()
    with pytest.raises(UsageError, match="num_train"):
        PhantomDataset(tmp_path, VolumeShare(1 / 3), seed=3, **{**SMALL, "num_train": 1}).write()
    dataset.write()
    assert _digests(tmp_path) == _digests(root)


@pytest.mark.parametrize("name", ["phantom-train-0001-ct.nrrd", "lnq2023-train-0001-ct.nrrd"])
def test_phantoms_are_not_written_among_other_scans(tmp_path: Path, name: str) -> None:
    scan = tmp_path / "train" / name
    scan.parent.mkdir()
    scan.write_bytes(b"a patient")
    with pytest.raises(UsageError, match="no phantoms"):
        PhantomDataset(tmp_path, LargestNodes(1), **SMALL).write()
    assert _digests(tmp_path) == {f"train/{name}": hashlib.sha256(b"a patient").hexdigest()}


def tiny(root: Path) -> PhantomDataset:
    return PhantomDataset(root, LargestNodes(1), num_train=1, num_val=0, num_test=0, size_yx=32)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train/phantom-train-0001-ct.nrrd", "phantom.json"])
def test_a_full_disk_leaves_no_half_phantom(tmp_path: Path, name: str) -> None:
    write_json(tmp_path / "phantom-unfinished.json", {"settings": tiny(tmp_path).settings()})
    fill_disk_under(tmp_path / name)
    with pytest.raises((RunError, OSError), match=Path(name).name):
        tiny(tmp_path).write()
    assert not (tmp_path / name).exists()
    assert not list(tmp_path.rglob("*.tmp.*"))
    tiny(tmp_path).write()
    assert (tmp_path / "phantom.json").exists()


def test_two_commands_do_not_write_one_phantom(tmp_path: Path) -> None:
    with held(tmp_path / ".lock"), pytest.raises(UsageError, match="another run is writing"):
        tiny(tmp_path).write()
    assert names(tmp_path) == [".lock"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"settings": 1}'])
def test_a_damaged_record_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "phantom.json").write_text(content)
    with pytest.raises(UsageError, match=r"damaged \[.*phantom.json\]\. Delete"):
        tiny(tmp_path).write()


def test_a_phantom_with_the_challenges_ids_is_told(tmp_path: Path) -> None:
    dataset = PhantomDataset(tmp_path, LargestNodes(1), **SMALL)
    old = {"settings": {**dataset.settings(), "version": 1}}
    (tmp_path / "phantom.json").write_text(json.dumps(old))
    with pytest.raises(UsageError, match=r"older lnq.*phantom-train-0001.*Delete"):
        dataset.write()
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "lnq2023-test-0001-ct.nrrd").touch()
    with pytest.raises(UsageError, match=r"older lnq.*phantom-train-0001"):
        detect(tmp_path)


@pytest.mark.slow
def test_nodes_have_the_size_and_number_claimed() -> None:
    for number in range(1, 5):
        nodes = make_case(0, "train", number, RandomNodes(1), size_yx=64).nodes
        assert 3 <= len(nodes) <= 14
        assert [node["id"] for node in nodes] == list(range(1, len(nodes) + 1))
        assert all(4.0 <= node["short_axis_mm"] <= 30.0 for node in nodes)


@pytest.mark.slow
def test_large_nodes_have_about_the_volume_of_their_ellipsoid(case: PhantomCase) -> None:
    by_axis = {round(node.short_axis_mm, 3): node.shape for node in case.thorax.nodes}
    large = [node for node in case.nodes if node["short_axis_mm"] > 8]
    assert large
    for node in large:
        solid = 4 / 3 * np.pi * np.prod(by_axis[node["short_axis_mm"]].semi_axes)
        assert 0.6 < node["volume_mm3"] / solid < 1.6


def test_nodes_are_as_dense_as_plain_vessels_and_never_in_the_lung(case: PhantomCase) -> None:
    measured = 0
    for node in case.nodes:
        mask = case.instances.array == node["id"]
        assert case.image.array[mask].mean() > -200
        core = binary_erosion(mask)
        if core.any():
            measured += 1
            assert abs(case.image.array[core].mean() - 46) < 40
    assert measured >= 2


def test_a_thorax_has_air_lungs_fat_soft_tissue_and_bone(case: PhantomCase) -> None:
    image = case.image.array
    litres = case.image.grid.voxel_volume_mm3 / 1e6
    lungs = np.count_nonzero((image > -930) & (image < -720)) * litres
    assert 2.0 < lungs < 7.0
    middle = image[image.shape[0] // 2]
    assert np.median(middle[:3]) < -950
    for low, high, share in ((-130, -70, 0.02), (20, 80, 0.03), (200, 900, 0.005)):
        assert np.mean((image > low) & (image < high)) > share


def test_scans_vary_within_the_limits() -> None:
    scans = [draw_acquisition(generator(0, n), 128) for n in range(60)]
    for scan in scans:
        grid = scan.grid
        assert THICKNESS_MM[0] <= grid.spacing_mm[0] <= THICKNESS_MM[1]
        assert FIELD_OF_VIEW_MM[0] - 1 <= grid.spacing_mm[1] * 128 <= FIELD_OF_VIEW_MM[1] + 1
        extent = grid.size[0] * grid.spacing_mm[0]
        assert EXTENT_MM[0] - 3 <= extent <= EXTENT_MM[1] + 3
        matrix = np.reshape(grid.direction, (3, 3))
        np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-9)
    matrices = [np.reshape(scan.grid.direction, (3, 3)) for scan in scans]
    assert any(np.array_equal(matrix, np.eye(3)) for matrix in matrices)
    assert any(matrix[2, 2] < -0.9 for matrix in matrices)
    assert any(matrix[0, 0] < -0.9 and matrix[1, 1] < -0.9 for matrix in matrices)
    assert any(0 < abs(matrix[0, 1]) < 0.2 for matrix in matrices)
    assert len({scan.grid.origin_mm for scan in scans}) == len(scans)


def test_distances_of_the_solids() -> None:
    tube = smooth_tube(np.array([[0, 0, -30], [0, 0, 30]]), np.array([4, 4]))
    ball = ellipsoid((1, 2, 3), (5, 5, 5))
    points = np.array([[10, 0, 0], [0, 0, 0], [0, 0, 40]], np.float32)
    np.testing.assert_allclose(tube.distance(points), [6, -4, 6], atol=1e-4)
    at = np.array([[1, 2, 13], [1, 2, 3.5]], np.float32)
    np.testing.assert_allclose(ball.distance(at), [5, -4.5], atol=1e-3)


@pytest.mark.slow
def test_an_overview_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["picture", str(tmp_path), "1"])
    picture.main()
    with Image.open(tmp_path / "phantom_1.png") as drawn:
        pixels = np.asarray(drawn.convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert (green - np.maximum(red, blue)).max() > 100  # outlined nodes
    assert (red - np.maximum(green, blue)).max() > 100  # the others


def test_a_tube_is_drawn_on_every_grid() -> None:
    """Also where, by rounding, the box of a piece begins before that of the whole tube."""
    points = np.array([[3.1, 1.8, 2.2], [5.5, 1.3, 5.3], [4.1, 2.8, 3.2]], np.float32)
    tube = Tube(points, np.ones(3, np.float32))
    for shift in np.arange(-30, 10) / 10:
        canvas = Canvas(Grid((6, 6, 6), (2.5, 1.1, 0.7), (shift, -2.9, shift)), (0, 0, 0))
        found = canvas.distance(tube, margin_mm=1.0)
        assert found is not None
        box, distance = found
        exact = tube.distance(np.moveaxis(canvas.xyz[(slice(None), *box)], 0, -1))
        assert distance[exact < 1] == pytest.approx(exact[exact < 1], abs=1e-4)
