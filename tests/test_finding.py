"""Which scans lie under a path."""

from __future__ import annotations

from pathlib import Path

import pydicom
import pytest
from pydicom.uid import MRImageStorage
from support.dicom_phantom import write_ct

from lnq.data.readers import find_labels, find_scans, ordered_files
from lnq.errors import CaseError, UsageError
from lnq.inference.mask_files import Format, plan


def test_a_slice_chooses_its_series(tmp_path: Path) -> None:
    alone = write_ct(tmp_path / "alone")
    assert find_scans(next(alone.iterdir())) == [alone]
    both = tmp_path / "both"
    for patient in ("case_0001", "case_0002"):
        for file in write_ct(tmp_path / patient, patient).iterdir():
            both.mkdir(exist_ok=True)
            file.rename(both / f"{patient}-{file.name}")
    one = both / "case_0002-1-003.dcm"
    assert find_scans(one) == [one]
    assert {path.name[:9] for path in ordered_files(one)} == {"case_0002"}
    wanted: dict[Format | None, str] = {
        None: f"{one.name}.nrrd", "dicom-seg": f"{one.name}.dcm",
    }  # fmt: skip
    for format_, name in wanted.items():
        (job,) = plan([one], one, tmp_path / "masks", format_)
        assert (job.image, job.mask_name) == (one, name)
    with pytest.raises(UsageError, match="the folder holds 2 CT series"):
        find_scans(both)


def test_another_object_beside_a_scan_is_not_the_scan(tmp_path: Path) -> None:
    """Who names an MR slice gets no CT in its place; its reader says what it is."""
    folder = write_ct(tmp_path / "ct")
    slice_ = pydicom.dcmread(min(folder.iterdir()))
    slice_.SOPClassUID = slice_.file_meta.MediaStorageSOPClassUID = MRImageStorage
    slice_.Modality = "MR"
    other = folder / "other.dcm"
    slice_.save_as(other)
    assert find_scans(other) == [other]
    with pytest.raises(CaseError, match="no CT slice"):
        ordered_files(other)


def test_find_scans(tmp_path: Path) -> None:
    files = (
        "b/x-ct.nrrd",
        "b/x-seg.nrrd",
        "a.nii.gz",
        "b/.hidden.nii",
        ".trash/old.nii.gz",
        "lone-seg.mha",
        "no.txt",
        "a.seg.nrrd",
    )
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b/loop").symlink_to(tmp_path)
    names = [str(path.relative_to(tmp_path)) for path in find_scans(tmp_path)]
    assert names == ["a.nii.gz", "b/x-ct.nrrd", "lone-seg.mha"]
    assert find_scans(tmp_path / "a.nii.gz") == [tmp_path / "a.nii.gz"]
    labels = [str(path.relative_to(tmp_path)) for path in find_labels(tmp_path)]
    assert labels == [
        "a.nii.gz", "a.seg.nrrd", "b/x-ct.nrrd", "b/x-seg.nrrd", "lone-seg.mha",
    ]  # fmt: skip
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (tmp_path / "missing", tmp_path / "no.txt", empty):
        with pytest.raises(UsageError):
            find_scans(path)
    with pytest.raises(UsageError, match="no labels"):
        find_labels(empty)
