"""Patients that training never sees: who they are, and that it never sees them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.runs import TINY
from support.stores import write_store

from lnq.data.datasets.patients import held_out_patients
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.store.case_store import CaseStore
from lnq.data.store.training_cases import training_cases
from lnq.errors import UsageError
from lnq.files import read_json

PATIENTS = [f"p{number}" for number in range(20)]


@pytest.mark.parametrize(("share", "number"), [(0, 0), (0.01, 1), (0.3, 6), (0.99, 19)])
def test_how_many_are_drawn(share: float, number: int) -> None:
    assert len(held_out_patients(PATIENTS, share, seed=0)) == number


def test_the_draw_is_by_seed_and_not_by_order() -> None:
    drawn = [held_out_patients(PATIENTS, 0.25, seed) for seed in range(20)]
    assert len(set(drawn)) > 15
    assert frozenset.union(*drawn) == set(PATIENTS)
    assert held_out_patients(PATIENTS[::-1], 0.25, seed=3) == drawn[3]


def test_a_new_patient_moves_at_most_one_other() -> None:
    before = held_out_patients(PATIENTS, 0.25, seed=0)
    for new in "abcdefgh":
        assert len(held_out_patients([*PATIENTS, new], 0.25, seed=0) - {new} ^ before) <= 1


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Three annotated patients, one of them complete and one with two scans; two who have none."""
    image, label = np.zeros((4, 8, 8), np.float32), np.zeros((4, 8, 8), np.uint8)
    label[1, 2, 3] = 1
    cases = {
        "one": (image, label, "train", "partial"),
        "two": (image, label, "train", "partial"),
        "two again": (image, None, "train", "none"),
        "complete": (image, label, "train", "full"),
        "empty": (image, 0 * label, "train", "partial"),
        "unread": (image, None, "train", "none"),
        "validation": (image, label, "val", "full"),
    }
    return write_store(tmp_path / "store", cases, {"two": "P", "two again": "P"})


def test_scans_of_a_patient_stay_together(store: Path) -> None:
    parts = [training_cases(CaseStore(store), 0.34, seed) for seed in range(30)]
    assert {tuple(part.held_out) for part in parts} == {
        ("one",), ("two", "two again"), ("complete",)
    }  # fmt: skip
    for part in parts:
        together = sorted([*part.trained, *part.held_out])
        assert together == ["complete", "empty", "one", "two", "two again", "unread"]


def test_without_a_holdout_all_are_trained_on(store: Path) -> None:
    everybody = ["one", "two", "two again", "complete", "empty", "unread"]
    part = training_cases(CaseStore(store), 0, 0)
    assert (part.trained, part.held_out) == (everybody, [])


def test_a_single_annotated_patient_cannot_be_held_out(tmp_path: Path) -> None:
    image, label = np.zeros((4, 8, 8), np.float32), np.ones((4, 8, 8), np.uint8)
    cases = {"a": (image, label, "train", "partial"), "b": (image, None, "train", "none")}
    made = CaseStore(write_store(tmp_path / "store", cases))
    assert training_cases(made, 0, 0).trained == ["a", "b"]
    with pytest.raises(UsageError, match=r"holdout=0.5\]: 1 training patient\(s\)"):
        training_cases(made, 0.5, 0)


def test_no_patch_is_cut_from_who_is_held_out(store: Path) -> None:
    part = training_cases(CaseStore(store), 0.34, seed=1)
    data = PatchDataModule(store, (2, 4, 4), seed=1, holdout=0.34)
    assert {data.patches[draw]["case_id"] for draw in range(12)} == set(part.trained)


@pytest.mark.training
def test_a_run_keeps_whom_it_did_not_see(
    tmp_path: Path, tiny_store: Path, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    given = ["+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=1", f"store={tiny_store}",
             f"run_dir={run}", "trainer.max_epochs=1"]  # fmt: skip
    assert train(*given, "datamodule.holdout=0.5") == 0
    (held,) = training_cases(CaseStore(tiny_store), 0.5, 0).held_out
    assert f"held out: {held}\n" in capsys.readouterr().out
    manifest = read_json(run / "manifest.json")
    record = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["lnq"]
    for kept in (manifest, record):
        assert kept["held_out"] == [held]
        assert sorted([*kept["cases"], held]) == ["a", "b"]
    assert train(*given, "datamodule.holdout=0.5", "ckpt_path=last") == 0
    assert train(*given, "datamodule.holdout=0.4", "ckpt_path=last") == 2
    assert "datamodule.holdout=0.4 (was 0.5)" in capsys.readouterr().err
