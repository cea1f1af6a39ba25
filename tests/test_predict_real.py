"""The commands preprocess and predict, as a user calls them, on real scans."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from support.synthetic_chest import chest
from support.untrained import untrained_run

from lnq import predict, preprocess
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.case_store import CaseStore
from lnq.volume_file import write_volume

SETTINGS = Preprocessing(spacing_mm=(6.0, 3.0, 3.0))


@dataclass
class Done:
    """What a command left: exit code, both streams."""

    returncode: int
    stdout: str
    stderr: str


def called(
    main: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str], *arguments: str
) -> Done:
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert isinstance(stop.value.code, int)
    return Done(stop.value.code, *capsys.readouterr())


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small windows on a busy machine: threads that wait for each other took 20 times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("run"), (16, 64, 64), SETTINGS.as_dict())


@pytest.mark.slow
def test_masks_of_real_scans(
    run_folder: Path, real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "scans"
    source.mkdir()
    shutil.copy(real_data / "slicerio" / "CTChest4.nrrd", source / "chest.nrrd")
    shutil.copy(real_data / "4d-lung-P113" / "ct_bin3x3x1.nii.gz", source)
    whole = (real_data / "chestimagingplatform" / "ct-64.nrrd").read_bytes()
    (source / "cut.nrrd").write_bytes(whole[: len(whole) // 2])
    done = called(predict.main, capsys, f"checkpoint={run_folder}", f"input={source}", "device=cpu",
               "postprocess=none", "disagreement=true")  # fmt: skip
    assert done.returncode == 3, done.stderr
    output = run_folder / "predictions"
    manifest = json.loads((output / "manifest.json").read_text())
    assert {(c["case"], c["image"], c["mask"]) for c in manifest["cases"]} == {
        ("chest", str(source / "chest.nrrd"), "chest.nrrd"),
        ("ct_bin3x3x1", str(source / "ct_bin3x3x1.nii.gz"), "ct_bin3x3x1.nii.gz"),
    }
    (checkpoint,) = manifest["checkpoints"]
    assert len(checkpoint["sha256"]) == 64
    (failure,) = json.loads((output / "failures.json").read_text())
    assert failure["case"] == "cut"
    assert "cut.nrrd" in failure["where"]
    assert {p.name for p in output.iterdir() if not p.name.startswith(".")} == {
        "chest.nrrd", "ct_bin3x3x1.nii.gz", "manifest.json", "failures.json", "nodes.csv",
        "previews",
    }  # fmt: skip
    nodes = pd.read_csv(output / "nodes.csv")
    assert f"2 of 3 scans segmented, {len(nodes)} nodes" in done.stdout
    assert set(nodes["case"]) == {"chest", "ct_bin3x3x1"}
    assert nodes["mean_probability"].between(0.5, 1).all()
    assert nodes["disagreement"].between(0.001, 1).any()
    for case in manifest["cases"]:
        scan, mask = sitk.ReadImage(case["image"]), sitk.ReadImage(output / case["mask"])
        assert mask.GetPixelID() == sitk.sitkUInt8
        assert mask.GetSize() == scan.GetSize()
        for name in ("GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, name)() == pytest.approx(getattr(scan, name)(), abs=1e-6)
        voxels = sitk.GetArrayFromImage(mask)
        assert set(np.unique(voxels)) == {0, 1}
        of_case = nodes[nodes["case"] == case["case"]]
        volume = np.count_nonzero(voxels) * np.prod(scan.GetSpacing())
        assert of_case["volume_mm3"].sum() == pytest.approx(volume, rel=1e-4)
        # Nothing outside the crop: the first slices and the table lie there.
        assert not voxels[0].any()


def test_disagreement_needs_two_decoders(
    run_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_volume(chest(), tmp_path / "in" / "s.nrrd")
    contents = torch.load(run_folder / "checkpoints" / "last.ckpt", weights_only=True)
    contents["lnq"]["config"]["network"]["_target_"] = "lnq.networks.VNet"
    weights = contents["state_dict"]
    contents["state_dict"] = {k: v for k, v in weights.items() if ".aux_decoder." not in k}
    torch.save(contents, tmp_path / "single.ckpt")
    given = (f"checkpoint={tmp_path / 'single.ckpt'}", f"input={tmp_path / 'in'}",
             f"output={tmp_path / 'out'}", "device=cpu", "disagreement=true")  # fmt: skip
    done = called(predict.main, capsys, *given)
    assert done.returncode == 2
    assert "two decoders" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("checkpoint=/nowhere", "no checkpoint"),
        ("input=/nowhere", "no such file"),
        ("overlap=1.5", "overlap"),
        ("device=cuda:99", "no such GPU"),
        ("device=gpu", "device"),
        ("output=/proc/lnq", "cannot write"),
        ("postprocess.min_volume_mm3=-1", "min_volume_mm3"),
        ("output_format=png", "output_format"),
    ],
)
@pytest.mark.slow
def test_mistakes_are_refused_before_any_work(
    argument: str,
    said: str,
    run_folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_volume(chest(), tmp_path / "in" / "s.nrrd")
    given = {
        "checkpoint": run_folder, "input": tmp_path / "in" / "s.nrrd", "output": tmp_path / "out"
    }  # fmt: skip
    given = {k: v for k, v in given.items() if k != argument.partition("=")[0]}
    done = called(predict.main, capsys, *(f"{k}={v}" for k, v in given.items()), argument)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_preprocess_command(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = tmp_path / "data" / "train"
    train.mkdir(parents=True)
    folder = real_data / "4d-lung-P113"
    shutil.copy(folder / "ct_mediastinumcrop_native.nrrd", train / "lnq2023-train-0001-ct.nrrd")
    label = sitk.ReadImage(folder / "ln_mediastinumcrop_native.nrrd")
    sitk.WriteImage(label > 0, train / "lnq2023-train-0001-seg.nrrd", useCompression=True)
    sitk.WriteImage(label * 0, train / "lnq2023-train-0002-seg.nrrd", useCompression=True)
    shutil.copy(folder / "ct_mediastinumcrop_native.nrrd", train / "lnq2023-train-0002-ct.nrrd")
    (train / "lnq2023-train-0003-ct.nrrd").write_bytes(b"NRRD0004\n")
    sitk.WriteImage(label * 0, train / "lnq2023-train-0003-seg.nrrd", useCompression=True)
    arguments = ("data=lnq2023", f"data.root={tmp_path / 'data'}",
                 f"paths.outputs={tmp_path / 'out'}", "num_workers=0")  # fmt: skip
    done = called(preprocess.main, capsys, *arguments)
    assert done.returncode == 3, done.stderr
    assert "2 built, 1 failed, 1 with an empty label" in done.stdout
    root = tmp_path / "out" / "preprocess" / "lnq2023"
    store = CaseStore(root)
    assert store.case_ids(split="train", supervision="partial") == [
        "lnq2023-train-0001", "lnq2023-train-0002",
    ]  # fmt: skip
    assert Preprocessing.from_dict(store.settings) == Preprocessing()
    record = store.record("lnq2023-train-0001")
    volume_ml = record.num_foreground * record.grid.voxel_volume_mm3 / 1000
    annotated = sitk.GetArrayFromImage(label) > 0
    assert volume_ml == pytest.approx(
        annotated.sum() * np.prod(label.GetSpacing()) / 1000, rel=0.05
    )
    assert [f["case"] for f in json.loads((root / "failures.json").read_text())] == [
        "lnq2023-train-0003"
    ]
    again = called(preprocess.main, capsys, *arguments)
    assert "2 kept, 1 failed" in again.stdout
