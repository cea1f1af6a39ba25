"""A DICOM scan is known by its UIDs, positions and acquisition, and not by its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from support.dicom_slices import NAME, stored, write_slice

from lnq.data.case import DicomScan, ScanPath, first_path
from lnq.data.datasets import PairsLayout, ScansLayout
from lnq.data.datasets.checks import numbered
from lnq.data.preparation.inspection import inspect_case
from lnq.data.readers import (
    content_hash,
    every_scan,
    find_scans,
    read_image,
    read_image_with_notes,
    scan_ids,
)
from lnq.errors import CaseError, UsageError
from lnq.inference.mask_files import plan

STEP = 2.5


def write(path: Path, number: int, series: str, z: float, **tags: Any) -> Path:
    """A slice whose pixels are those of `stored(number)`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_slice(path, number, series, z)
    if tags:
        with pydicom.config.disable_value_validation():  # some are malformed on purpose
            data = pydicom.dcmread(path)
            for tag, value in tags.items():
                setattr(data, tag, value)
            data.save_as(path)
    return path


def write_series(
    folder: Path, series: str, count: int = 8, prefix: str = "", **tags: Any
) -> list[Path]:
    """A series whose values are functions of a tag or the same in all slices."""
    return [
        write(
            folder / f"{prefix}{k:02d}.dcm", k, series, STEP * k,
            **{tag: value(k) if callable(value) else value for tag, value in tags.items()},
        )
        for k in range(count)
    ]  # fmt: skip


def volume(count: int = 8) -> Any:
    return np.stack([stored(k) for k in range(count)]) - 1024


def ids(root: Path) -> list[str]:
    """As the doctor and predict call the scans; both must say the same."""
    listed = [case.case_id for case in ScansLayout(root).cases()]
    jobs = plan(find_scans(root), root, root.parent / "masks", None)
    assert sorted(job.name for job in jobs) == listed
    return listed


def split_in_two(root: Path) -> None:
    for k, path in enumerate(write_series(root / "first", "1.2.3")):
        if k >= 4:
            (root / "second").mkdir(exist_ok=True)
            path.rename(root / "second" / path.name)


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


def acquisition(**tags: Callable[[int], Any]) -> Callable[[Path], None]:
    """Two phases of one series UID in one folder."""

    def build(folder: Path) -> None:
        for phase in range(2):
            values = {tag: value(phase) for tag, value in tags.items()}
            write_series(folder, "1.2.3", prefix=f"p{phase}_", **values)

    return build


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


def test_a_table_means_the_whole_scan(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    acquisition(AcquisitionNumber=lambda k: k)(tmp_path / "PatB/CT")
    table = tmp_path / "cases.csv"
    table.write_text("image\nfirst\nPatB/CT/p1_00.dcm\n")
    layout = PairsLayout(tmp_path, table=Path("cases.csv"))
    phase, whole = layout.cases()
    assert (phase.case_id, whole.case_id) == ("CT_a1", "first")
    assert np.array_equal(read_image(whole.image).array, volume())
    assert whole.notes == (f"slices of its series also lie in {tmp_path / 'second'}: they are "
                           "taken, too",)  # fmt: skip
    assert isinstance(phase.image, DicomScan)
    assert {path.name[:2] for path in phase.image.files} == {"p1"}
    table.write_text("image\nPatB\n")
    with pytest.raises(UsageError, match="holds 2 scans"):
        layout.cases()
    # Both halves are one scan, given twice.
    table.write_text("image\nfirst\nsecond\n")
    with pytest.raises(UsageError, match="several scans have the same case id"):
        layout.cases()
    table.write_text("id,image\na,first\nb,second\n")
    first, second = layout.cases()
    assert content_hash(first.image) == content_hash(second.image)


def test_folders_of_pairs_know_series_by_their_uids(tmp_path: Path) -> None:
    images, labels = tmp_path / "images", tmp_path / "labels"
    split_in_two(images / "PatA")
    acquisition(TemporalPositionIdentifier=lambda k: 1 + k)(images / "PatB/CT")
    labels.mkdir()
    for name in ("PatA.nii.gz", "CT_t2.nrrd"):
        (labels / name).touch()
    cases = PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()
    assert [(case.case_id, case.label and case.label.name) for case in cases] == [
        ("CT_t1", None), ("CT_t2", "CT_t2.nrrd"), ("PatA", "PatA.nii.gz"),
    ]  # fmt: skip
    assert np.array_equal(read_image(cases[2].image).array, volume())


def test_a_case_id_has_the_patient_in_it(tmp_path: Path) -> None:
    """Folders and tables of layout pairs call scans as the doctor and predict do."""
    for name in (
        "images/PatA/CT.nrrd", "images/PatB/CT.nrrd", "images/lone.nrrd",
        "labels/PatB/CT.seg.nrrd", "labels/PatA_CT.nii.gz", "labels/x/lone.nrrd",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = ["PatA_CT", "PatB_CT", "lone"]
    assert ids(tmp_path / "images") == expected
    cases = PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()
    assert [case.case_id for case in cases] == expected
    assert [str(case.label and case.label.relative_to(tmp_path / "labels")) for case in cases] == [
        "PatA_CT.nii.gz", "PatB/CT.seg.nrrd", "x/lone.nrrd",
    ]  # fmt: skip
    rows = ["image", "images/PatA/CT.nrrd", "images/PatB/CT.nrrd", "images/lone.nrrd"]
    (tmp_path / "cases.csv").write_text("\n".join(rows))
    cases = PairsLayout(tmp_path / "images/..", table=Path("cases.csv")).cases()
    assert [case.case_id for case in cases] == ["images_PatA_CT", "images_PatB_CT", "lone"]
    (tmp_path / "labels/CT.nrrd").touch()  # whose?
    with pytest.raises(UsageError, match=r"labels without a scan.*labels/CT\.nrrd"):
        PairsLayout(tmp_path, images=Path("images"), labels=Path("labels")).cases()


def test_scans_outside_the_root_have_ids_too(tmp_path: Path) -> None:
    scans: list[ScanPath] = [tmp_path / "elsewhere/PatA/CT.nrrd", tmp_path / "data/CT.nrrd"]
    assert scan_ids(scans, tmp_path / "data") == ["PatA_CT", "CT"]


def test_a_folder_given_as_a_dot_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_series(tmp_path / "CT", "1.2.3")
    monkeypatch.chdir(tmp_path / "CT")
    assert [case.case_id for case in ScansLayout(Path()).cases()] == ["CT"]
    write_series(tmp_path / "CT", "1.2.4", prefix="b")
    assert [case.case_id for case in ScansLayout(Path()).cases()] == ["CT_1.2.3", "CT_1.2.4"]


def test_masks_of_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    for name in ("in/A.nrrd", "in/a.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UsageError, match="same name"):
        plan(find_scans(tmp_path / "in"), tmp_path / "in", tmp_path / "out", "mha")


def test_numbered_names_are_no_ones_else() -> None:
    assert numbered(["A", "a", "A_2", "b", "A"]) == ["A", "a_3", "A_2", "b", "A_4"]


def test_the_doctor_reads_scans_in_several_folders(tmp_path: Path) -> None:
    split_in_two(tmp_path)
    (case,) = ScansLayout(tmp_path).cases()
    assert inspect_case(case).size == (8, 9, 7)
