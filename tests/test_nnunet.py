"""nnU-Net's datasets: both versions listed right, or refused with what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.folders import touch

from lnq.data.datasets import NnunetLayout
from lnq.errors import UsageError

SECOND: dict[str, Any] = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "node": 1},
    "numTraining": 3,
    "file_ending": ".nrrd",
}


def describe(root: Path, **changes: Any) -> None:
    content = {**SECOND, **changes}
    (root / "dataset.json").write_text(json.dumps(content))


@pytest.fixture
def second(tmp_path: Path) -> Path:
    """A dataset of the second version; `c` has no label, `case_0007` ends like a channel."""
    root = tmp_path / "Dataset501_LNQ"
    touch(
        root, "imagesTr/a_0000.nrrd", "imagesTr/case_0007_0000.nrrd", "imagesTr/c_0000.nrrd",
        "imagesTs/d_0000.nrrd", "imagesTs/e_0000.nrrd", "imagesTs/._d_0000.nrrd",
        "labelsTr/a.nrrd", "labelsTr/case_0007.nrrd", "labelsTs/e.nrrd",
    )  # fmt: skip
    describe(root)
    return root


def listed(layout: NnunetLayout) -> list[tuple[str, str, str, bool]]:
    return [(c.case_id, c.split, c.supervision, c.label is not None) for c in layout.cases()]


def test_the_second_version(second: Path) -> None:
    assert listed(NnunetLayout(second)) == [
        ("a", "train", "partial", True),
        ("c", "train", "none", False),
        ("case_0007", "train", "partial", True),
        ("d", "test", "none", False),
        ("e", "test", "full", True),
    ]
    case = NnunetLayout(second, supervision="full").cases()[2]
    assert (case.supervision, case.group) == ("full", "case_0007")
    assert case.image == second / "imagesTr/case_0007_0000.nrrd"
    assert case.label == second / "labelsTr/case_0007.nrrd"


def test_the_first_version_and_the_decathlons_names(tmp_path: Path) -> None:
    first = {
        "modality": {"0": "CT"}, "labels": {"0": "background", "1": "node"}, "numTraining": 2,
        "training": [{"image": "./imagesTr/x.nii.gz", "label": "./labelsTr/x.nii.gz"},
                     {"image": "./imagesTr/y_0012.nii.gz", "label": "./labelsTr/y_0012.nii.gz"}],
        "test": ["./imagesTs/z_0013.nii.gz", "./imagesTs/w.nii.gz"],
    }  # fmt: skip
    touch(
        tmp_path, "imagesTr/x_0000.nii.gz", "imagesTr/y_0012.nii.gz", "imagesTs/z_0013.nii.gz",
        "imagesTs/w_0000.nii.gz", "labelsTr/x.nii.gz", "labelsTr/y_0012.nii.gz",
    )  # fmt: skip
    (tmp_path / "dataset.json").write_text(json.dumps(first))
    assert listed(NnunetLayout(tmp_path)) == [
        ("w", "test", "none", False),
        ("x", "train", "partial", True),
        ("y_0012", "train", "partial", True),
        ("z_0013", "test", "none", False),
    ]


def test_files_that_the_description_names(second: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.nrrd"
    elsewhere.write_bytes(b"x")
    named = {"k": {"images": ["scans/k.nrrd"], "label": "scans/k-label.nrrd"}}
    touch(second, "scans/k.nrrd")
    describe(second, dataset=named, numTraining=1)
    with pytest.raises(UsageError, match=r"are missing .*k-label\.nrrd"):
        NnunetLayout(second).cases()
    touch(second, "scans/k-label.nrrd")
    assert listed(NnunetLayout(second))[-1] == ("k", "train", "partial", True)
    describe(second, dataset={"k": {"images": [str(elsewhere)]}}, numTraining=1)
    with pytest.raises(UsageError, match="outside the data root"):
        NnunetLayout(second).cases()


def test_a_split_beside_the_description_holds(second: Path) -> None:
    folds = [
        {"train": ["a"], "val": ["c", "case_0007"]},
        {"train": ["a", "c", "case_0007"], "val": []},
    ]
    path = second / "splits_final.json"
    path.write_text(json.dumps(folds))
    splits = {case.case_id: case.split for case in NnunetLayout(second).cases()}
    assert splits == {"a": "train", "c": "val", "case_0007": "val", "d": "test", "e": "test"}
    assert {c.split for c in NnunetLayout(second, fold=1).cases()} == {"train", "test"}
    with pytest.raises(UsageError, match="no fold 2"):
        NnunetLayout(second, fold=2).cases()
    for fold, why in (
        ({"train": ["a", "c"], "val": ["a", "case_0007"]}, "a is twice"),
        ({"train": ["a"], "val": ["case_0007"]}, "c is not in it"),
        ({"train": ["a", "b"], "val": ["c", "case_0007"]}, "b is not in imagesTr"),
    ):
        path.write_text(json.dumps([fold]))
        with pytest.raises(UsageError, match=why):
            NnunetLayout(second).cases()


@pytest.mark.parametrize(
    "content",
    ['{"0": 1}', "[]", "[[]]", '[{"train": "ab", "val": []}]', '[{"train": [["a"]], "val": []}]',
     '[{"train": [1], "val": [2]}]', '[{"train": {"a": 1}, "val": null}]', "[" * 5000, "[1e999]"],
)  # fmt: skip
def test_folds_of_other_kinds(second: Path, content: str) -> None:
    (second / "splits_final.json").write_text(content)
    with pytest.raises(UsageError, match=r"splits_final\.json"):
        NnunetLayout(second).cases()


def write(text: str) -> Callable[[Path], None]:
    return lambda root: (root / "dataset.json").write_text(text) and None


def told(**changes: Any) -> Callable[[Path], None]:
    return lambda root: describe(root, **changes)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda root: (root / "dataset.json").unlink(), "cannot read dataset.json"),
        (write("{"), "cannot read dataset.json"),
        (write("[]"), "valid dictionary"),
        (told(channel_names={"0": "CT", "1": "PET"}), "2 channels"),
        (told(labels={"background": 0, "node": 1, "vessel": 2}), "one class 1"),
        (told(labels={"background": 0, "node": [1, 2]}), "one class 1"),
        (told(labels={"background": 0, "node": 2}), "one class 1"),
        (told(labels=["background", "node"]), "labels: "),
        (told(file_ending=".png"), r"'\.png' are not read"),
        (told(numTraining=4), "3 training cases, dataset.json promises 4"),
        (told(dataset={"k": {"images": ["a", "b"]}}), "not one image: k"),
        (told(lnq_cases={"a": {"split": "exam", "supervision": "full", "group": "a"}}),
         r"lnq_cases\.a\.split"),
        (lambda root: touch(root, "labelsTr/z.nrrd"), r"without a scan .*z\.nrrd"),
        (lambda root: touch(root, "imagesTs/z.nrrd"), "does not end in _0000.nrrd"),
        (lambda root: touch(root, "imagesTs/d_0001.nrrd"), "does not end in _0000.nrrd"),
        (lambda root: touch(root, "imagesTs/a_0000.nrrd"), "same case id"),
    ],
)  # fmt: skip
def test_what_is_refused(second: Path, change: Callable[[Path], object], why: str) -> None:
    change(second)
    with pytest.raises(UsageError, match=why):
        NnunetLayout(second).cases()
