"""A trained network from Python: the command's masks, scans in memory, and no traces."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from support.dicom_phantom import write_ct
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

import lnq
from lnq import predict
from lnq.errors import CaseError, UsageError
from lnq.files import read_json
from lnq.volume import Volume, reorient, to_sitk
from lnq.volume_file import write_volume

KEEP_ALL = lnq.PostProcessing("none", hu_window=None, min_volume_mm3=0.0)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    return untrained_run(folder, (16, 32, 32), {"spacing_mm": [10.0, 8.0, 8.0]})


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "scan.nrrd"
    write_volume(reorient(chest_with_spine(), "RAI"), path)
    return path


def segmented(run: Path, scan: Path | sitk.Image, **options: Any) -> lnq.Segmentation:
    return lnq.Segmenter.load(run, "cpu", **options).segment(scan)


def pixels(image: sitk.Image) -> Any:
    return sitk.GetArrayFromImage(image)


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({}, []),
        (
            {"postprocess": KEEP_ALL, "overlap": 0.25, "mirror": True, "batch_size": 2,
             "disagreement": True},
            ["postprocess=none", "overlap=0.25", "mirror=true", "batch_size=2",
             "disagreement=true"],
        ),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_command_and_class_give_the_same(
    options: dict[str, Any], arguments: list[str], run: Path, scan: Path, tmp_path: Path
) -> None:
    with pytest.raises(SystemExit) as stop:
        predict.main([f"checkpoint={run}", f"input={scan.parent}", f"output={tmp_path / 'out'}",
                      "device=cpu", "save_probabilities=true", *arguments])  # fmt: skip
    assert stop.value.code == 0
    found = segmented(run, scan, **options)
    written = sitk.ReadImage(tmp_path / "out" / "scan.nrrd")
    assert np.array_equal(pixels(found.mask), pixels(written))
    probability = sitk.ReadImage(tmp_path / "out" / "probabilities" / "scan.nrrd")
    assert np.array_equal(pixels(found.probability), pixels(probability))
    table = pd.read_csv(tmp_path / "out" / "nodes.csv")
    assert len(table) > 1
    rows = pd.DataFrame([asdict(node) for node in found.nodes], columns=table.columns[2:])
    assert np.allclose(rows.astype(float), table[table.columns[2:]].astype(float), rtol=1e-5,
                       equal_nan=True)  # fmt: skip
    (case,) = read_json(tmp_path / "out" / "manifest.json")["cases"]
    assert case["notes"] == list(found.notes)


@pytest.mark.slow
def test_none_keeps_the_mask_as_the_network_gives_it(run: Path, scan: Path) -> None:
    found = segmented(run, scan, postprocess=None)
    assert np.array_equal(found.mask_volume.array, found.probability_volume.array > 0.5 + 1e-6)
    assert found.mask_volume.array.any()


@pytest.mark.slow
def test_an_image_is_segmented_as_its_file_and_answered_on_its_grid(run: Path, scan: Path) -> None:
    image = sitk.ReadImage(scan)
    of_file = segmented(run, str(scan), postprocess=None)
    of_image = segmented(run, image, postprocess=None)
    assert np.array_equal(of_file.mask_volume.array, of_image.mask_volume.array)
    assert (of_file.nodes, of_file.notes) == (of_image.nodes, of_image.notes)
    for made, kind in ((of_image.mask, sitk.sitkUInt8), (of_image.probability, sitk.sitkFloat32)):
        assert made.GetPixelID() == kind
        for name in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(made, name)() == getattr(image, name)()


def test_a_dicom_folder_is_a_scan(run: Path, tmp_path: Path) -> None:
    upright = chest_with_spine()
    write_ct(tmp_path / "ct", "case", upright.array, spacing=upright.grid.spacing_mm)
    assert segmented(run, tmp_path / "ct", postprocess=None).mask_volume.array.any()


@pytest.mark.slow
def test_doubts_about_an_image_are_notes(run: Path) -> None:
    wrong = chest_with_spine()
    wrong = Volume(wrong.array[:, ::-1], wrong.grid)  # front to back
    (note, *_) = segmented(run, to_sitk(wrong)).notes
    assert "SimpleITK.Image" in note
    assert "the header calls the front" in note


def no_scan(kind: str) -> sitk.Image:
    image = to_sitk(chest_with_spine())
    if kind == "flat":
        return image[:, :, 3]
    if kind == "one slice":
        return image[:, :, 3:4]
    if kind == "moving":
        return sitk.JoinSeries([image, image])
    if kind == "colour":
        return sitk.Compose([image, image])
    if kind == "complex":
        return sitk.Cast(image, sitk.sitkComplexFloat32)
    if kind == "metres":
        image.SetSpacing([s / 1000 for s in image.GetSpacing()])
    if kind == "sheared":
        image.SetDirection((1, 0.1, 0, 0, 1, 0, 0, 0, 1))
    if kind == "empty":
        return image * 0
    if kind == "not finite":
        return sitk.Cast(image, sitk.sitkFloat32) / 0.0
    return image


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("flat", "three axes"),
        ("one slice", "single slice"),
        ("moving", "three axes"),
        ("colour", "several channels"),
        ("complex", "no single numbers"),
        ("metres", "voxel size"),
        ("sheared", "sheared"),
        ("empty", "every voxel has the value 0"),
        ("not finite", "NaN or infinite"),
    ],
)
def test_what_is_no_scan_is_refused_in_memory_too(run: Path, kind: str, why: str) -> None:
    with pytest.raises(CaseError, match=rf"\[SimpleITK\.Image\].*{why}"):
        segmented(run, no_scan(kind))


@pytest.mark.slow
def test_a_fourth_axis_of_one_is_no_axis(run: Path, scan: Path) -> None:
    image = sitk.ReadImage(scan)
    plain, given = (
        segmented(run, one, postprocess=None) for one in (image, sitk.JoinSeries([image]))
    )
    assert given.mask.GetSize() == image.GetSize()
    assert np.array_equal(given.mask_volume.array, plain.mask_volume.array)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"overlap": 1.0}, "overlap=1.0: input should be less than 1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"device": "gpu"}, "no such device"),
        ({"device": "cuda:99"}, "no such GPU"),
    ],
)
def test_options_are_checked(options: dict[str, Any], why: str, run: Path) -> None:
    with pytest.raises(UsageError, match=why):
        lnq.Segmenter.load(run, **options)


def test_a_network_of_pre_training_is_refused_before_any_scan(tmp_path: Path) -> None:
    run = untrained_run(tmp_path, (16, 32, 32), {}, out_channels=1)
    with pytest.raises(UsageError, match=r"does not tell lymph nodes .* not one of pre-training"):
        lnq.Segmenter.load(run)


def test_files_that_are_not_there(run: Path) -> None:
    with pytest.raises(UsageError, match="no checkpoint"):
        lnq.Segmenter.load("/nowhere")
    with pytest.raises(CaseError, match=r"nowhere\.nrrd.*no such file"):
        segmented(run, Path("/nowhere.nrrd"))


@pytest.mark.slow
def test_nothing_is_printed_and_nothing_else_changes(
    run: Path, scan: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    torch.manual_seed(3)
    np.random.seed(3)
    states = torch.get_rng_state(), np.random.get_state()[1].copy()
    options = torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()
    segmented(run, scan)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])
    assert (torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()) == options
    assert capfd.readouterr() == ("", "")
    assert list(Path.cwd().iterdir()) == []


def imported_by(statement: str) -> set[str]:
    """Packages that a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return set(done.stdout.split())


@pytest.mark.process
def test_the_package_is_light_and_its_segmenter_free_of_hydra() -> None:
    assert not imported_by("import lnq; dir(lnq)") & {"torch", "SimpleITK", "numpy", "pydantic"}
    loaded = imported_by("from lnq import Segmenter")
    assert {"torch", "SimpleITK"} <= loaded
    assert not loaded & {"hydra", "omegaconf", "pytorch_lightning", "rich", "wandb"}


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Segmentor'"):
        lnq.Segmentor  # noqa: B018
    assert {"Segmenter", "Segmentation", "PostProcessing"} <= set(dir(lnq))
