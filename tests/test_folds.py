"""Cross-validation by patient: who is left out, that training never sees them, one table."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.runs import TINY
from support.stores import write_store
from test_sweeps import planned

import lnq.collect
import lnq.preprocess
from lnq import export
from lnq.data.case import Supervision
from lnq.data.datasets.folds import Fold, best_supervision, drawn_folds
from lnq.data.datasets.nnunet import NnunetLayout
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.store.case_store import CaseStore
from lnq.data.store.training_cases import training_cases
from lnq.errors import UsageError
from lnq.files import write_json
from lnq.networks.transfer import read_record
from lnq.volume import Grid, Volume
from lnq.volume_file import write_volume

KINDS: dict[str, Supervision] = {
    **{f"c{number}": "full" for number in range(7)},
    **{f"p{number}": "partial" for number in range(11)},
    **{f"n{number}": "none" for number in range(3)},
}


@pytest.mark.parametrize("count", [2, 3, 5])
def test_folds_part_the_patients_evenly(count: int) -> None:
    folds = drawn_folds(KINDS, count, seed=0)
    assert sorted(patient for fold in folds for patient in fold) == sorted(KINDS)
    for kind in ("", "c", "p", "n"):
        sizes = [sum(patient.startswith(kind) for patient in fold) for fold in folds]
        assert max(sizes) - min(sizes) <= 1, kind


def test_folds_are_drawn_by_seed_and_not_by_order() -> None:
    drawn = [drawn_folds(KINDS, 5, seed) for seed in range(10)]
    assert len({fold for folds in drawn for fold in folds}) > 40
    assert drawn_folds(dict(reversed(KINDS.items())), 5, 3) == drawn[3]


def test_the_best_supervision_of_a_patient_counts() -> None:
    told = [("a", "none"), ("b", "partial"), ("a", "full"), ("b", "none"), ("a", "partial")]
    assert best_supervision(told) == {"a": "full", "b": "partial"}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Six patients of `train` and `val`, one of them with a scan in each kind of supervision."""
    image, label = np.zeros((4, 8, 8), np.float32), np.zeros((4, 8, 8), np.uint8)
    label[1, 2, 3] = 1
    cases = {
        "a": (image, label, "train", "partial"), "b": (image, label, "train", "partial"),
        "b again": (image, None, "train", "none"), "c": (image, label, "train", "full"),
        "d": (image, None, "train", "none"), "v": (image, label, "val", "full"),
        "w": (image, label, "val", "full"), "t": (image, label, "test", "full"),
    }  # fmt: skip
    return write_store(tmp_path / "store", cases, {"b again": "b"})


def test_every_patient_is_left_out_once(store: Path) -> None:
    pool = ["a", "b", "b again", "c", "d", "v", "w"]
    parts = [training_cases(CaseStore(store), 0, 0, Fold(number, 3)) for number in range(3)]
    assert sorted(case for part in parts for case in part.held_out) == pool
    for part in parts:
        assert sorted([*part.trained, *part.held_out]) == pool
        assert ("b" in part.held_out) == ("b again" in part.held_out)
        assert part.validated == [case for case in part.held_out if case in "cvw"]
        assert len(part.validated) == 1  # of three completely annotated patients
    with pytest.raises(UsageError, match=r"datamodule.fold=6\]: 6 patients of .* Lower"):
        training_cases(CaseStore(store), 0, 0, Fold(6, 7))


def test_training_never_sees_a_fold_and_validates_on_it(store: Path) -> None:
    for number in range(3):
        part = training_cases(CaseStore(store), 0, 1, Fold(number, 3))
        data = PatchDataModule(store, (2, 4, 4), seed=1, fold=number, folds=3)
        assert {data.patches[draw]["case_id"] for draw in range(14)} == set(part.trained)
        (volumes,) = data.val_dataloader()
        assert [batch["case_id"] for batch in volumes] == [[case] for case in part.validated]


FOLDS = [{"train": ["a", "b", "b again", "v"], "val": ["c", "d", "w"]},
         {"train": ["c", "d", "w"], "val": ["v", "a", "b", "b again"]}]  # fmt: skip


def test_folds_of_nnunet_are_taken(store: Path, tmp_path: Path) -> None:
    write_json(tmp_path / "splits_final.json", FOLDS)
    for number, fold in enumerate(FOLDS):
        chosen = Fold(number, splits=tmp_path / "splits_final.json")
        part = training_cases(CaseStore(store), 0, 5, chosen)
        assert sorted(part.trained) == sorted(fold["train"])
        assert sorted(part.held_out) == sorted(fold["val"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("[", "no fold 0"),
        ("[]", "no fold 0"),
        ('[{"train": ["a"]}]', "no fold 0"),
        (json.dumps(FOLDS).replace('"d"', '"e"'), "e is not among the cases and|d is not in it"),
        (json.dumps(FOLDS).replace('"d", ', ""), "of other cases: d is not in it"),
        (json.dumps(FOLDS).replace('"b again", "v"], "val": [', '"v"], "val": ["b again", '),
         "patients are in train and val: those of b again"),
    ],
)  # fmt: skip
def test_other_folds_are_refused(content: str, told: str, store: Path, tmp_path: Path) -> None:
    (tmp_path / "splits.json").write_text(content)
    with pytest.raises(UsageError, match=rf"these folds cannot be used.*({told})"):
        training_cases(CaseStore(store), 0, 0, Fold(0, splits=tmp_path / "splits.json"))


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["datamodule.fold=5"], "datamodule.fold=5: they are 5, from 0 on"),
        (["datamodule.fold=0", "datamodule.folds=1"], "datamodule.folds=1"),
        (["datamodule.fold=0", "datamodule.holdout=0.1"], "datamodule.holdout: the fold holds"),
        (["datamodule.splits=x.json"], "datamodule.splits: give datamodule.fold=N"),
        (["measure=held_out", "measure.test.input=a", "measure.test.references=b"],
         "measure.test.held_out: nobody is held out"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(
    arguments: list[str], told: str, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("+experiment=dbdmp", *arguments) == 2
    assert told in capsys.readouterr().err


@pytest.mark.slow
def test_the_sweep_has_a_run_a_fold() -> None:
    sweep = planned("+experiment=dbdmp", "+sweep=folds", "paths.outputs=out")
    assert [job.name for job in sweep.jobs] == [f"fold-{number}_seed-0" for number in range(5)]
    assert sweep.folder == Path("out/sweeps/dbdmp_folds")
    assert [job.config.fold for job in sweep.jobs] == [Fold(number) for number in range(5)]


@pytest.mark.slow
def test_an_export_lists_folds_by_patient(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    grid = Grid((6, 8, 8), (3.0, 1.0, 1.0))
    rows = ["id,image,label,supervision,split,group"]
    for number in range(6):
        name, split = f"s{number}", "val" if number == 5 else "train"
        for folder, kind in (("images", np.int16), ("labels", np.uint8)):
            array = np.zeros(grid.size, kind)
            array[2:4, 3:5, 4] = 1
            write_volume(Volume(array, grid), tmp_path / "data" / folder / f"{name}.nrrd")
        kind = "full" if split == "val" else "partial"
        group = "two" if number < 2 else name
        rows.append(f"{name},images/{name}.nrrd,labels/{name}.nrrd,{kind},{split},{group}")
    (tmp_path / "data" / "cases.csv").write_text("\n".join(rows) + "\n")

    def exported(*more: str) -> int:
        with pytest.raises(SystemExit) as stop:
            export.main([f"data.root={tmp_path}/data", f"output={tmp_path}/raw", *more])
        return int(stop.value.code or 0)

    assert exported("folds=3", "seed=4") == 0
    folder = tmp_path / "raw" / "Dataset501_LNQ"
    folds = json.loads((folder / "splits_final.json").read_text())
    assert sorted(case for fold in folds for case in fold["val"]) == [f"s{n}" for n in range(6)]
    kinds: dict[str, Any] = {"two": "partial", "s2": "partial", "s3": "partial", "s4": "partial",
                             "s5": "full"}  # fmt: skip
    for number, (fold, held) in enumerate(zip(folds, drawn_folds(kinds, 3, 4), strict=True)):
        assert {"two" if case in ("s0", "s1") else case for case in fold["val"]} == held
        cases = NnunetLayout(folder, fold=number).cases()
        assert [case.case_id for case in cases if case.split == "val"] == fold["val"]
    assert exported("folds=6") == 2
    assert "fewer patients than folds [folds=6]: 5 have labels" in capsys.readouterr().err


@pytest.mark.training
def test_each_case_is_measured_once_and_put_into_one_table(
    tmp_path: Path, train: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ["data.layout.num_train=4", "data.layout.num_val=0", "data.layout.num_test=0"]
    with pytest.raises(SystemExit) as stop:
        lnq.preprocess.main([
            "data=phantom", f"paths.outputs={tmp_path}", *sizes, "data.layout.size_yx=64",
            "num_workers=0", "preprocessing.spacing_mm=[6,5,5]", "preprocessing.normalisation=ct",
        ])  # fmt: skip
    assert not stop.value.code
    command = [
        "-m", "+experiment=[dbdmp,phantom]", *TINY, f"paths.outputs={tmp_path}",
        "datamodule.patch_size=[8,32,32]", "datamodule.steps_per_epoch=2", "network.widths=[2,4,8]",
        "network.dropouts=[0.05,0.1]", "callbacks.ramp_up.t_max=1", "trainer.max_epochs=1",
        "datamodule.folds=2", "datamodule.fold=0,1", "measure=held_out",
        f"measure.test.input={tmp_path}/phantom/train", "measure.test.reference_kind=instances",
        f"measure.test.references={tmp_path}/phantom/complete/train",
        "postprocess@measure.test.postprocess=none",
    ]  # fmt: skip
    assert train(*command) == 0
    folder = tmp_path / "sweeps" / "dbdmp"
    names = [f"phantom-train-{number:04d}" for number in range(1, 5)]
    measured = []
    for number in (0, 1):
        run = folder / f"fold-{number}_seed-0"
        record = read_record(run / "checkpoints" / "last.ckpt")
        evaluated = pd.read_csv(run / "evaluation" / "metrics.csv")["case"].tolist()
        assert evaluated == sorted(record.held_out)
        assert sorted([*evaluated, *(record.cases or [])]) == names
        measured += evaluated
    assert sorted(measured) == names
    capsys.readouterr()
    assert train(*command) == 0
    assert "2 are finished and skipped" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        lnq.collect.main([f"sweep={folder}"])
    assert not stop.value.code
    printed = capsys.readouterr().out
    assert re.search(r"dbdmp +0 +2 +4 +- +\d\S+±\S+\d +\S+ +\d+/\d", printed), printed
    (row,) = pd.read_csv(folder / "collection" / "folds.csv").to_dict("records")
    cases = pd.read_csv(folder / "collection" / "cases.csv")
    assert (row["experiment"], row["num_folds"], row["num_cases"]) == ("dbdmp", 2, 4)
    assert row["dice_mean"] == pytest.approx(cases["dice"].mean())
    assert row["num_nodes"] == cases["nodes"].sum()
