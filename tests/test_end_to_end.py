"""All stages, through the real commands, on a few tiny phantoms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

import lnq.calibrate
import lnq.evaluate
import lnq.predict
import lnq.preprocess
import lnq.report
import lnq.train

TINY = [
    "datamodule.patch_size=[8,32,32]",
    "datamodule.steps_per_epoch=2",
    "network.widths=[2,4,8]",
    "network.dropouts=[0.05,0.1]",
    "trainer.check_val_every_n_epoch=1",
    "trainer.log_every_n_steps=1",
    "callbacks.progress=null",
]


def run(main: object, *arguments: str) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 0


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the whole chain wrote."""
    out = tmp_path_factory.mktemp("outputs")
    at = f"paths.outputs={out}"
    size = [f"data.layout.num_{split}={n}" for split, n in (("train", 2), ("val", 1), ("test", 2))]
    run(
        lnq.preprocess.main, "data=phantom", at, *size, "data.layout.size_yx=64", "num_workers=0",
        "preprocessing.spacing_mm=[6,5,5]", "preprocessing.normalisation=ct",
    )  # fmt: skip
    run(
        lnq.train.main, "+experiment=[genesis,phantom]", at, f"run_dir={out}/genesis",
        "trainer.max_epochs=1", "callbacks.ramp_up=null", *TINY,
    )  # fmt: skip
    for name, start in (("baseline", []), ("dbdmp", [f"init_from={out}/genesis"])):
        schedule = ["trainer.max_epochs=2"]
        schedule += ["callbacks.ramp_up.t_max=1"] if name == "dbdmp" else []
        schedule += ["datamodule.holdout=0.5"] if name == "dbdmp" else []
        run(
            lnq.train.main, f"+experiment=[{name},phantom]", at, f"run_dir={out}/{name}",
            *start, *schedule, *TINY,
        )  # fmt: skip
        if name == "dbdmp":
            run(lnq.calibrate.main, f"run={out}/{name}", at, "postprocess=none", "draws=20")
        run(
            lnq.predict.main, f"checkpoint={out}/{name}", f"input={out}/phantom/test", at,
            "postprocess=none",
        )  # fmt: skip
        run(
            lnq.evaluate.main, f"predictions={out}/{name}/predictions", at,
            f"references={out}/phantom/complete/test", "reference_kind=instances",
        )  # fmt: skip
    run(lnq.report.main, f"run=[{out}/baseline,{out}/dbdmp]", f"output={out}/report.html", at)
    return out


@pytest.mark.training
def test_every_stage_leaves_a_manifest(outputs: Path) -> None:
    for folder, stage in {
        "preprocess/phantom": "preprocess",
        "genesis": "train",
        "dbdmp": "train",
        "dbdmp/predictions": "predict",
        "dbdmp/evaluation": "evaluate",
    }.items():
        manifest = json.loads((outputs / folder / "manifest.json").read_text())
        assert manifest["stage"] == stage
        assert manifest["versions"]["torch"]
        assert manifest["config"]


@pytest.mark.training
def test_fine_tuning_says_which_weights_it_began_with(outputs: Path) -> None:
    record = json.loads((outputs / "dbdmp" / "manifest.json").read_text())["init_from"]
    assert record["path"].endswith("genesis/checkpoints/last.ckpt")
    assert all(".head." in name for name in record["not_initialised"])
    assert json.loads((outputs / "baseline" / "manifest.json").read_text())["init_from"] is None


@pytest.mark.training
def test_curves_hold_every_term(outputs: Path) -> None:
    curves = pd.read_csv(outputs / "dbdmp" / "curves.csv")
    terms = ["loss", "loss_sup", "loss_pseudo", "pseudo_klce", "sce", "pce", "tversky"]
    terms += ["lambda_p", "lr"]
    assert {f"train/{term}" for term in terms} <= set(curves.columns)
    assert curves["val/dice"].notna().any()
    assert "train/mse_aux" in pd.read_csv(outputs / "genesis" / "curves.csv").columns


@pytest.mark.training
def test_masks_lie_on_the_scans_own_grids(outputs: Path) -> None:
    scans = sorted((outputs / "phantom" / "test").glob("*-ct.nrrd"))
    assert len(scans) == 2
    for scan in scans:
        image = sitk.ReadImage(str(scan))
        mask = sitk.ReadImage(str(outputs / "dbdmp" / "predictions" / scan.name))
        for geometry in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
            assert getattr(mask, geometry)() == getattr(image, geometry)()
        assert set(np.unique(sitk.GetArrayViewFromImage(mask))) <= {0, 1}


@pytest.mark.training
def test_a_run_is_used_at_the_threshold_that_it_keeps(outputs: Path) -> None:
    kept = json.loads((outputs / "dbdmp" / "calibration.json").read_text())["calibration"]
    (held,) = json.loads((outputs / "dbdmp" / "manifest.json").read_text())["held_out"]
    assert kept["cases"] == [held]
    assert (kept["rule"], kept["expected_nodes"]) == ("expected_dice", 10)
    for name, value in (("dbdmp", kept["threshold"]), ("baseline", 0.5)):
        for stage in ("predictions", "evaluation"):
            manifest = json.loads((outputs / name / stage / "manifest.json").read_text())
            assert manifest["threshold"]["value"] == value
    assert 'id="threshold"' in (outputs / "report.html").read_text()


@pytest.mark.training
def test_evaluation_counts_every_case_and_node(outputs: Path) -> None:
    folder = outputs / "dbdmp" / "evaluation"
    metrics = pd.read_csv(folder / "metrics.csv")
    assert len(metrics) == 2
    assert {"dice", "assd_mm", "precision", "recall"} <= set(metrics.columns)
    phantoms = json.loads((outputs / "phantom" / "phantom.json").read_text())["cases"]
    expected = sum(len(case["nodes"]) for case in phantoms.values() if case["split"] == "test")
    assert len(pd.read_csv(folder / "reference_nodes.csv")) == expected
    json.loads((folder / "summary.json").read_text())


@pytest.mark.training
def test_the_report_needs_no_network_and_shows_both_runs(outputs: Path) -> None:
    page = (outputs / "report.html").read_text()
    assert "baseline" in page
    assert "dbdmp" in page
    assert "data:image/" in page
    for loaded in ('src="http', 'href="http', "@import", "url(http"):
        assert loaded not in page
