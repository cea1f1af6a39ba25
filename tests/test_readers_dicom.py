"""DICOM folders: one even, complete, straight series, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from support.dicom_slices import NAME, stored, write_slice

from lnq.data.readers import find_scans, read_image, read_image_with_notes
from lnq.errors import CaseError, LnqError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Twelve slices whose file names run against their positions."""
    place = tmp_path / "scan"
    place.mkdir()
    for number in range(12):
        write_slice(place / f"{20 - number:02d}.dcm", number, "1.2.3.4", -40 + 2.5 * number)
    return place


def change(path: Path, edit: Callable[[pydicom.Dataset], object]) -> None:
    data = pydicom.dcmread(path)
    edit(data)
    data.save_as(path)


def test_a_whole_series_is_ordered_by_position(folder: Path) -> None:
    (folder / "README.txt").write_text("no slice")
    volume, notes = read_image_with_notes(folder)
    assert np.array_equal(volume.array, np.stack([stored(n) for n in range(12)]) - 1024)
    assert volume.grid.spacing_mm == (2.5, 0.9, 0.8)
    assert volume.grid.origin_mm == (-10, 5, -40)
    assert notes == []
    assert find_scans(folder.parent) == [folder]
    assert find_scans(folder / "09.dcm") == [folder]
    assert np.array_equal(read_image(folder / "09.dcm").array, volume.array)


def test_slices_of_different_scale(folder: Path) -> None:
    change(folder / "14.dcm", lambda d: setattr(d, "RescaleSlope", 0.5))
    array = read_image(folder).array
    assert np.array_equal(array[6], (stored(6) * 0.5 - 1024).astype(np.float32))
    assert np.array_equal(array[0], stored(0) - 1024)


def _remove_three(folder: Path) -> None:
    for name in ("13", "14", "15"):
        (folder / f"{name}.dcm").unlink()


def _cut(folder: Path, name: str, length: int) -> None:
    (folder / name).write_bytes((folder / name).read_bytes()[:length])


def _edit(name: str, value: object) -> Callable[[Path], None]:
    return lambda folder: change(folder / "14.dcm", lambda data: setattr(data, name, value))


def _garble(folder: Path) -> None:
    """The type code of a tag becomes one that does not exist."""
    path = folder / "14.dcm"
    path.write_bytes(path.read_bytes().replace(b"\x20\x00\x32\x00DS", b"\x20\x00\x32\x00JS"))


def _without(name: str) -> Callable[[Path], None]:
    return lambda folder: change(folder / "14.dcm", lambda data: delattr(data, name))


def _tilt(folder: Path) -> None:
    for number in range(12):
        write_slice(folder / f"{20 - number:02d}.dcm", number, "1.2.3.4", 2.5 * number, 5 + number)


@pytest.mark.parametrize(
    ("damage", "why"),
    [(_remove_three, "missing or unevenly spaced"),
     (lambda f: write_slice(f / "x.dcm", 3, "1.2.3.4", -32.5), "duplicated slice"),
     (lambda f: (f / "x.dcm").write_bytes((f / "14.dcm").read_bytes()), "a copy of"),
     (lambda f: _cut(f, "14.dcm", -40), "truncated"),
     (lambda f: (f / "14.dcm").write_bytes(b""), "empty or damaged"),
     (lambda f: _cut(f, "20.dcm", 340), "damaged DICOM file"),
     (lambda f: (f / "20.dcm").rename(f / "20") and (f / "20").write_bytes(b""), "empty or dam"),
     (_garble, "damaged DICOM file"), (_tilt, "tilted gantry"),
     (_edit("PixelSpacing", [0.9, 0.9]), "spacing_mm differs"),
     (_without("ImagePositionPatient"), "ImagePosition"), (_without("PixelData"), "without pixels"),
     (lambda f: [p.unlink() for p in sorted(f.iterdir())[1:]], "single slice")],
)  # fmt: skip
def test_damaged_series(folder: Path, damage: Callable[[Path], object], why: str) -> None:
    damage(folder)
    with pytest.raises(CaseError, match=why) as error:
        read_image(folder)
    assert "Mustermann" not in str(error.value)
    assert find_scans(folder.parent) == [folder]


def test_two_series_are_for_the_user_to_choose(folder: Path) -> None:
    for number in range(3):
        write_slice(folder / f"b{number}.dcm", number, "1.2.3.99", 2.5 * number)
    for ask in (read_image, find_scans):
        with pytest.raises(UsageError, match=r"1\.2\.3\.99 \(3 slices"):
            ask(folder)


def test_no_patient_name_in_output(
    folder: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    with pytest.warns(UserWarning, match="PN component"):
        change(folder / "14.dcm", lambda d: setattr(d, "PatientName", NAME * 30))
    messages = [str(read_image_with_notes(folder)[1])]
    _cut(folder, "14.dcm", -40)
    with pytest.raises(LnqError) as error:
        read_image(folder)
    messages += [str(error.value)]
    # A damaged tag that now holds the name: a warning about its value would tell it.
    path = folder / "13.dcm"
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4", b"Musterm"))
    with pytest.raises(CaseError, match="SeriesInstanceUID is malformed") as error:
        read_image(folder)
    messages += [str(error.value), *capfd.readouterr(), *(str(w.message) for w in recwarn)]
    assert "Musterm" not in "".join(messages)
