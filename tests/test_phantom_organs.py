"""Masks of a phantom's organs, with a segmenter's errors; phantoms of each kind of supervision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from support.folders import names

from lnq.data.datasets import PhantomLayout, listed
from lnq.data.datasets.layout_detection import detect
from lnq.data.datasets.lnq2023 import Lnq2023Layout
from lnq.data.datasets.structures import NO_NODES
from lnq.data.phantom import LargestNodes, PhantomCase, PhantomDataset, make_case, organ_masks
from lnq.data.readers import read_image, read_label
from lnq.errors import UsageError
from lnq.files import write_json

POLICY = LargestNodes(1)


def made(number: int = 1) -> PhantomCase:
    return make_case(0, "train", number, POLICY, size_yx=64, organs=True)


def exact(number: int, monkeypatch: pytest.MonkeyPatch) -> PhantomCase:
    """The same organs as no segmenter leaves them."""
    with monkeypatch.context() as patched:
        for error in ("MISSING", "BOUNDARY_MM", "RIPPLE_MM"):
            patched.setattr(organ_masks, error, 0.0)
        return made(number)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


@pytest.mark.slow
def test_masks_are_drawn_beside_the_scan_and_change_nothing_in_it() -> None:
    case, plain = made(), make_case(0, "train", 1, POLICY, size_yx=64)
    assert np.array_equal(case.image.array, plain.image.array)
    assert np.array_equal(case.instances.array, plain.instances.array)
    assert (case.annotated, plain.organs) == (plain.annotated, {})
    again = made()
    assert case.organs.keys() == again.organs.keys()
    assert all(np.array_equal(case.organs[name], again.organs[name]) for name in case.organs)
    assert set(case.organs) <= NO_NODES | {"lung_left", "lung_right"}


@pytest.mark.slow
def test_boundaries_are_wrong_by_a_segmenter_s_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    case, true = made(), exact(1, monkeypatch)
    assert len(true.organs) == 20
    for name in ("heart", "aorta", "lung_left", "vertebrae"):
        if name in case.organs:
            assert 0.8 < dice(case.organs[name], true.organs[name]) < 1, name
    hu = true.image.array
    assert hu[true.organs["lung_left"]].mean() < -700
    assert -50 < hu[true.organs["heart"]].mean() < 300
    assert hu[true.organs["vertebrae"]].mean() > 100
    # LPS as drawn; the scan may be stored the other way round.
    x = true.image.grid.to_world(np.argwhere(true.organs["lung_left"]))[:, 0].mean()
    assert x > true.image.grid.to_world(np.argwhere(true.organs["lung_right"]))[:, 0].mean()


@pytest.mark.slow
def test_some_structures_are_missing_and_nodes_are_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nodes = covered = 0
    missing = set()
    for number in (1, 2, 3):
        case = made(number)
        missing |= {"heart", "aorta", "pulmonary_artery", "pulmonary_vein", "superior_vena_cava",
                    "esophagus", "trachea", "vertebrae", "lung_left", "lung_right",
                    "inferior_vena_cava", "brachiocephalic_trunk", "stomach", "spleen",
                    "brachiocephalic_vein_left"} - case.organs.keys()  # fmt: skip
        node, organ = case.instances.array > 0, np.logical_or.reduce(list(case.organs.values()))
        nodes, covered = nodes + node.sum(), covered + (node & organ).sum()
    assert 1 <= len(missing) <= 9
    assert covered < 0.03 * nodes
    monkeypatch.setattr(organ_masks, "MISSING", 1.0)
    assert made().organs == {}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training cases, of each kind one, and a test case, all with masks."""
    folder = tmp_path_factory.mktemp("mixed") / "phantom"
    PhantomDataset(
        folder, POLICY, num_train=3, num_val=0, num_test=1, size_yx=48, num_full=1, num_none=1,
        organs=True,
    ).write()  # fmt: skip
    return folder


@pytest.mark.slow
def test_a_phantom_of_each_kind_of_supervision(root: Path) -> None:
    cases = Lnq2023Layout(root, root / "organs").cases()
    assert [(case.case_id, case.supervision) for case in cases] == [
        ("phantom-test-0001", "none"), ("phantom-train-0001", "full"),
        ("phantom-train-0002", "partial"), ("phantom-train-0003", "none"),
    ]  # fmt: skip
    record = json.loads((root / "phantom.json").read_text())["cases"]
    for case in cases[1:3]:
        assert case.label is not None
        marks = [node["annotated"] for node in record[case.case_id]["nodes"]]
        assert all(marks) == (case.supervision == "full")
        complete = read_label(root / "complete/train" / case.label.name, kind="instances").array
        label = read_label(case.label).array
        assert np.array_equal(label > 0, complete > 0) == all(marks)
    assert cases[3].label is None
    assert not any(node["annotated"] for node in record["phantom-train-0003"]["nodes"])
    assert (root / "complete/train/phantom-train-0003-seg.nrrd").is_file()


@pytest.mark.slow
def test_its_masks_are_its_background(root: Path) -> None:
    arguments = {"num_train": 3, "num_val": 0, "num_test": 1, "seed": 0, "size_yx": 48,
                 "num_full": 1, "num_none": 1}  # fmt: skip
    cases = listed(PhantomLayout(root, POLICY, **arguments, organs=True))
    written = names(root / "organs" / "phantom-train-0002")
    for case in cases:
        assert case.background
        mask = read_label(case.background[0])
        assert mask.grid.difference(read_image(case.image).grid) is None
    assert [path.name for path in cases[2].background] == [
        name for name in written if not name.startswith("lung")
    ]
    lungs = PhantomLayout(root, POLICY, **arguments, organs=True, background_names="lung").cases()
    assert {path.stem for path in lungs[2].background} <= {"lung_left", "lung_right"}
    layout = detect(root)
    assert layout.values["data.layout.background"] == str(root / "organs")
    with pytest.raises(UsageError, match="organs is True, not None"):
        listed(PhantomLayout(root, POLICY, **arguments))


def test_more_of_a_kind_than_training_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="num_full=2 and num_none=2 are more than num_train=3"):
        PhantomDataset(tmp_path, POLICY, num_train=3, num_full=2, num_none=2)


def test_a_strange_record_says_nothing(tmp_path: Path) -> None:
    scan = tmp_path / "train" / "a-ct.nrrd"
    scan.parent.mkdir()
    scan.write_bytes(b"x")
    for cases in (
        [],
        {"a": 3},
        {"a": {"supervision": "full"}},
        {"a": {"supervision": "much"}},
        {"b": {"supervision": "full"}},
    ):
        write_json(tmp_path / "phantom.json", {"cases": cases})
        assert Lnq2023Layout(tmp_path).cases()[0].supervision == "none"
