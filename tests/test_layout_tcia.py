"""Mediastinal-Lymph-Node-SEG as downloaders leave it: matched by UIDs, in folders of any name."""

from __future__ import annotations

import csv
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.dicom_phantom import SIZE, write_ct, write_seg

from lnq.config.composition import compose
from lnq.data.case import Case, DicomScan, Split, Supervision, first_path
from lnq.data.datasets import PairsLayout, TciaLayout
from lnq.data.datasets.layout_detection import detect
from lnq.data.datasets.nnunet_export import export_cases
from lnq.data.datasets.source_hash import SourceHashes
from lnq.data.datasets.splits import read_splits
from lnq.data.preparation.inspection import inspect_case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.readers import Scan, content_hash, read_image, read_image_with_notes, read_label
from lnq.data.readers.dicom_heads import read_head
from lnq.data.store.building import build_case, prepare_case
from lnq.errors import CaseError, UsageError
from lnq.files import write_json
from lnq.volume import Array
from lnq.volume_file import write_volume

FULL, PARTIAL = "Fully Annotated", "Partially Annotated"


def node(number: int) -> Array:
    mask = np.zeros(SIZE, bool)
    mask[2, number : number + 3, 2:5] = True
    return mask


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """As NBIA's downloader, IDC's and a hand have sorted it; one CT has no segmentation."""
    root = tmp_path / "data"
    nbia = root / "manifest-1/Mediastinal-Lymph-Node-SEG/case_0002/01-01-1999-NA-CT"
    write_seg(nbia / "300.000-Fully-1/1-1.dcm", write_ct(nbia / "2.000-CT-9", "case_0002"),
              {"Lymph node": node(1)}, FULL)  # fmt: skip
    idc = root / "mediastinal_lymph_node_seg/case_0669/1.3.6.1"
    write_seg(idc / "SEG_1.2.3/0f3c.dcm", write_ct(idc / "CT_1.2.4", "case_0669"),
              {"Lymph node": node(2)}, PARTIAL)  # fmt: skip
    ct = write_ct(root / "all in one é", "case_0013")
    write_seg(ct / "seg", write_ct(tmp_path / "beside", "case_0013"), {"node": node(3)}, FULL)
    write_ct(root / "case_0700", "case_0700")
    (root / "manifest-1/LICENSE").write_text("CC BY 4.0")
    (root / "manifest-1/metadata.csv").write_text("Series UID")
    (root / ".hidden.dcm").write_bytes(b"")
    return root


def listed(layout: TciaLayout) -> list[tuple[str, str, str]]:
    return [(case.case_id, case.split, case.supervision) for case in layout.cases()]


@pytest.mark.slow
def test_series_and_segmentations_are_matched_by_uid(root: Path) -> None:
    layout = TciaLayout(root)
    assert listed(layout) == [
        ("case_0002", "test", "full"), ("case_0013", "test", "full"),
        ("case_0669", "train", "partial"), ("case_0700", "train", "none"),
    ]  # fmt: skip
    for case, number in zip(layout.cases(), (1, 3, 2, None), strict=True):
        assert case.group == case.case_id
        grid = read_image(case.image).grid
        if number is None:
            assert case.label is None
            continue
        assert case.label is not None
        label = read_label(case.label, scan=Scan(case.image, grid))
        assert np.array_equal(label.array, node(number))
        assert inspect_case(case).component_volumes_mm3 == [pytest.approx(9 * 2.5 * 0.9 * 0.8)]
    prepared = prepare_case(
        case=layout.cases()[2], preprocessing=Preprocessing(spacing_mm=(2.5, 0.9, 0.8)),
        hashes=SourceHashes("0", "1"),
    )  # fmt: skip
    assert prepared.field is not None
    assert prepared.field.shape == prepared.record.grid.size
    assert prepared.record.num_foreground == 9


def test_series_that_share_a_folder(root: Path, tmp_path: Path) -> None:
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted(path for path in root.rglob("[!.]*") if path.is_file()):
        shutil.copy(file, flat / f"{file.parent.name[:9]}-{file.parent.parent.name}-{file.name}")
    cases = {case.case_id: case for case in TciaLayout(flat).cases()}
    other = {case.case_id: case for case in TciaLayout(root).cases()}
    assert list(cases) == list(other)
    for case_id, case in cases.items():
        assert isinstance(case.image, DicomScan)
        mine, theirs = read_image(case.image), read_image(other[case_id].image)
        assert np.array_equal(mine.array, theirs.array)
    first, other_first = (first_path(cases[name].image) for name in ("case_0002", "case_0700"))
    before = content_hash(first)
    assert content_hash(cases["case_0002"].image) == before
    other_first.unlink()
    assert content_hash(first) == before
    first.unlink()
    neighbour = next(flat.glob("2.000-CT*003.dcm"))
    assert content_hash(neighbour) != before


def test_another_choice_of_segments_is_another_label(root: Path, tmp_path: Path) -> None:
    seg = write_seg(tmp_path / "s.dcm", root / "case_0700", {"LN": node(1), "Heart": node(4)})
    (tmp_path / "cases.csv").write_text(f"id,image,label\na,{root}/case_0700,{seg}\n")
    store = tmp_path / "store"
    settings = Preprocessing(spacing_mm=(2.5, 0.9, 0.8)).as_dict()
    write_json(store / "manifest.json", {"settings": settings, "cases": ["a"]})
    states = []
    for names in ("LN", "LN", "Heart", None):
        layout = PairsLayout(tmp_path, table=Path("cases.csv"), label_names=names)
        outcome = build_case(layout.cases()[0], store)
        states.append(outcome.status)
    assert states == ["built", "kept", "rebuilt", "failed"]
    assert "is unclear" in str(outcome.error)


def test_it_is_detected_by_a_segmentation(root: Path, tmp_path: Path) -> None:
    assert detect(root).layout == "tcia"
    slices = tmp_path / "slices"
    slices.mkdir()
    shutil.copy(
        next(p for p in sorted(root.rglob("*.dcm")) if p.name[0] != "." and read_head(p)), slices
    )
    with pytest.raises(UsageError, match="not known"):
        detect(slices)
    (root / "beside.nrrd").touch()
    with pytest.raises(UsageError, match="not known"):  # odd files, no collection
        detect(root)
    (root / "beside.nrrd").unlink()
    shutil.copy(next(root.rglob("0f3c.dcm")), slices)  # of a CT that is not there
    with pytest.raises(UsageError, match="not known"):
        detect(slices)


def test_a_table_of_splits(root: Path, tmp_path: Path) -> None:
    # As the challenge's table of results: a row for each team, the number alone, no split.
    table = tmp_path / "results.csv"
    table.write_text("Case,Dice,ASSD,Team\n0002,0.7,5.1,a\n0002,0.6,6.2,b\n")
    expected = ["test", "val", "train", "train"]
    assert [case.split for case in TciaLayout(root, splits=table).cases()] == expected
    table.write_text("PatientID,split\ncase_0002,val\ncase_0700,test\n")
    expected = ["val", "test", "train", "test"]
    assert [case.split for case in TciaLayout(root, splits=table).cases()] == expected


@pytest.mark.parametrize(
    ("text", "why"),
    [("Case\n0669\n", "partially annotated cases for testing: case_0669"),
     ("Case\n9999\n", "1 of its 1 ids are not there: 9999"),
     ("Case\n0002\n9999\n", "1 of its 2 ids are not there: 9999"),
     ("name\nx\n", "no column of ids"),
     ("id,split\n0002,training\n", "'0002' has the split 'training'"),
     ("id,split\n0002,val\n0002,test\n", "'0002' has the split 'test' and 'val'")],
)  # fmt: skip
@pytest.mark.slow
def test_tables_of_splits_that_do_not_fit(root: Path, tmp_path: Path, text: str, why: str) -> None:
    table = tmp_path / "splits.csv"
    table.write_text(text)
    with pytest.raises(UsageError, match=why):
        TciaLayout(root, splits=table).cases()
    with pytest.raises(UsageError, match="missing"):
        TciaLayout(root, splits=tmp_path / "nowhere.csv").cases()


def test_the_split_of_the_challenge(real_data: Path, tmp_path: Path) -> None:
    """393 / 20 / 100 by the test ids of its published results; the table's text stays outside."""
    table = real_data.parent / "lnq2023_phase3_results.csv"
    if not table.is_file():
        pytest.skip(f"{table} is missing")
    with table.open(newline="") as handle:
        tested = sorted({row["Case"] for row in csv.DictReader(handle)})
    others = [f"{n:04d}" for n in range(1, 2000) if f"{n:04d}" not in tested]

    def case(number: str, split: Split, supervision: Supervision) -> Case:
        return Case(f"case_{number}", tmp_path, tmp_path, split, supervision, f"case_{number}")

    cases = [case(number, "train", "partial") for number in others[:393]]
    cases += [case(number, "test", "full") for number in [*others[393:413], *tested]]
    placed = read_splits(table, cases)
    assert Counter(case.split for case in placed) == {"train": 393, "val": 20, "test": 100}
    assert {case.case_id[-4:] for case in placed if case.split == "test"} == set(tested)
    with pytest.raises(UsageError, match="99 of its 100 ids are not there"):
        read_splits(table, [case for case in cases if case.case_id[-4:] not in tested[1:]])


def test_what_the_layout_refuses(root: Path, tmp_path: Path) -> None:
    ct = root / "case_0700"
    write_seg(root / "x" / "a.dcm", ct, {"node": node(1)}, "Segmentation")
    with pytest.raises(UsageError, match=r"a\.dcm: its description 'Segmentation' tells neither"):
        TciaLayout(root).cases()
    assert listed(TciaLayout(root, supervision="full"))[3] == ("case_0700", "test", "full")
    twin = write_seg(root / "x" / "b.dcm", ct, {"node": node(2)}, FULL)
    with pytest.raises(UsageError, match=r"b\.dcm: .*a\.dcm annotates the same CT"):
        TciaLayout(root, supervision="full").cases()
    twin.unlink()
    shutil.move(ct, tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"a\.dcm: its CT series .* is missing"):
        TciaLayout(root, supervision="full").cases()


def empty_slice(root: Path) -> None:
    next((root / "mediastinal_lymph_node_seg").rglob("1-003.dcm")).write_bytes(b"")


def cut_slice(root: Path) -> None:
    path = next((root / "mediastinal_lymph_node_seg").rglob("1-003.dcm"))
    path.write_bytes(path.read_bytes()[:200])


def cut_segmentation(root: Path) -> None:
    path = next((root / "mediastinal_lymph_node_seg").rglob("0f3c.dcm"))
    path.write_bytes(path.read_bytes()[:200])


def copied_slice(root: Path) -> None:
    path = next((root / "mediastinal_lymph_node_seg").rglob("1-003.dcm"))
    shutil.copy(path, path.with_name("copy.dcm"))


def copied_folder(root: Path) -> None:
    shutil.copytree(root / "mediastinal_lymph_node_seg", root / "again")


@pytest.mark.parametrize(
    ("damage", "why"),
    [(empty_slice, r"1-003\.dcm: no DICOM file, or cut off"),
     (cut_slice, r"1-003\.dcm: truncated or damaged DICOM file"),
     (cut_segmentation, r"0f3c\.dcm: truncated or damaged DICOM file"),
     (copied_slice, r"copy\.dcm: a copy of .*1-003\.dcm"),
     (copied_folder, r"0f3c\.dcm: a copy of .*again/.*0f3c\.dcm")],
)  # fmt: skip
@pytest.mark.slow
def test_a_damaged_or_doubled_file_is_one_cases_fault(
    root: Path, tmp_path: Path, damage: Callable[[Path], None], why: str
) -> None:
    damage(root)
    cases = TciaLayout(root).cases()
    assert [case.case_id for case in cases if case.fault] == ["case_0669"]
    assert len(cases) == 4
    (problem,) = inspect_case(cases[2]).problems
    assert re.search(why, str(problem))
    write_json(tmp_path / "manifest.json", {"settings": Preprocessing().as_dict(), "cases": []})
    outcome = build_case(cases[2], tmp_path)
    assert (outcome.status, str(outcome.error)) == ("failed", str(problem))
    (exported,) = export_cases([cases[2]], tmp_path / "raw", ".nrrd", write_volume)
    assert str(exported.error) == str(problem)
    assert read_image(cases[0].image).array.shape == SIZE


def test_slices_in_several_folders_are_one_scan(root: Path) -> None:
    before = {case.case_id: case for case in TciaLayout(root).cases()}
    expected = read_image(before["case_0669"].image)
    assert before["case_0669"].label is not None
    for number, name in enumerate(("1-003.dcm", "1-005.dcm", "1-001.dcm")):
        path = next((root / "mediastinal_lymph_node_seg").rglob(name))
        (root / f"beside{number}").mkdir()
        shutil.move(path, root / f"beside{number}")
    cases = {case.case_id: case for case in TciaLayout(root).cases()}
    assert list(cases) == list(before)
    case = cases["case_0669"]
    assert case.label == before["case_0669"].label
    assert case.refusal is None
    image = read_image(case.image)
    assert np.array_equal(image.array, expected.array)
    label = read_label(case.label, scan=Scan(case.image, image.grid))
    assert np.array_equal(label.array, node(2))


def test_a_damaged_file_of_nobody_fails_by_its_name(root: Path) -> None:
    shutil.rmtree(root / "mediastinal_lymph_node_seg")
    flat = root / "flat"
    for patient in ("case_0800", "case_0801"):
        for file in write_ct(root / patient, patient).iterdir():
            flat.mkdir(exist_ok=True)
            shutil.move(file, flat / f"{patient}-{file.name}")
        (root / patient).rmdir()
    lost = flat / "case_0801-1-003.dcm"
    lost.write_bytes(b"")
    shutil.copy(lost, root)
    cases = {case.case_id: case for case in TciaLayout(root).cases()}
    assert {"case_0801-1-003.dcm", "case_0801-1-003.dcm_2"} == set(cases) - {
        "case_0002", "case_0013", "case_0700", "case_0800", "case_0801",
    }  # fmt: skip
    assert "no DICOM file" in str(inspect_case(cases["case_0801-1-003.dcm_2"]).problems)
    image, notes = read_image_with_notes(cases["case_0800"].image)
    assert image.array.shape == SIZE
    assert "1 files beside it cannot be read" in notes[0]
    with pytest.raises(CaseError, match="slices are missing"):
        read_image(cases["case_0801"].image)


def test_empty_and_foreign_folders(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looked for a folder with DICOM CT"):
        TciaLayout(tmp_path / "missing").cases()
    with pytest.raises(UsageError, match="no cases found"):
        TciaLayout(tmp_path).cases()


def test_links_out_of_the_root(root: Path, tmp_path: Path) -> None:
    shutil.move(root / "case_0700", tmp_path / "elsewhere")
    (root / "case_0700").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="outside the data root"):
        TciaLayout(root).cases()
    assert len(TciaLayout(root, allow_links_outside=True).cases()) == 4


def test_the_configuration_builds_it(root: Path) -> None:
    from lnq.config import instantiate

    cfg = compose("preprocess", ["data=tcia", f"data.root='{root}'"])
    from omegaconf import OmegaConf

    node_ = OmegaConf.to_container(cfg.data.layout, resolve=True)
    assert len(instantiate(node_).cases()) == 4
