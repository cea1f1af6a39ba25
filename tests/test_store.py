"""The store: whole or not at all, resumed, rebuilt where damaged or stale."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import OUT_OF_MEMORY
from support.small_store import SETTINGS, new_store, states, write_dataset
from support.synthetic_chest import GRID, chest, ellipsoid

import lnq.data.store.case_store
from lnq.data.case import Case
from lnq.data.chest import lungs
from lnq.data.preparation import preprocessing
from lnq.data.preparation.label_field import SURFACE, annotated, decoded
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.building import build_case, build_store
from lnq.data.store.case_store import CaseStore
from lnq.errors import CaseError, RunError, UsageError
from lnq.inference.restore import to_scan_grid
from lnq.volume import Volume
from lnq.volume_file import write_volume


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    return write_dataset(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path, cases: list[Case]) -> Path:
    return new_store(tmp_path / "store", cases, SETTINGS)


@pytest.mark.slow
def test_store_gives_back_what_was_prepared(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    search = lungs.find_body
    monkeypatch.setattr(lungs, "find_body", lambda given: looked.append(1) or search(given))
    assert states(cases, root) == {"c0": "built", "c1": "built", "c2": "built"}
    store = CaseStore(root)
    assert store.settings == SETTINGS.as_dict()
    assert len(looked) == 3  # once a case
    assert store.case_ids() == ["c0", "c1", "c2"]
    assert store.case_ids(split="train") == ["c0", "c1"]
    assert store.case_ids(supervision="none") == ["c2"]
    image, label, record = store.image("c0"), store.label("c0"), store.record("c0")
    assert isinstance(image, np.memmap)
    assert not image.flags.writeable
    assert (image.dtype, image.shape) == (np.float16, record.grid.size)
    expected = SETTINGS.apply(chest()).volume
    assert record.grid.difference(expected.grid) is None
    assert np.abs(image - expected.array).max() < 5e-3
    assert label is not None
    assert record.num_foreground == label.sum() > 0
    field = store.label_field("c0")
    assert isinstance(field, np.memmap)
    assert np.array_equal(label, annotated(field))
    assert np.array_equal(store.foreground("c0"), np.argwhere(label))
    assert record.source_grid.difference(GRID) is None
    assert record.lungs_found
    assert store.label("c2") is None
    assert store.foreground("c2").shape == (0, 3)


def test_stored_labels_of_thin_slices_come_back_where_their_masks_do_not(
    cases: list[Case], tmp_path: Path
) -> None:
    coarse = new_store(tmp_path / "coarse", cases, Preprocessing(spacing_mm=(12.0, 4.0, 4.0)))
    states(cases[:1], coarse)
    store = CaseStore(coarse)
    field, mask, grid = store.label_field("c0"), store.label("c0"), store.record("c0").grid
    assert field is not None
    assert mask is not None
    given = ellipsoid(GRID, (0, 20, 0), (15, 15, 15))
    dice = []
    for array in (decoded(field), mask.astype(np.float32)):
        restored = to_scan_grid(Volume(array, grid), GRID).array > SURFACE
        dice.append(2 * (restored & given).sum() / (restored.sum() + given.sum()))
    assert dice[0] >= 0.97 > 0.95 > dice[1]


@pytest.mark.slow
def test_foreground_is_a_fixed_sample(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lnq.data.store.case_arrays.MAX_FOREGROUND", 20)
    states(cases[:1], root)
    first = np.array(CaseStore(root).foreground("c0"))
    label = CaseStore(root).label("c0")
    assert first.shape == (20, 3)
    assert label is not None
    assert label[tuple(first.T)].all()
    assert len(np.unique(first, axis=0)) == 20
    (root / "cases" / "c0" / "case.json").unlink()
    states(cases[:1], root)
    assert np.array_equal(CaseStore(root).foreground("c0"), first)


@pytest.mark.slow
def test_finished_cases_are_not_done_again(cases: list[Case], root: Path) -> None:
    states(cases[:2], root)
    before = (root / "cases" / "c0" / "image.npy").stat().st_mtime_ns
    assert states(cases, root) == {"c0": "kept", "c1": "kept", "c2": "built"}
    assert (root / "cases" / "c0" / "image.npy").stat().st_mtime_ns == before


@pytest.mark.slow
@pytest.mark.parametrize("name", ["image.npy", "label_field.npy", "foreground.npy"])
@pytest.mark.parametrize("damage", ["truncated", "flipped", "gone"])
def test_damaged_arrays_are_rebuilt(name: str, damage: str, cases: list[Case], root: Path) -> None:
    states(cases[:1], root)
    file = root / "cases" / "c0" / name
    sound = file.read_bytes()
    if damage == "truncated":
        file.write_bytes(sound[: len(sound) // 2])
    elif damage == "flipped":
        file.write_bytes(sound[:-5] + bytes([sound[-5] ^ 1]) + sound[-4:])
    else:
        file.unlink()
    if damage != "flipped":
        with pytest.raises(CaseError, match="preprocessed array"):
            {
                "image.npy": CaseStore(root).image,
                "label_field.npy": CaseStore(root).label,
                "foreground.npy": CaseStore(root).foreground,
            }[name]("c0")
    assert states(cases[:1], root) == {"c0": f"{name} is damaged"}
    assert file.read_bytes() == sound


RECORDS = {
    "cut short": lambda text: text[: len(text) // 2],
    "a digit more": lambda text: text.replace('"sd": ', '"sd": 1'),
    "a key flipped": lambda text: text.replace('"size"', '"sixe"'),
    "its record a list": lambda text: json.dumps({**json.loads(text), "record": [1, 2]}),
    "a list": lambda text: "[]",
    "no checksum": lambda text: text.replace('"sha256":', '"sha257":'),
    "no text": lambda text: "\udcff",
}


@pytest.mark.parametrize("damage", RECORDS)
@pytest.mark.slow
def test_damaged_record_is_rebuilt(damage: str, cases: list[Case], root: Path) -> None:
    states(cases[:1], root)
    file = root / "cases" / "c0" / "case.json"
    sound = file.read_text()
    file.write_text(RECORDS[damage](sound), errors="surrogateescape")
    assert file.read_bytes() != sound.encode()
    for use in (CaseStore.case_ids, lambda store: store.image("c0")):  # as training does
        with pytest.raises(RunError, match=r"case\.json.*Run lnq\.preprocess again"):
            use(CaseStore(root))
    assert states(cases[:1], root) == {"c0": "its record cannot be read"}
    assert file.read_text() == sound


@pytest.mark.slow
def test_stale_cases_are_rebuilt(cases: list[Case], root: Path) -> None:
    states(cases, root)
    scan = chest()
    scan.array[0, 0, 0] += 1
    write_volume(scan, cases[0].image)
    changed = [cases[0], replace(cases[1], split="val"), cases[2]]
    assert states(changed, root) == {
        "c0": "the scan or its label has changed",
        "c1": "its split, supervision or group has changed",
        "c2": "kept",
    }
    other = Preprocessing(spacing_mm=(5.0, 5.0, 5.0))
    new_store(root, cases, other)
    assert CaseStore(root).case_ids() == []
    assert set(states(changed, root).values()) == {"it was made with other settings"}
    assert CaseStore(root).image("c0").shape == other.apply(chest()).volume.grid.size


@pytest.mark.slow
def test_what_another_version_of_the_preprocessing_made_is_rebuilt(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as earlier:
        for module in (preprocessing, lnq.data.store.case_store):
            earlier.setattr(module, "ALGORITHM", 1)
        new_store(root, cases, SETTINGS)
        assert set(states(cases, root).values()) == {"built"}
    with pytest.raises(UsageError, match=r"another version of lnq.*Run lnq\.preprocess again"):
        CaseStore(root)  # as training does
    new_store(root, cases, SETTINGS)
    assert CaseStore(root).case_ids() == []
    assert set(states(cases, root).values()) == {"it was made by another version"}
    assert set(states(cases, root).values()) == {"kept"}


@pytest.mark.slow
def test_bad_case_fails_alone_and_leaves_nothing_stale(cases: list[Case], root: Path) -> None:
    states(cases, root)
    cases[1].image.write_bytes(cases[1].image.read_bytes()[:-1000])
    outcomes = {o.case_id: o for o in build_store(cases, root, 0)}
    error = outcomes["c1"].error
    assert error is not None
    assert str(cases[1].image) in str(error)
    assert (outcomes["c0"].status, outcomes["c2"].status) == ("kept", "kept")
    assert CaseStore(root).case_ids() == ["c0", "c2"]


@pytest.mark.slow
@pytest.mark.parametrize("error", OUT_OF_MEMORY)
def test_too_little_memory_costs_one_case_only(
    error: Exception, cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply = Preprocessing.apply
    given = iter((error, None, RuntimeError("a mistake of ours")))

    def hungry(*arguments: Any) -> Any:
        if fault := next(given):
            raise fault
        return apply(*arguments)

    monkeypatch.setattr(Preprocessing, "apply", hungry)
    outcomes = list(build_store(cases[:2], root, 0))
    assert [one.status for one in outcomes] == ["failed", "built"]
    assert "not enough memory" in str(outcomes[0].error)
    assert str(cases[0].image) in str(outcomes[0].error)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        build_case(cases[0], root)


@pytest.mark.slow
def test_empty_label_and_nodes_outside_the_crop_are_noted(cases: list[Case], root: Path) -> None:
    empty = np.zeros(GRID.size, np.uint8)
    assert cases[0].label is not None
    write_volume(Volume(empty, GRID), cases[0].label)
    record = build_case(cases[0], root).record
    assert record is not None
    assert record.num_foreground == 0
    assert "no annotated voxel" in record.notes[0]
    empty[0:2, 30:40, 45:50] = 1
    write_volume(Volume(empty, GRID), cases[0].label)
    record = build_case(cases[0], root).record
    assert record is not None
    assert "100% of the annotation" in record.notes[0]


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no preprocessed data"):
        CaseStore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"stage": "train"}))
    with pytest.raises(UsageError, match="not a store"):
        CaseStore(tmp_path)
