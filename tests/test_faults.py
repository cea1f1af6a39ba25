"""What users' data do, row by row of the list of faults, and what `doctor` and `preprocess` answer.

One dataset holds every damaged or odd case beside sound ones: each is reported with its file, cause
and remedy by both commands in the same words, and the others go on.
"""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.dicom_slices import NAME, write_slice
from support.fault_files import (
    DOWN,
    SCAN,
    Maker,
    colour,
    content,
    cut,
    enormous,
    flipped,
    grid,
    half,
    labelled,
    large,
    nifti,
    no_forms,
    nodes,
    outside,
    raw,
    scan,
    series,
    sheared,
    sound,
    two_forms,
    uid_of,
    water,
    with_nan,
    write,
)
from support.synthetic_chest import SMALL

from lnq import doctor, preprocess
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.store.case_store import CaseStore
from lnq.volume import Grid

X, Y, Z = SMALL.origin_mm

# E: refused with these words by both commands.
REFUSED: dict[str, tuple[Maker, str]] = {
    "01 half a .nii.gz": (large("ct.nii.gz", half), "damaged or cut off"),
    "02 half a .nii": (large("ct.nii", half), "header promises"),
    "03 a flipped bit in a .nii.gz": (large("ct.nii.gz", flipped), "damaged"),
    "04 no gzip trailer": (large("ct.nii.gz", lambda data: data[:-8]), "damaged or cut off"),
    "05 NaN": (scan("ct.nii.gz", with_nan(np.nan)), "NaN or infinite"),
    "05 Inf": (scan("ct.nii.gz", with_nan(np.inf)), "NaN or infinite"),
    "06 NRRD sizes too large": (raw("48 36 31"), "header promises"),
    "07 NRRD sizes too small": (raw("48 36 29"), "header promises"),
    "07 NRRD x and y swapped": (raw("36 48 30"), "seem exchanged"),
    "07 label of exchanged axes": (
        labelled(nodes().reshape(30, 48, 36), Grid((30, 48, 36), (10.0, 8.0, 8.0), (X, Y, Z)), 19),
        "in another order"),
    "08 a flipped bit in a NRRD": (large("ct.nrrd", flipped), "damaged"),
    "09 a data file outside": (outside, "outside its folder"),
    "09 a data file with a NUL": (raw(more="data file: c\0t.raw\n"), "is no file's name"),
    "10 spacing 0": (raw(steps="(0,0,0) (0,8,0) (0,0,10)"), "voxel size"),
    "10 spacing NaN": (raw(steps="(nan,0,0) (0,8,0) (0,0,10)"), "voxel size"),
    "11 enormous dims": (enormous, "more than"),
    "12 empty file": (content("ct.nrrd", b""), "empty"),
    "12 wrong extension": (content("ct.nii.gz", b"NRRD0004\n" + bytes(400)), "its content is NRRD"),
    "13 all -1000": (scan("ct.nrrd", np.full(SMALL.size, -1000, np.int16)), "every voxel has"),
    "13 all 0": (scan("ct.nrrd", np.zeros(SMALL.size, np.int16)), "every voxel has"),
    "14 four axes": (nifti(np.zeros((8, 9, 7, 2), np.int16)), "three axes"),
    "15 RGB": (colour, "kind vector"),
    "16 one slice": (scan("ct.nrrd", SCAN.array[9:10], Grid((1, 36, 48), (10.0, 8.0, 8.0))),
                     "single slice"),
    "17 sheared axes": (nifti(np.ascontiguousarray(SCAN.array.T), sheared()), "sheared"),
    "18 qform and sform disagree": (two_forms, "qform and sform"),
    "20 label 0 and 255": (labelled(nodes(255), seed=20), "this file has 0, 255"),
    "21 label 0.6": (labelled(nodes(0.6, np.float32), seed=21), "0.6"),
    "21 label NaN": (labelled(nodes(np.nan, np.float32), seed=22), "NaN"),
    "22 label 300": (labelled(nodes(300, np.int16), seed=23), "this file has 0, 300"),
    "22 image 40000": (scan("ct.nrrd", SCAN.array.astype(np.int32) + 40000), "no Hounsfield"),
    "23 label half a voxel off": (labelled(nodes(), grid((X + 4, Y, Z)), 24), "scan's grid"),
    "24 label upside down": (labelled(nodes(), grid((X, Y, -Z), direction=DOWN), 25), "direction"),
    "24 label of other slices": (labelled(nodes(), grid(thickness=9.0), 26), "spacing"),
    "25 label reaches beyond the scan": (
        labelled(nodes(), grid((X, Y, Z - 200)), 27), "outside the scan"),
    "35 slices missing": (
        series(lambda f: [(f / f"0{n}.dcm").unlink() for n in (4, 5, 6)]), "unevenly spaced"),
    "36 a slice doubled": (series(lambda f: write_slice(f / "x.dcm", 3, uid_of(f), 7.5)),
                           "duplicated slice"),
    "36 all slices in one place": (
        series(lambda f: [write_slice(p, n, uid_of(f), 0.0) for n, p in enumerate(f.iterdir())]),
        "all slices lie in one place"),
    "38 a slice cut off": (series(lambda f: cut(f / "04.dcm")), "truncated"),
    "38 a slice empty": (series(lambda f: (f / "04.dcm").write_bytes(b"")), "empty or damaged"),
    "39 a tilted gantry": (series(shift=1.0), "tilted gantry"),
}  # fmt: skip
# W, or accepted: both commands use the case, with this note or without any.
USED: dict[str, tuple[Maker, str | None]] = {
    "19 no qform and no sform": (no_forms, "no qform and no sform"),
    "25 label of fewer slices": (
        labelled(nodes()[5:25], SMALL.crop((5, 0, 0), (25, 36, 48)), 31), "placed in the scan"),
    "26 an origin off by 1e-4 mm": (
        labelled(np.roll(nodes(), 2, axis=1), grid((X + 1e-4, Y, Z)), 32), None),
    "27 an empty label": (labelled(nodes(0), seed=33), "no annotated voxel"),
    "28 a scan without a label": (sound(seed=34), None),
    "32 é, a space and <script>": (lambda folder: sound(seed=35)(folder / "é <script>"), None),
    "33 smaller than a patch": (
        scan("ct.nrrd", SCAN.array[8:12], SMALL.crop((8, 0, 0), (12, 36, 48))), None),
    "34 water": (water, "no lungs found"),
    "68 a named patient": (series(), "no lungs found"),
}  # fmt: skip


@dataclass(frozen=True)
class Answers:
    """What both commands said of the dataset."""

    root: Path
    store: Path
    arguments: tuple[str, ...]
    codes: tuple[int, int]
    doctor: dict[str, Any]
    failures: dict[str, Any]
    everything: str


def call(main: Callable[[list[str]], None], *arguments: str) -> tuple[int, str]:
    """Exit code and all that a command printed."""
    shown = io.StringIO()
    with (
        contextlib.redirect_stdout(shown), contextlib.redirect_stderr(shown),
        pytest.raises(SystemExit) as stop,
    ):  # fmt: skip
        main(list(arguments))
    return int(stop.value.code or 0), shown.getvalue()


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    root, outputs = tmp_path_factory.mktemp("data"), tmp_path_factory.mktemp("outputs")
    rows = []
    for number, (name, (make, _)) in enumerate((REFUSED | USED).items()):
        folder = root / f"case{number}"
        folder.mkdir()
        make(folder)
        label = folder / "label.nrrd"
        (image,) = (path for path in folder.rglob("*") if path.stem.startswith("ct"))
        rows.append({"id": name, "image": str(image.relative_to(root)),
                     "label": str(label.relative_to(root)) if label.exists() else ""})  # fmt: skip
    (root / "table.json").write_text(json.dumps(rows))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    arguments = ("data=pairs", f"data.root={root}", "data.layout.table=table.json",
                 f"paths.outputs={outputs}", "num_workers=0")  # fmt: skip
    settings = ("preprocessing.spacing_mm=[10,8,8]",)
    first, printed = call(doctor.main, *arguments)
    second, more = call(preprocess.main, *arguments, *settings)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before
    store = outputs / "preprocess" / "pairs"
    written = [path.read_text() for path in outputs.rglob("*.json")]
    report = json.loads((outputs / "doctor" / "pairs.json").read_text())
    failures = json.loads((store / "failures.json").read_text())
    return Answers(
        root, store, (*arguments, *settings), (first, second),
        {case["case_id"]: case for case in report["cases"]},
        {failure["case"]: failure for failure in failures}, "\n".join([printed, more, *written]),
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("row", REFUSED)
def test_refused_by_both_in_the_same_words(row: str, answers: Answers) -> None:
    assert answers.codes == (3, 3)
    problem = answers.doctor[row]["problems"][0]
    assert REFUSED[row][1] in f"{problem['what']} {problem['why']}"
    assert str(answers.root) in problem["where"]
    assert problem["remedy"]
    assert answers.failures[row] == {"case": row, **problem}
    assert row not in CaseStore(answers.store).case_ids()


@pytest.mark.parametrize("row", USED)
@pytest.mark.slow
def test_used_by_both_with_the_same_note(row: str, answers: Answers) -> None:
    case, note = answers.doctor[row], USED[row][1]
    record = CaseStore(answers.store).record(row)
    assert case["problems"] == []
    assert all(". " in said for said in case["notes"])  # what to do about it
    if note is None:
        assert case["notes"] == list(record.notes) == []
    else:
        assert any(note in said for said in case["notes"])
        assert any(note in said for said in record.notes)


def test_nothing_else_failed_and_nobody_is_named(answers: Answers) -> None:
    """Fault 68; every message is one line, none a traceback."""
    assert set(answers.failures) == set(REFUSED)
    family = NAME.partition("^")[0]
    assert family not in answers.everything
    assert "Traceback" not in answers.everything
    for case in answers.doctor.values():
        assert not any("\n" in str(part) for one in case["problems"] for part in one.values())


def test_33_a_small_volume_fills_a_patch(answers: Answers) -> None:
    store, name = CaseStore(answers.store), "33 smaller than a patch"
    small = store.image(name)
    assert small.shape[0] < 8
    rule = PatchRule((name,), (8, 8, 8), 0.0, 0)
    patch = np.asarray(PatchDataset(store, rule, None)[0]["image"].data[0])
    assert patch.shape == (8, 8, 8)
    above = (8 - small.shape[0]) // 2
    inside = patch[above : above + small.shape[0]]
    windows = np.lib.stride_tricks.sliding_window_view(small, inside.shape)
    assert (windows == inside).all(axis=(-3, -2, -1)).any()
    assert (np.delete(patch, np.s_[above : above + small.shape[0]], axis=0) == small.min()).all()


@pytest.mark.slow
def test_55_56_57_a_damaged_or_stale_cache_is_rebuilt(answers: Answers) -> None:
    cases = answers.store / "cases"
    cut_off, stale, bit = "19 no qform and no sform", "28 a scan without a label", "34 water"
    before = {name: (cases / name / "image.npy").read_bytes() for name in (cut_off, stale, bit)}
    (cases / cut_off / "image.npy").write_bytes(half(before[cut_off]))
    (cases / bit / "image.npy").write_bytes(flipped(before[bit]))
    sound(seed=99)(Path(answers.doctor[stale]["image"]).parent)
    code, printed = call(preprocess.main, *answers.arguments)
    assert code == 3
    for name, why in ((cut_off, "image.npy is damaged"), (bit, "image.npy is damaged"),
                      (stale, "the scan or its label has changed")):  # fmt: skip
        assert f"{name}: warning: rebuilt, {why}" in printed
    assert f"3 rebuilt, {len(REFUSED)} failed" in printed
    assert (cases / cut_off / "image.npy").read_bytes() == before[cut_off]
    assert (cases / bit / "image.npy").read_bytes() == before[bit]
    assert (cases / stale / "image.npy").read_bytes() != before[stale]


def table_of(root: Path, **row: str) -> list[str]:
    root.mkdir()
    sound()(root)
    (root / "label.nrrd").write_bytes((root / "ct.nrrd").read_bytes())
    rows = [{"image": "ct.nrrd", "id": "a"}, {"image": "ct.nrrd", "id": "b", **row}]
    (root / "table.json").write_text(json.dumps(rows))
    return ["data=pairs", "data.layout.table=table.json"]


def stray_label(root: Path) -> list[str]:
    write(root / "train" / "x-seg.nrrd", nodes())
    return ["data=lnq2023"]


def link(root: Path) -> list[str]:
    sound()(root / "elsewhere")
    (root / "data" / "train").mkdir(parents=True)
    (root / "data/train/x-ct.nrrd").symlink_to(root / "elsewhere/ct.nrrd")
    return ["data=lnq2023", f"data.root={root / 'data'}"]


def two_series(root: Path) -> list[str]:
    arguments = table_of(root, image="ct")
    series(lambda f: [write_slice(f / f"b{n}.dcm", n, "1.2.99", 2.5 * n) for n in range(3)])(root)
    return arguments


# C: refused before any work starts, nothing written.
USAGE: dict[str, tuple[Callable[[Path], list[str]], str]] = {
    "28 a label without a scan": (stray_label, "labels without a scan"),
    "28 a scan that is not there": (lambda root: table_of(root, image="gone.nrrd"), "missing"),
    "29 one id twice": (lambda root: table_of(root, id="a"), "the same case id"),
    "30 an id with ..": (lambda root: table_of(root, id="../../etc/x"), "cannot be file names"),
    "30 an absolute id": (lambda root: table_of(root, id="/etc/x"), "cannot be file names"),
    "31 a link out of the root": (link, "outside the data root"),
    "32 a newline in a name": (lambda root: table_of(root, id="a\nb"), "cannot be file names"),
    "37 two series in a folder": (two_series, "the folder holds 2 scans"),
}


@pytest.mark.parametrize("row", USAGE)
@pytest.mark.slow
def test_refused_before_any_work(row: str, tmp_path: Path) -> None:
    make, words = USAGE[row]
    arguments = make(tmp_path / "data")
    if not any("data.root" in argument for argument in arguments):
        arguments.append(f"data.root={tmp_path / 'data'}")
    for main in (doctor.main, preprocess.main):
        code, printed = call(main, *arguments, f"paths.outputs={tmp_path / 'out'}")
        assert code == 2
        assert words in " ".join(printed.split())
        assert NAME not in printed
    assert not list((tmp_path / "out").rglob("*.json"))
    assert not list((tmp_path / "out").rglob("cases"))
