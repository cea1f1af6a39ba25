"""No library speaks for itself while a scan is read."""

from __future__ import annotations

from pathlib import Path

import pytest
import SimpleITK as sitk
from support.dicom_slices import write_slice

from lnq.data.readers import read_image


def test_itk_calls_no_slice_missing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number, z in enumerate((0.0, 2.5, 5.0007, 7.5)):
        write_slice(tmp_path / f"{number}.dcm", number + 1, "1.2.3.4", z)
    shown = sitk.ProcessObject.GetGlobalWarningDisplay()
    assert read_image(tmp_path).array.shape == (4, 9, 7)
    assert capfd.readouterr().err == ""
    assert sitk.ProcessObject.GetGlobalWarningDisplay() == shown
