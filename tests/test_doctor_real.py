"""The doctor on files of other programs: each is read right or refused, no process is killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support import forked

from lnq.data.datasets.layout_detection import detect

# What must not be refused; all else of the folder is no CT of a chest, and is told so.
CHESTS = {
    "4d-lung-P113/ct_bin3x3x1.nii.gz", "4d-lung-P113/ct_mediastinumcrop_native.nrrd",
    "slicerio/CTChest4.nrrd", "chestimagingplatform/ct-64.nrrd",
    "totalsegmentator/pulmonary_report/ct_cropped.nii.gz", "dicom",
}  # fmt: skip
LABELS = {
    "4d-lung-P113/ct_mediastinumcrop_native.nrrd": "4d-lung-P113/ln_mediastinumcrop_native.nrrd",
    "totalsegmentator/pulmonary_report/ct_cropped.nii.gz": (
        "totalsegmentator/pulmonary_report/heart.nii.gz"
    ),
}
WORDS = {
    "4d-lung-P113/labels_tumor1_ln2_bin3x3x1.nii.gz": "no Hounsfield units",
    "chestimagingplatform/wholeLung-64.nrrd": "no Hounsfield units",
    "slicerio/Segmentation.seg.nrrd": "no Hounsfield units",
    "slicerio/SegmentationOverlapping.seg.nrrd": "three axes",
    "odd/pynrrd/BallBinary30x30x30_bz2.nrrd": "encoding",
    "odd/pynrrd/BallBinary30x30x30_byteskip_minus_five.nhdr": "byte skip -5",
    "odd/nibabel/example4d.nii.gz": "three axes",
    "odd/nifti-reader-js/5D_small.nii": "three axes",
    "odd/nifti-reader-js/not-nifti.nii": "no NIfTI file",
    "odd/niivue/LPS.nii.gz": "air (below -500) is missing",
    "odd/pydicom/MR_truncated.dcm": "no CT slice",
    "odd/highdicom/ct_image.dcm": "single slice",
    "odd/dcmqi/23x38x3/multiframe/mf.dcm": "multi-frame",
    "odd/dcmqi/23x38x3/seg/label.seg": "no CT slice",
}


@pytest.fixture(scope="module")
def reports(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The doctor's report on every file of the folder, and on the DICOM slices in its archive."""
    root = tmp_path_factory.mktemp("table")
    with tarfile.open(real_data / "4d-lung-P113/dicom_28slices_plus_rtstruct.tar.xz") as archive:
        archive.extractall(root, filter="data")
    files = {str(p.relative_to(real_data)): p for p in real_data.rglob("*") if p.is_file()}
    files["dicom"] = root / "dcmsub" / "ct_series"
    rows = [
        {"id": name.replace("/", " "), "image": str(path), "split": "test",
         "label": str(real_data / LABELS[name]) if name in LABELS else "", "supervision": "full"}
        for name, path in sorted(files.items())
    ]  # fmt: skip
    (root / "table.json").write_text(json.dumps(rows))
    # In a process of its own: one of the files kills a native reader, sometimes only later.
    done = forked.run(
        [sys.executable, "-m", "lnq.doctor", "data=pairs", f"data.root={root}", "num_workers=0",
         "data.layout.table=table.json", "data.layout.allow_links_outside=true",
         f"paths.outputs={root / 'out'}"],
        timeout=570, env={**os.environ, "COLUMNS": "160"},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "Traceback" not in done.stderr
    found = json.loads((root / "out" / "doctor" / "pairs.json").read_text())["cases"]
    (root / "printed.txt").write_text(done.stdout)
    by_id = {report["case_id"]: report for report in found}
    return {name: by_id[name.replace("/", " ")] for name in files}


@pytest.mark.process
def test_every_file_is_reported(reports: dict[str, Any]) -> None:
    sound = {name for name, report in reports.items() if not report["problems"]}
    assert sound == CHESTS
    for name, report in reports.items():
        for problem in report["problems"]:
            assert problem["why"], name
            assert problem["remedy"], name


@pytest.mark.process
@pytest.mark.parametrize("name", WORDS)
def test_the_reason_is_the_right_one(name: str, reports: dict[str, Any]) -> None:
    assert WORDS[name] in reports[name]["problems"][0]["why"]


@pytest.mark.process
def test_the_folder_of_odd_files_as_it_lies(real_data: Path, tmp_path: Path) -> None:
    """No layout, one file that kills native readers, one DICOM-SEG with its CT."""
    done = subprocess.run(
        [sys.executable, "-m", "lnq.doctor", f"data.root={real_data / 'odd'}", "num_workers=0",
         f"paths.outputs={tmp_path}"],
        capture_output=True, text=True, timeout=570, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    found = json.loads((tmp_path / "doctor" / "scans.json").read_text())["cases"]
    assert {"5D_small", "LPS", "image", "highdicom", "pydicom"} <= {one["case_id"] for one in found}
    assert detect(real_data, anything=True).layout == "scans"


@pytest.mark.process
def test_what_is_known_of_the_chests(reports: dict[str, Any]) -> None:
    whole, crop, slices = (
        reports[name]
        for name in ("4d-lung-P113/ct_bin3x3x1.nii.gz",
                     "4d-lung-P113/ct_mediastinumcrop_native.nrrd", "dicom")
    )  # fmt: skip
    assert whole["size"] == [99, 104, 142]
    assert whole["lungs_litres"] == pytest.approx(2.1, abs=0.3)
    assert whole["body_litres"] == pytest.approx(22, abs=2)
    assert sum(crop["component_volumes_mm3"]) == pytest.approx(6400, abs=1500)
    assert slices["size"] == [28, 512, 512]
    assert reports["slicerio/CTChest4.nrrd"]["hu_range"][0] == -3024
    heart = reports["totalsegmentator/pulmonary_report/ct_cropped.nii.gz"]
    assert any("placed in the scan" in note for note in heart["notes"])
