"""What is not read is named, what a scan is called, and what no label of nodes is."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.dicom_phantom import write_ct
from support.synthetic_chest import SMALL, chest, coordinates, lungs

from lnq.data.case import Case
from lnq.data.datasets import PairsLayout, ScansLayout
from lnq.data.preparation.examination import examine
from lnq.data.readers import find_scans
from lnq.data.readers.left_out import left_out, summary
from lnq.inference.mask_files import plan
from lnq.volume import Array, Volume, to_sitk


def test_what_is_left_out_is_named_with_the_reason(tmp_path: Path) -> None:
    for name in ("A.nii.gz", "B.hdr", "B.img", "C.nii.bz2", "notes.txt", "sub/D.mgz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\1" * 400)
    bare = write_ct(tmp_path / "bare")
    for file in bare.iterdir():
        file.write_bytes(file.read_bytes()[132:])
    write_ct(tmp_path / "sound")
    found = left_out(tmp_path)
    assert [line.split(" (")[0] for line in found] == ["B.img", "C.nii.bz2", "bare", "sub/D.mgz"]
    assert "without the mark" in found[2]
    assert (summary(tmp_path, most=1) or "").startswith("4 left out: B.img (")
    assert (summary(tmp_path, most=1) or "").endswith("; and 3 more")
    assert left_out(tmp_path / "sound") == []
    assert summary(tmp_path / "A.nii.gz") is None
    assert summary(None) is None


@pytest.mark.parametrize(
    ("uid", "kind"),
    [("1.2.840.10008.5.1.4.1.1.4", "MR"), ("1.2.840.10008.5.1.4.1.1.128", "PET")],
)
def test_images_of_other_modalities_are_named_once_a_folder(
    uid: str, kind: str, tmp_path: Path
) -> None:
    import pydicom

    folder = write_ct(tmp_path / "other")
    for file in folder.iterdir():
        data = pydicom.dcmread(file)
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = uid
        data.save_as(file)
    (line,) = left_out(tmp_path)
    assert line.startswith(f"other ({len(list(folder.iterdir()))} files: {kind} images")


def test_scans_are_called_alike_by_all_commands(tmp_path: Path) -> None:
    for name in ("PatA/CT.nii.gz", "PatB/CT.nii.gz", "PatB/lone.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    listed = [case.case_id for case in ScansLayout(tmp_path).cases()]
    jobs = plan(find_scans(tmp_path), tmp_path, tmp_path.parent / "masks", None)
    assert listed == [job.name for job in jobs] == ["PatA_CT", "PatB_CT", "lone"]


def test_one_label_for_two_scans_refuses_both(tmp_path: Path) -> None:
    for name in ("P1", "P2", "P3", "L"):
        (tmp_path / f"{name}.nrrd").write_bytes(b"x")
    rows = [
        {"id": "P1", "image": "P1.nrrd", "label": "L.nrrd"},
        {"id": "P2", "image": "P2.nrrd", "label": "../" + tmp_path.name + "/L.nrrd"},
        {"id": "P3", "image": "P3.nrrd"},
    ]
    (tmp_path / "t.json").write_text(json.dumps(rows))
    first, second, third = PairsLayout(tmp_path, table=Path("t.json")).cases()
    assert "is also that of P2" in str(first.refusal)
    assert "is also that of P1" in str(second.refusal)
    assert third.refusal is None


def case(folder: Path, marked: Array) -> Case:
    scan = chest(SMALL)
    for name, volume in (("scan", scan), ("label", Volume(marked.astype(np.uint8), SMALL))):
        sitk.WriteImage(to_sitk(volume), str(folder / f"{name}.nrrd"))
    return Case("P1", folder / "scan.nrrd", folder / "label.nrrd", "train", "partial", "P1")


def test_lungs_organs_and_masses_are_no_nodes(tmp_path: Path) -> None:
    z, y, x = coordinates(SMALL)
    ball = z**2 + y**2 + x**2
    sizes: list[tuple[Array, str, str]] = [
        (ball < 12**2, "", ""),
        (ball < 36**2, "", "large even for a conglomerate"),
        ((np.abs(x) < 165) & (np.abs(y) < 96) & ~lungs(SMALL), "one connected piece", ""),
        (lungs(SMALL), "is air", ""),
    ]
    for marked, problem, note in sizes:
        examined = examine(case(tmp_path, marked))
        problems = [str(one) for one in examined.problems]
        assert (problem in problems[0]) if problem else not problems
        assert (
            any(note in one for one in examined.notes) if note else problems or not examined.notes
        )
