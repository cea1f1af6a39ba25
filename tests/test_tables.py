"""`cases.csv` as spreadsheets, pandas and Windows write it: read, or one line that says why not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lnq.data.datasets.layout_detection import detect
from lnq.data.datasets.nnunet import NnunetLayout
from lnq.data.datasets.pairs import PairsLayout
from lnq.errors import UsageError

HEAD = "id,image,label,supervision,split,group\n"
ROW = "P1,scans/P1.nrrd,partial/P1.nrrd,partial,train,P1\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("scans/P1.nrrd", "partial/P1.nrrd"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    return tmp_path


READ = {
    "plain": (HEAD + ROW).encode(),
    "upper case": (HEAD.upper() + ROW.replace("partial,train", "Partial,TRAIN")).encode(),
    "blanks": (HEAD + ROW).replace(",", " , ").encode(),
    "byte-order mark": (HEAD + ROW).encode("utf-8-sig"),
    "UTF-16": (HEAD + ROW).encode("utf-16"),
    "semicolons": (HEAD + ROW).replace(",", ";").encode(),
    "a separator line": ("sep=;\n" + (HEAD + ROW).replace(",", ";")).encode(),
    "comments": ("# mine\n\n# and more\n" + HEAD + ROW).encode(),
    "pandas' index": ("," + HEAD + "0," + ROW).encode(),
    "pandas' index, read and written": ("Unnamed: 0," + HEAD + "0," + ROW).encode(),
    "empty rows": (HEAD + ",,,,,\n" + ROW + "\n,,,,,\n").encode(),
    "empty columns": (HEAD[:-1] + ",,\n" + ROW[:-1] + ",,\n").encode(),
    "Windows paths": (HEAD + ROW.replace("/", "\\")).encode(),
    "Windows line ends": (HEAD + ROW).replace("\n", "\r\n").encode(),
    "quotes": (HEAD + ROW.replace("scans/P1.nrrd", '"scans/P1.nrrd"')).encode(),
    "no line end": (HEAD + ROW).rstrip().encode(),
}


@pytest.mark.parametrize("name", READ)
def test_read(root: Path, name: str) -> None:
    (root / "cases.csv").write_bytes(READ[name])
    assert detect(root).values == {"data.layout.table": "cases.csv"}
    (case,) = PairsLayout(root, Path("cases.csv")).cases()
    assert (case.case_id, case.supervision, case.split, case.group) == (
        "P1", "partial", "train", "P1",
    )  # fmt: skip
    assert case.image == root / "scans/P1.nrrd"
    assert case.label == root / "partial/P1.nrrd"


@pytest.mark.parametrize(
    ("content", "why"),
    [((HEAD + ROW.replace("P1,s", "Mül,s")).encode("cp1252"), "line 2 is not UTF-8"),
     ((HEAD + ROW + 'P2,"scans/P1.nrrd,,,,\n').encode(), "line 3: unexpected end of data"),
     ((HEAD + ROW.replace("P1,", "P\0001,", 1)).encode(), r"it holds '\\x00'"),
     ((HEAD.replace("group", "image") + ROW).encode(), "column image is there twice"),
     ((HEAD + ROW + "P2,scans/P1.n").encode(), "last row has 2 of 6 cells and no end"),
     ((HEAD + ROW[:-1] + ",more\n").encode(), "cells beyond the header")],
)  # fmt: skip
def test_refused_in_one_line(root: Path, content: bytes, why: str) -> None:
    (root / "cases.csv").write_bytes(content)
    assert detect(root).values == {"data.layout.table": "cases.csv"}
    with pytest.raises(UsageError, match=why) as error:
        PairsLayout(root, Path("cases.csv")).cases()
    assert str(root / "cases.csv") in str(error.value)


def test_a_byte_order_mark_in_json(root: Path) -> None:
    (root / "cases.json").write_text(json.dumps([{"image": "scans/P1.nrrd"}]), "utf-8-sig")
    (case,) = PairsLayout(root, Path("cases.json")).cases()
    assert case.case_id == "P1"
    for name in ("imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz"):
        (root / name).parent.mkdir()
        (root / name).touch()
    content = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "node": 1},
               "numTraining": 1, "file_ending": ".nii.gz"}  # fmt: skip
    (root / "dataset.json").write_text(json.dumps(content), "utf-8-sig")
    assert [case.case_id for case in NnunetLayout(root).cases()] == ["a"]
