"""Datasets as they lie on disks: listed right, or refused with the list of what is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.folders import touch

from lnq.construction import instantiate, node_faults
from lnq.data.datasets import Lnq2023Layout, PairsLayout, PhantomLayout, listed
from lnq.data.datasets.checks import is_safe_id
from lnq.data.phantom import LargestNodes
from lnq.data.readers import read_image, read_label
from lnq.errors import UsageError


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    touch(
        root,
        "train/lnq2023-train-0007-ct.nrrd", "train/lnq2023-train-0007-seg.nrrd",
        "train/lnq2023-train-0002-ct.nrrd", "train/lnq2023-train-0002-seg.nrrd",
        "val/lnq2023-val-0001-ct.nrrd", "val/lnq2023-val-0001-seg.nrrd",
        "test/lnq2023-test-0003-ct.nrrd", "train/README.txt", "train/._lnq2023-train-0001-ct.nrrd",
    )  # fmt: skip
    return root


def test_challenge_folders(challenge: Path) -> None:
    cases = Lnq2023Layout(challenge).cases()
    assert [(c.case_id, c.split, c.supervision, c.label is not None) for c in cases] == [
        ("lnq2023-test-0003", "test", "none", False),
        ("lnq2023-train-0002", "train", "partial", True),
        ("lnq2023-train-0007", "train", "partial", True),
        ("lnq2023-val-0001", "val", "full", True),
    ]
    assert cases[1].image == challenge / "train/lnq2023-train-0002-ct.nrrd"
    assert cases[1].group == "lnq2023-train-0002"


def test_corrected_labels_come_first(challenge: Path) -> None:
    touch(challenge, "corrected_train_labels/lnq2023-train-0002-seg.nrrd")
    labels = {case.case_id: case.label for case in Lnq2023Layout(challenge).cases()}
    assert labels["lnq2023-train-0002"] == (
        challenge / "corrected_train_labels/lnq2023-train-0002-seg.nrrd"
    )
    assert labels["lnq2023-train-0007"] == challenge / "train/lnq2023-train-0007-seg.nrrd"


@pytest.mark.parametrize(
    "place",
    ["train/corrected_train_labels", "Corrected-Train-Labels-2/corrected_train_labels",
     "corrected_train_labels (1)"],
)  # fmt: skip
def test_corrected_labels_wherever_they_were_unpacked(challenge: Path, place: str) -> None:
    first = "lnq2023-train-0002-seg.nrrd"
    touch(challenge, f"{place}/{first}", f"{place}/__MACOSX/{first}", f"{place}/._{first}")
    replaced, kept = Lnq2023Layout(challenge).cases()[1:3]
    assert replaced.label == challenge / place / first
    assert replaced.notes == (f"its label is the corrected one, {place}/{first}",)
    assert kept.label == challenge / "train/lnq2023-train-0007-seg.nrrd"
    assert kept.notes == ()
    touch(challenge, f"corrected_train_labels 3/{first}")
    with pytest.raises(UsageError, match="two labels of one case"):
        Lnq2023Layout(challenge).cases()


def test_what_the_challenge_layout_refuses(challenge: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="looked for a folder with train/"):
        Lnq2023Layout(tmp_path / "missing").cases()
    with pytest.raises(UsageError, match="looked for train/"):
        Lnq2023Layout(challenge / "train").cases()
    (tmp_path / "empty/train").mkdir(parents=True)
    with pytest.raises(UsageError, match="no cases"):
        Lnq2023Layout(tmp_path / "empty").cases()
    touch(challenge, "train/lnq2023-train-0002-ct.nii.gz")
    with pytest.raises(UsageError, match=r"same case id .*train-0002"):
        Lnq2023Layout(challenge).cases()
    touch(challenge, "val/lnq2023-val-0009-seg.nrrd")
    with pytest.raises(UsageError, match=r"without a scan .*val-0009"):
        Lnq2023Layout(challenge).cases()


def test_links_out_of_the_root(challenge: Path, tmp_path: Path) -> None:
    touch(tmp_path, "elsewhere.nrrd")
    (challenge / "test/lnq2023-test-0009-ct.nrrd").symlink_to(tmp_path / "elsewhere.nrrd")
    with pytest.raises(UsageError, match=r"outside the data root .*0009"):
        Lnq2023Layout(challenge).cases()
    assert len(Lnq2023Layout(challenge, allow_links_outside=True).cases()) == 5


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\nb", "", " ", ".hidden", "a\\b", "x" * 300])
def test_unsafe_ids(name: str) -> None:
    assert not is_safe_id(name)


@pytest.mark.parametrize("name", ["case_0669", "é a", "<script>", "lnq2023-train-0001"])
def test_safe_ids(name: str) -> None:
    assert is_safe_id(name)


def test_a_newline_in_a_challenge_name(challenge: Path) -> None:
    touch(challenge, "test/new\nline-ct.nrrd")
    with pytest.raises(UsageError, match="cannot be file names"):
        Lnq2023Layout(challenge).cases()


def table(root: Path, text: str) -> PairsLayout:
    (root / "table.csv").write_text(text, encoding="utf-8-sig")
    return PairsLayout(root, table=Path("table.csv"))


def test_pairs_from_a_table(tmp_path: Path) -> None:
    touch(tmp_path, "a.nrrd", "b.nii.gz", "b-label.nii.gz")
    cases = table(
        tmp_path,
        "id,image,label,supervision,split,group\n"
        "two,b.nii.gz,b-label.nii.gz,full,val,patient 1\n,a.nrrd,,,,\n",
    ).cases()
    assert [(c.case_id, c.split, c.supervision, c.group) for c in cases] == [
        ("a", "train", "none", "a"),
        ("two", "val", "full", "patient 1"),
    ]
    (tmp_path / "table.json").write_text(
        json.dumps([{"image": "b.nii.gz", "label": "b-label.nii.gz", "id": None}])
    )
    (case,) = PairsLayout(tmp_path, table=Path("table.json")).cases()
    assert (case.case_id, case.supervision) == ("b", "partial")
    assert case.label == tmp_path / "b-label.nii.gz"


def test_a_label_that_supervises_nothing_is_left_out(tmp_path: Path) -> None:
    touch(tmp_path, "a.nrrd", "a-seg.nrrd")
    (case,) = table(tmp_path, "image;label;supervision\na.nrrd;a-seg.nrrd;none\n").cases()
    assert (case.label, case.supervision) == (None, "none")
    assert "not used" in case.notes[0]


@pytest.mark.parametrize(
    ("name", "content"), [("t.csv", "image\né.nrrd\n".encode("cp1252")), ("t.json", b"[{")]
)
def test_a_table_that_cannot_be_read(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match="cannot read the table"):
        PairsLayout(tmp_path, table=Path(name)).cases()


@pytest.mark.parametrize(
    ("text", "why"),
    [("image,lable\na.nrrd,\n", "lable"), ("id\nx\n", "no image"), ("image\nz.nrrd\n", "missing"),
     ("image,split\na.nrrd,training\n", "row 1: split"), ("image\n", "no cases"),
     ("id,image\n../../etc/x,a.nrrd\n", "cannot be file names"),
     ("id,image\nx,a.nrrd\nX,b.nii.gz\n", "same case id"),
     ("image\nfolder\n", "no scans found"), ("image\n../outside.nrrd\n", "outside the data root")],
)  # fmt: skip
def test_tables_that_are_refused(tmp_path: Path, text: str, why: str) -> None:
    root = tmp_path / "root"
    touch(root, "a.nrrd", "b.nii.gz", "../outside.nrrd", "folder/notes.txt")
    with pytest.raises(UsageError, match=why):
        table(root, text).cases()


def test_pairs_from_two_folders(tmp_path: Path) -> None:
    scans = ("scans/x.nii.gz", "scans/y.nrrd", "scans/v.nrrd", "scans/w.mha")
    touch(tmp_path, *scans, "masks/y.nii.gz", "masks/v.seg.nrrd", "masks/w.dcm")
    layout = PairsLayout(tmp_path, images=Path("scans"), labels=Path("masks"), split="test",
                         supervision="full")  # fmt: skip
    assert [(c.case_id, c.supervision, c.split) for c in layout.cases()] == [
        ("v", "full", "test"),
        ("w", "full", "test"),
        ("x", "none", "test"),
        ("y", "full", "test"),
    ]
    touch(tmp_path, "masks/z.nrrd")
    with pytest.raises(UsageError, match=r"without a scan .*z\.nrrd"):
        layout.cases()
    for arguments in ({}, {"table": Path("t"), "images": Path("i")}):
        with pytest.raises(UsageError, match="either a table or a folder"):
            PairsLayout(tmp_path, **arguments)


@pytest.mark.slow
def test_the_phantom_is_a_dataset_like_any_other(tmp_path: Path) -> None:
    layout = PhantomLayout(tmp_path / "phantom", LargestNodes(1), 1, 1, 1, seed=3, size_yx=48)
    with pytest.raises(UsageError, match="the data root is missing"):
        layout.cases()
    assert list(tmp_path.iterdir()) == []  # who lists a dataset does not write it
    cases = listed(layout)
    assert [(c.split, c.supervision) for c in cases] == [
        ("test", "none"), ("train", "partial"), ("val", "full"),
    ]  # fmt: skip
    image, label = read_image(cases[1].image), read_label(cases[1].label or Path())
    assert image.grid == label.grid
    assert layout.cases() == cases


def test_supervision_by_case(challenge: Path) -> None:
    partial, other = "lnq2023-train-0002", "lnq2023-train-0007"
    cases = Lnq2023Layout(challenge, supervised={"full": (partial,), "none": (other,)}).cases()
    by_id = {case.case_id: case for case in cases}
    assert (by_id[partial].supervision, by_id[partial].label is None) == ("full", False)
    assert (by_id[other].supervision, by_id[other].label) == ("none", None)
    assert by_id[other].notes == ("its label is not used: its supervision is none",)
    assert by_id["lnq2023-val-0001"].supervision == "full"  # as the layout says


@pytest.mark.parametrize(
    ("supervised", "fault"),
    [({"full": ("nobody",)}, "there is no case nobody"),
     ({"full": ("lnq2023-test-0003",)}, "lnq2023-test-0003 has no label"),
     ({"full": ("lnq2023-val-0001",), "none": ("lnq2023-val-0001",)}, "0001 is named twice")],
)  # fmt: skip
def test_supervision_that_cannot_be(
    challenge: Path, supervised: dict[str, tuple[str, ...]], fault: str
) -> None:
    with pytest.raises(UsageError, match=rf"data\.layout\.supervised.*{fault}"):
        Lnq2023Layout(challenge, supervised=supervised).cases()


def test_knowledge_comes_from_a_configuration(challenge: Path) -> None:
    """As a command line gives it: plain lists."""
    masks = challenge.parent / "masks"
    touch(masks, "lnq2023-train-0002/kidney_left.nii.gz", "lnq2023-train-0002/heart.nii.gz")
    node = {
        "_target_": "lnq.data.datasets.Lnq2023Layout", "root": str(challenge),
        "background": str(masks), "background_names": ["heart"],
        "supervised": {"none": ["lnq2023-train-0007"]},
    }  # fmt: skip
    assert node_faults(node, "data.layout") == []
    cases = instantiate(node).cases()
    assert [path.name for path in cases[1].background] == ["heart.nii.gz"]
    assert cases[2].label is None
    assert "much" in node_faults({**node, "supervised": {"much": ["a"]}}, "data.layout")[0]
