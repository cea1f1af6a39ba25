"""Sliding window, post-processing, masks: from a network's logits to files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from support.faults import OUT_OF_MEMORY
from support.synthetic_chest import GRID, chest, chest_with_spine, ellipsoid
from torch import Tensor

from lnq import volume_file
from lnq.acceleration import arithmetic, choose_device
from lnq.box import Box
from lnq.data.case import Case
from lnq.data.chest import lungs
from lnq.data.preparation.inspection import inspect_case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.readers import find_scans, read_label
from lnq.errors import CaseError, RunError, UsageError
from lnq.inference.mask_files import Job, plan, write_masks
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import Predictor, above
from lnq.inference.segmenter import LoadedCheckpoint, Segmenter
from lnq.inference.sliding_window import Logits, SlidingWindow
from lnq.inference.sliding_window import foreground_probability as by_branch
from lnq.networks import VNet
from lnq.volume import Array, Grid, Volume, from_sitk, reorient
from lnq.volume_file import write_volume

CPU = torch.device("cpu")
Size = tuple[int, int, int]


def pointwise(x: Tensor) -> Tensor:
    """A network that sees one voxel at a time: windows must not show in its output."""
    return torch.cat([0.5 * x + 0.3, 2 * x - 1], dim=1)


def foreground_probability(
    main_logits: Logits, image: Array, patch_size: Size, batch_size: int = 1, **options: Any
) -> Array:
    """Of a network of one branch."""
    windows = SlidingWindow(patch_size, batch_size=batch_size)
    (found,) = by_branch(lambda x: [main_logits(x)], image, windows, **options)
    return found


def noise(*size: int) -> Array:
    return np.random.default_rng(0).normal(0, 1, size).astype(np.float32)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("size", [(20, 33, 41), (4, 40, 9), (3, 3, 3)])
def test_windows_do_not_show(size: tuple[int, int, int], mirror: bool) -> None:
    image = noise(*size)
    found = foreground_probability(pointwise, image, (8, 16, 16), device=CPU, mirror=mirror)
    expected = torch.softmax(pointwise(torch.from_numpy(image)[None, None]), dim=1)[0, 1]
    assert (found.dtype, found.shape) == (np.float32, size)
    assert np.abs(found - expected.numpy()).max() < 1e-5


def test_windows_overlap_by_half_and_the_middle_of_one_counts_most() -> None:
    """Windows of 4 along x begin at 0, 2 and 4; the network tells the first voxel of each."""

    def first_voxel(x: Tensor) -> Tensor:
        told = x[..., :1].expand_as(x)
        return torch.cat([torch.zeros_like(told), told], dim=1)

    image = np.array([0, 9, 1, 9, -2, 9, 9, 9], np.float32).reshape(1, 1, 8)
    found = foreground_probability(first_voxel, image, (1, 1, 4), device=CPU)
    # exp(-d²/2σ²) with σ = 4/8, 0.5 and 1.5 from the middles: e^-0.5 to e^-4.5, shares of e^±4
    most, least = 1 / (1 + np.exp(-4)), 1 / (1 + np.exp(4))
    logits = [0, 0, least, most, most - 2 * least, least - 2 * most, -2, -2]
    assert found.ravel() == pytest.approx(1 / (1 + np.exp(-np.array(logits))), abs=1e-6)


def test_mirroring_averages_over_all_flips() -> None:
    weights = torch.from_numpy(noise(8, 8, 8))

    def sided(x: Tensor) -> Tensor:
        return torch.cat([torch.zeros_like(x), x * weights], dim=1)

    image = noise(8, 8, 8)
    found = foreground_probability(sided, image, (8, 8, 8), device=CPU, mirror=True)
    flips = [np.flip(weights.numpy(), axes) for axes in
             [(), (0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2)]]  # fmt: skip
    expected = 1 / (1 + np.exp(-image * np.mean(flips, axis=0)))
    assert np.abs(found - expected).max() < 1e-5


def test_small_volume_is_padded_with_air() -> None:
    seen = []

    def spy(x: Tensor) -> Tensor:
        seen.append(x)
        return pointwise(x)

    foreground_probability(spy, noise(4, 4, 4) + 5, (8, 8, 8), device=CPU)
    (window,) = seen
    assert window.shape == (1, 1, 8, 8, 8)
    assert (
        float(window.min())
        == float(window[0, 0, 0, 0, 0])
        == pytest.approx(noise(4, 4, 4).min() + 5)
    )


def test_what_is_not_finite_is_refused() -> None:
    image = noise(8, 8, 8)
    with pytest.raises(CaseError, match="logits are not finite"):
        foreground_probability(lambda x: pointwise(x) / 0, image, (8, 8, 8), device=CPU)
    image[0, 0, 0] = np.nan
    with pytest.raises(CaseError, match="NaN"):
        foreground_probability(pointwise, image, (8, 8, 8), device=CPU)


def test_network_of_pre_training_is_refused() -> None:
    with pytest.raises(UsageError, match="pre-training"):
        foreground_probability(lambda x: x, noise(8, 8, 8), (8, 8, 8), device=CPU)


def test_too_little_memory_takes_fewer_windows() -> None:
    sizes = []

    def hungry(x: Tensor) -> Tensor:
        sizes.append(len(x))
        if len(x) > limit:
            raise torch.OutOfMemoryError
        return pointwise(x)

    limit = 2
    image = noise(32, 16, 16)
    found = foreground_probability(hungry, image, (8, 16, 16), device=CPU, batch_size=4)
    assert sizes[0] == 4
    assert max(sizes[1:]) == 2
    assert np.isfinite(found).all()
    limit = 0
    with pytest.raises(CaseError, match="not enough memory"):
        foreground_probability(hungry, image, (8, 16, 16), device=CPU, batch_size=4)


NOTHING = {"border": "none", "hu_window": None, "min_volume_mm3": 0.0}


def predictor(post_processing: PostProcessing | None = None) -> Predictor:
    """Calls everything above -25 HU foreground; the chest's only such tissue is its body."""
    settings = Preprocessing(spacing_mm=GRID.spacing_mm, normalisation="ct")
    chosen = PostProcessing(**NOTHING) if post_processing is None else post_processing

    def bright(x: Tensor) -> tuple[Tensor]:
        return (torch.cat([torch.zeros_like(x), 20 * (x + 2.4)], dim=1),)

    return Predictor([bright], settings, SlidingWindow((16, 32, 32)), chosen)


def segmenter() -> Segmenter:
    return Segmenter(predictor(), [LoadedCheckpoint(Path("last.ckpt"), "its hash")])


def oblique(volume: Volume, orientation: str) -> Volume:
    turn = sitk.Euler3DTransform((0.0, 0.0, 0.0), 0.1, -0.15, 0.2).GetMatrix()
    grid = Grid(volume.grid.size, volume.grid.spacing_mm, (7.0, 8.0, 9.0), turn)
    return reorient(Volume(volume.array, grid), orientation)


@pytest.mark.parametrize("orientation", ["LPS", "RAI", "ASL"])
@pytest.mark.slow
def test_mask_lies_where_the_tissue_is(orientation: str) -> None:
    scan = oblique(chest(), orientation)
    found = predictor().predict(scan)
    assert found.mask.grid is scan.grid
    assert found.mask.array.dtype == np.uint8
    box = Box.covering(predictor().preprocessing.apply(scan).crop, scan.grid)
    expected = np.zeros(scan.grid.size, bool)
    expected[box.slices] = scan.array[box.slices] > -25
    assert expected.any()
    assert np.array_equal(found.mask.array > 0, expected)
    assert found.probability.array[box.slices].max() > 0.99
    assert found.notes == ()


def test_post_processing_sees_the_scan() -> None:
    found = predictor(PostProcessing(hu_window=(-20.0, 39.0))).predict(chest())
    assert not found.mask.array.any()
    assert found.probability.array.max() > 0.99


def test_scan_without_lungs_is_segmented_and_noted() -> None:
    body = ellipsoid(GRID, (0, 0, 0), (120, 96, 150))
    found = predictor().predict(Volume(np.where(body, 30, -1000).astype(np.int16), GRID))
    assert "no lungs" in found.notes[0]
    assert np.array_equal(found.mask.array > 0, body)


def test_devices() -> None:
    assert choose_device("cpu") == CPU
    assert choose_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(UsageError, match="no such GPU"):
        choose_device("cuda:99")
    with pytest.raises(UsageError, match=r"no such device .*device=gpu"):
        choose_device("gpu")


def test_mask_names(tmp_path: Path) -> None:
    for name in ("a.nrrd", "b.nii.gz", "c.mhd", "deep/er/d.nii", "one/x.nrrd", "two/x.nrrd"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).touch()
    source, output = tmp_path / "in", tmp_path / "out"
    jobs = plan(find_scans(source), source, output, None)
    assert {job.mask_name for job in jobs} == {
        "a.nrrd", "b.nii.gz", "c.mha", "d.nii", "one_x.nrrd", "two_x.nrrd",
    }  # fmt: skip
    jobs = plan(find_scans(source), source, output, "mha")
    assert all(job.mask_name == f"{job.name}.mha" for job in jobs)
    (source / "a.mha").touch()
    with pytest.raises(UsageError, match="same name"):
        plan(find_scans(source), source, output, None)
    for inside in (source, source / "masks"):
        with pytest.raises(UsageError, match="lies in the input"):
            plan([source / "a.nrrd"], source, inside, None)
    with pytest.raises(UsageError, match="lies in the input"):
        plan([source / "a.nrrd"], source / "a.nrrd", source, None)


@pytest.mark.parametrize("suffix", [".nrrd", ".nii.gz", ".nii", ".mha"])
@pytest.mark.slow
def test_written_geometry_is_the_scans(suffix: str, tmp_path: Path) -> None:
    scan = oblique(chest(), "RAI")
    write_volume(scan, tmp_path / "in" / f"s{suffix}")
    job = Job("s", tmp_path / "in" / f"s{suffix}", f"s{suffix}")
    write_masks(segmenter().segment(job.image), job, tmp_path / "out", save_probabilities=True)
    given, mask = sitk.ReadImage(job.image), sitk.ReadImage(tmp_path / "out" / f"s{suffix}")
    assert mask.GetPixelID() == sitk.sitkUInt8
    for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        # NRRD stores spacing and direction as one product: the last bit may differ.
        assert getattr(mask, name)() == pytest.approx(getattr(given, name)(), rel=1e-12, abs=1e-12)
    assert sitk.GetArrayFromImage(mask).any()
    probability = from_sitk(sitk.ReadImage(tmp_path / "out" / "probabilities" / f"s{suffix}"))
    assert probability.array.dtype == np.float32
    assert np.array_equal(probability.array > 0.5, sitk.GetArrayFromImage(mask) > 0)


def test_axes_not_quite_at_right_angles(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """NRRD holds them; NIfTI straightens them, which is told where it would move voxels."""
    array = np.zeros((4, 30, 40), np.uint8)
    for off, suffix, told in ((3e-4, ".nii.gz", False), (9e-4, ".nii.gz", True),
                              (9e-4, ".nrrd", False)):  # fmt: skip
        grid = Grid(array.shape, (3.0, 0.8, 0.8), direction=(1, off, 0, 0, 1, 0, 0, 0, 1))
        path = tmp_path / f"m{off}{suffix}"
        if told:
            with pytest.raises(CaseError, match=r"right angles .*Choose output_format=nrrd"):
                write_volume(Volume(array, grid), path)
        else:
            write_volume(Volume(array, grid), path)
            assert read_label(path).grid.difference(grid) is None
        assert path.exists() is not told
    assert "WARNING" not in capfd.readouterr().err


def test_doubts_about_a_scan_are_told_and_it_is_segmented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = chest_with_spine()
    wrong = Volume(wrong.array[:, ::-1], wrong.grid)  # front to back
    write_volume(wrong, tmp_path / "s.nrrd")
    looked = []
    search = lungs.find_body
    monkeypatch.setattr(lungs, "find_body", lambda given: looked.append(1) or search(given))
    found = segmenter().segment(tmp_path / "s.nrrd")
    assert looked == [1]
    (case,) = [inspect_case(Case("s", tmp_path / "s.nrrd", None, "test", "none", "s"))]
    assert found.notes == tuple(str(problem) for problem in case.problems)
    assert "the header calls the front" in found.notes[0]


def test_file_that_reads_back_differently_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = sitk.WriteImage

    def full_disk(image: sitk.Image, path: Path, **options: bool) -> None:
        write(image, path, **options)
        path.write_bytes(path.read_bytes()[:-200])

    monkeypatch.setattr(volume_file.sitk, "WriteImage", full_disk)
    for suffix in (".nrrd", ".nii.gz", ".nii"):
        with pytest.raises(RunError, match="cannot write an image"):
            write_volume(chest(), tmp_path / f"m{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_bad_scan_is_named(tmp_path: Path) -> None:
    scan = tmp_path / "s.nrrd"
    write_volume(chest(), scan)
    broken = segmenter()
    broken.predictor.networks = [lambda x: (pointwise(x) / 0,)]
    with pytest.raises(CaseError, match=r"not finite \[.*s\.nrrd\]"):
        broken.segment(scan)


@pytest.mark.parametrize("error", OUT_OF_MEMORY)
@pytest.mark.slow
def test_too_little_memory_is_the_scans_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hungry(*_: object) -> None:
        raise error

    monkeypatch.setattr(Predictor, "predict", hungry)
    write_volume(chest(), tmp_path / "s.nrrd")
    with pytest.raises(CaseError, match=r"not enough memory.*s\.nrrd"):
        segmenter().segment(tmp_path / "s.nrrd")


@pytest.mark.slow
def test_half_precision_changes_masks_at_the_threshold_alone() -> None:
    torch.manual_seed(0)
    network = VNet(widths=(4, 8), dropouts=(0.0,)).eval()
    image = noise(24, 40, 40)
    found = []
    for precision in (32, "bf16-mixed"):
        with torch.inference_mode(), arithmetic(CPU, precision):
            windows = SlidingWindow((16, 32, 32))
            (probability,) = by_branch(
                lambda x: (network.main_logits(x),), image, windows, device=CPU
            )
        found.append(probability)
    full, half = found
    assert not np.array_equal(full, half)  # it is what was asked for
    differ = above(full, 0.5) != above(half, 0.5)
    assert 0.2 < above(full, 0.5).mean() < 0.8
    assert np.abs(full[differ] - 0.5).max() < 0.03
    assert differ.mean() < 0.005
