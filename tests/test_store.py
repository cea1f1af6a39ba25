"""The store: whole or not at all, resumed, rebuilt where damaged or stale."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.faults import OUT_OF_MEMORY
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
from lnq.files import sole_user, write_json
from lnq.inference.restore import to_scan_grid
from lnq.volume import Volume
from lnq.volume_file import write_volume

SETTINGS = Preprocessing(spacing_mm=(5.0, 4.0, 4.0))


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Two training cases and one for validation, without a label."""
    found = []
    for number, split in enumerate(("train", "train", "val")):
        image, label = (tmp_path / "data" / f"{kind}{number}.nrrd" for kind in ("ct", "seg"))
        scan = chest()
        scan.array[:, :, :2] += number
        write_volume(scan, image)
        if split == "train":
            node = ellipsoid(GRID, (0, 20, 10 * number), (15, 15, 15))
            write_volume(Volume(node.astype(np.uint8), GRID), label)
        kind = "partial" if split == "train" else "none"
        labelled = label if split == "train" else None
        found.append(Case(f"c{number}", image, labelled, split, kind, f"p{number}"))
    return found


@pytest.fixture
def root(tmp_path: Path, cases: list[Case]) -> Path:
    return new_store(tmp_path / "store", cases, SETTINGS)


def new_store(folder: Path, cases: list[Case], settings: Preprocessing) -> Path:
    ids = [case.case_id for case in cases]
    write_json(folder / "manifest.json", {"settings": settings.as_dict(), "cases": ids})
    return folder


def states(cases: list[Case], root: Path, num_workers: int = 0) -> dict[str, str]:
    return {o.case_id: o.reason or o.status for o in build_store(cases, root, num_workers)}


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


def test_foreground_is_a_fixed_sample(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lnq.data.store.case_store, "MAX_FOREGROUND", 20)
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


@pytest.mark.process
def test_processes_give_the_same_store(cases: list[Case], root: Path, tmp_path: Path) -> None:
    alone = new_store(tmp_path / "alone", cases, SETTINGS)
    assert states(cases, alone) == states(cases, root, num_workers=2)
    for case_id in ("c0", "c1", "c2"):
        one, two = (CaseStore(folder).image(case_id) for folder in (alone, root))
        assert np.array_equal(one, two)


KILLS = """
import os, signal, sys
from pathlib import Path
import lnq.data.store.building as building
import lnq.data.preparation.examination as examination
from lnq.data.case import Case

real = examination.read_image_with_notes
def read_image_with_notes(path):
    if path.name.startswith("ct1"):
        os.kill(os.getpid(), signal.SIGKILL)
    return real(path)
examination.read_image_with_notes = read_image_with_notes
if __name__ == "__main__":
    data, root = map(Path, sys.argv[1:])
    cases = [Case(f"c{n}", data / f"ct{n}.nrrd", None, "test", "none", "p") for n in range(3)]
    for outcome in building.build_store(cases, root, 2):
        print(outcome.case_id, outcome.status, flush=True)
"""


@pytest.mark.process
def test_killed_worker_costs_one_case_only(cases: list[Case], root: Path, tmp_path: Path) -> None:
    script = tmp_path / "kills.py"
    script.write_text(KILLS)
    done = subprocess.run(
        [sys.executable, script, cases[0].image.parent, root],
        capture_output=True, text=True, timeout=120, check=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert sorted(done.stdout.split("\n"))[1:] == ["c0 built", "c1 failed", "c2 built"]


@pytest.mark.process
def test_kill_while_writing_leaves_no_half_case(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = os.fork()
    if child == 0:
        monkeypatch.setattr(np, "save", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        build_case(cases[0], root)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert CaseStore(root).case_ids() == []
    assert states(cases[:1], root) == {"c0": "built"}


@pytest.mark.process
@pytest.mark.parametrize("change", ["stale", "broken"])
def test_kill_while_removing_leaves_no_half_case(
    change: str, cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_case(cases[0], root)
    scan = cases[0].image.read_bytes()
    cases[0].image.write_bytes(scan[:-1000])
    if change == "stale":
        write_volume(Volume(chest().array + np.int16(1), GRID), cases[0].image)
    child = os.fork()
    if child == 0:
        unlink = os.unlink

        def one_only(*args: Any, **kwargs: Any) -> None:
            unlink(*args, **kwargs)
            os.kill(os.getpid(), signal.SIGKILL)

        monkeypatch.setattr(os, "unlink", one_only)
        build_case(cases[0], root)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == signal.SIGKILL
    assert list((root / "cases").glob("[!.]*")) == []
    assert CaseStore(root).case_ids() == []
    states(cases[:1], root)
    assert list((root / "cases").glob(".*")) == []


def test_full_disk_stops_the_run(
    cases: list[Case], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(RunError, match="No space left"):
        states(cases[:1], root)
    assert list((root / "cases").iterdir()) == []


def test_what_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no preprocessed data"):
        CaseStore(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"stage": "train"}))
    with pytest.raises(UsageError, match="not a store"):
        CaseStore(tmp_path)


def test_second_run_is_kept_out(tmp_path: Path) -> None:
    refused = pytest.raises(UsageError, match="another run")
    with sole_user(tmp_path / "out"), refused, sole_user(tmp_path / "out"):
        pass
    with sole_user(tmp_path / "out"):
        assert (tmp_path / "out").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot write"), sole_user(tmp_path / "file" / "out"):
        pass
