"""A DICOM scan is known by its UIDs, positions and acquisition, and not by its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dicom_series import STEP, acquisition, ids, split_in_two, volume, write, write_series
from support.dicom_slices import NAME

from lnq.data.case import DicomScan, first_path
from lnq.data.datasets import ScansLayout
from lnq.data.preparation.inspection import inspect_case
from lnq.data.readers import (
    content_hash,
    every_scan,
    find_scans,
    read_image,
    read_image_with_notes,
)
from lnq.errors import CaseError, UsageError


def in_turns(root: Path) -> None:
    for k, path in enumerate(write_series(root / "first", "1.2.3")):
        if k % 2:
            (root / "second").mkdir(exist_ok=True)
            path.rename(root / "second" / path.name)


def a_folder_each(root: Path) -> None:
    for path in write_series(root / "first", "1.2.3"):
        (root / "first" / path.stem).mkdir()
        path.rename(root / "first" / path.stem / path.name)


def below_each_other(root: Path) -> None:
    for k, path in enumerate(write_series(root / "first", "1.2.3")):
        if k >= 4:
            (root / "first/more").mkdir(exist_ok=True)
            path.rename(root / "first/more" / path.name)


@pytest.mark.parametrize("place", [split_in_two, in_turns, a_folder_each, below_each_other])
def test_slices_in_several_folders_are_one_scan(
    tmp_path: Path, place: Callable[[Path], None]
) -> None:
    root = tmp_path / "data"
    place(root)
    assert np.array_equal(read_image(root).array, volume())  # a folder of folders
    write_series(root / "other", "1.2.4", count=5)
    assert ids(root) == ["first", "other"]
    scan, other = every_scan(root)
    assert other == root / "other"
    assert isinstance(scan, DicomScan)
    assert np.array_equal(read_image(scan).array, volume())
    before = content_hash(scan)
    (root / "other/00.dcm").unlink()
    assert content_hash(scan) == before
    write(scan.files[-1], 77, "1.2.3", STEP * 7)
    assert content_hash(scan) != before


def test_two_series_may_share_their_folders(tmp_path: Path) -> None:
    """As on discs that hold a hundred files a folder."""
    root = tmp_path / "data"
    for series in "34":
        files = write_series(
            root / "disc", f"1.2.{series}", prefix=series, ConvolutionKernel="B30f"
        )
        for k, path in enumerate(files):
            target = root / f"disc/DIR{k // 3:03d}"
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
    assert ids(root) == ["disc_1.2.3", "disc_1.2.4"]
    for scan in every_scan(root):
        assert np.array_equal(read_image(scan).array, volume())


def two_uids(**tags: Callable[[int], Any]) -> Callable[[Path], None]:
    def build(folder: Path) -> None:
        for k in range(2):
            values = {tag: value(k) for tag, value in tags.items()}
            write_series(folder, f"1.2.3.4567890{k}", prefix=f"p{k}_", **values)

    return build


def thick_and_thin(folder: Path) -> None:
    """Two reconstructions of one UID that share only some of their places."""
    write_series(folder, "1.2.3", SliceThickness="2.5")
    for k in range(4):
        write(folder / f"thick{k}.dcm", k, "1.2.3", 5.0 * k, SliceThickness="5")


def malformed(folder: Path) -> None:
    two_uids(AcquisitionNumber=lambda _: 11111111)(folder)
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes().replace(b"11111111", b"nonumber"))


KINDS: list[tuple[Callable[[Path], None], list[str]]] = [
    (acquisition(AcquisitionNumber=lambda k: 3 + k), ["CT_a3", "CT_a4"]),
    (acquisition(TemporalPositionIdentifier=lambda k: 1 + k), ["CT_t1", "CT_t2"]),
    (acquisition(SeriesDescription=lambda k: f"Thorax T={10 * k}% {NAME}"), ["CT_T0", "CT_T10"]),
    (acquisition(SeriesDescription=lambda k: f"Gated, {40 + 10 * k}.0%A"), ["CT_T40", "CT_T50"]),
    (acquisition(AcquisitionTime=lambda k: f"10150{k}.5"), ["CT_1", "CT_2"]),
    (acquisition(ConvolutionKernel=lambda k: f"B{3 + 4 * k}0f"), ["CT_B30f", "CT_B70f"]),
    (thick_and_thin, ["CT_2.5mm", "CT_5mm"]),
    (two_uids(ConvolutionKernel=lambda k: f"B{3 + 4 * k}0f"), ["CT_B30f", "CT_B70f"]),
    (two_uids(SeriesDescription=lambda k: f"T={50 * k}%"), ["CT_T0", "CT_T50"]),
    (two_uids(SeriesDescription=lambda _: NAME), ["CT_45678900", "CT_45678901"]),
    (malformed, ["CT_45678900", "CT_45678901"]),
    (two_uids(ConvolutionKernel=lambda k: f"../{'x' * 40}{k}"), ["CT_45678900", "CT_45678901"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("build", "names"), KINDS)
def test_phases_and_reconstructions_are_told_apart(
    tmp_path: Path, build: Callable[[Path], None], names: list[str]
) -> None:
    root = tmp_path / "data"
    build(root / "PatA/CT")
    assert ids(root) == names
    for scan in every_scan(root):
        image = read_image(scan)
        assert np.array_equal(image.array, volume(len(image.array)))
        # One of its slices means the same scan.
        assert np.array_equal(read_image(first_path(scan)).array, image.array)
    with pytest.raises(UsageError, match="holds 2 CT series") as asked:
        read_image(root / "PatA/CT")
    assert "Mustermann" not in str(asked.value)
    with pytest.raises(UsageError, match="holds 2 CT series"):
        find_scans(root / "PatA/CT")


def test_two_traits_tell_four_scans_apart(tmp_path: Path) -> None:
    for number, (kernel, phase) in enumerate([("B30f", 1), ("B30f", 2), ("B70f", 1), ("B70f", 2)]):
        write_series(tmp_path / "data/CT", "1.2.3", prefix=f"{number}_", ConvolutionKernel=kernel,
                     TemporalPositionIdentifier=phase)  # fmt: skip
    expected = ["CT_t1_B30f", "CT_t1_B70f", "CT_t2_B30f", "CT_t2_B70f"]
    assert ids(tmp_path / "data") == expected


def test_a_phase_a_folder_of_one_uid(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for phase in ("T00", "T10"):
        write_series(root / "4D" / phase, "1.2.3")
    assert every_scan(root) == [root / "4D/T00", root / "4D/T10"]
    assert ids(root) == ["T00", "T10"]
    assert read_image_with_notes(root / "4D/T00")[1] == []


def test_a_phase_without_a_slice_spoils_no_other(tmp_path: Path) -> None:
    root = tmp_path / "data"
    for phase in range(3):
        write_series(root / "CT", "1.2.3", prefix=f"{phase}_", TemporalPositionIdentifier=phase + 1)
    (root / "CT/1_04.dcm").unlink()
    assert ids(root) == ["CT_t1", "CT_t2", "CT_t3"]
    first, second, third = every_scan(root)
    assert np.array_equal(read_image(first).array, read_image(third).array)
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(second)


BROKEN: dict[str, tuple[Callable[[int], Mapping[str, Any] | None], str]] = {
    # Two blocks of slices, as a scanner takes them, with a slice missing between them.
    "missing": (lambda k: None if k == 4 else {"AcquisitionNumber": 1 + k // 5}, "are missing"),
    # Each second slice is another rotation.
    "rotations": (lambda k: {"AcquisitionNumber": k // 2}, ""),
    "times": (lambda k: {"AcquisitionTime": f"1015{k:02d}"}, ""),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_pieces_of_one_scan_are_no_scans(tmp_path: Path, kind: str) -> None:
    tags, why = BROKEN[kind]
    for k in range(10):
        if (values := tags(k)) is not None:
            write(tmp_path / f"CT/{k:02d}.dcm", k, "1.2.3", STEP * k, **values)
    assert every_scan(tmp_path) == [tmp_path / "CT"]
    if why:
        with pytest.raises(CaseError, match=why):
            read_image(tmp_path / "CT")
    else:
        assert np.array_equal(read_image(tmp_path / "CT").array, volume(10))


def test_a_doubled_slice_makes_no_second_scan(tmp_path: Path) -> None:
    write_series(tmp_path / "CT", "1.2.3", AcquisitionNumber=1)
    write(tmp_path / "CT/x.dcm", 3, "1.2.3", STEP * 3, AcquisitionNumber=2)
    assert every_scan(tmp_path) == [tmp_path / "CT"]
    with pytest.raises(CaseError, match="duplicated slice"):
        read_image(tmp_path / "CT")


def test_halves_that_share_slices_are_no_two_scans(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    for name in ("02.dcm", "03.dcm"):
        (tmp_path / "second" / name).write_bytes((tmp_path / "first" / name).read_bytes())
    (scan,) = every_scan(tmp_path)
    with pytest.raises(CaseError, match=r"second/02\.dcm\]: a copy of 02\.dcm"):
        read_image(scan)


def test_turns_of_slices_of_which_one_is_missing(tmp_path: Path) -> None:
    in_turns(tmp_path)
    (tmp_path / "first/04.dcm").unlink()
    (scan,) = every_scan(tmp_path)
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(scan)


def test_a_copy_of_a_folder_is_a_scan_of_its_own(tmp_path: Path) -> None:
    """Of equal voxels, which the doctor tells; damage to one is no damage to the other."""
    for name in ("a", "b"):
        write_series(tmp_path / name, "1.2.3")
    (tmp_path / "b/04.dcm").unlink()
    first, second = every_scan(tmp_path)
    assert np.array_equal(read_image(first).array, volume())
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(second)
    for name in ("c", "d"):  # single slices
        write(tmp_path / name / "0.dcm", 0, "1.2.9", 0.0)
    assert [str(scan) for scan in every_scan(tmp_path)][2:] == [
        str(tmp_path / "c"),
        str(tmp_path / "d"),
    ]


def test_pieces_with_a_slice_missing_between_them(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    (tmp_path / "second/04.dcm").unlink()
    (scan,) = every_scan(tmp_path)
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(scan)


def test_blank_uids_tell_no_folders_together(tmp_path: Path) -> None:
    for place in ("a", "b"):
        for k in range(5):
            write(tmp_path / place / f"{k}.dcm", k, "", STEP * (k + 5 * (place == "b")))
    assert every_scan(tmp_path) == [tmp_path / "a", tmp_path / "b"]


def test_damaged_slices_beside_scans_in_several_folders(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    lost = tmp_path / "second/05.dcm"
    lost.write_bytes(lost.read_bytes()[:300])
    (scan,) = every_scan(tmp_path)
    with pytest.raises(CaseError, match="damaged DICOM file") as error:
        read_image(scan)
    assert str(lost) in str(error.value)
    # Where another scan lies beside it, the file may be that one's.
    write_series(tmp_path / "second", "1.2.9", prefix="z")
    one, other = every_scan(tmp_path)
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(one)
    image, notes = read_image_with_notes(other)
    assert np.array_equal(image.array, volume())
    assert f"1 files beside it cannot be read and may be slices of it ({lost}" in notes[0]


def test_a_part_of_a_series_is_told(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    image, notes = read_image_with_notes(tmp_path / "first")
    assert len(image.array) == 4
    assert notes == [
        f"more slices of its series lie in {tmp_path / 'second'}. Give the folder above for all of "
        "them"
    ]
    assert read_image_with_notes(tmp_path)[1] == []


def test_the_doctor_reads_scans_in_several_folders(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    (case,) = ScansLayout(tmp_path).cases()
    assert inspect_case(case).size == (8, 9, 7)
