"""The collector: every run below a folder once, and Table 1 with the paper's figures beside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import SimpleITK as sitk

from lnq.collect import main
from lnq.errors import UsageError
from lnq.evaluation import evaluate_folders
from lnq.files import write_json
from lnq.reporting import collect
from lnq.reporting.table1 import ROWS, table1, to_latex, to_markdown
from lnq.resuming import is_trained
from lnq.run_folder import RunFolder
from lnq.runs.measuring import Measurement
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((8, 20, 24), (3.0, 1.5, 1.5))


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert isinstance(stop.value.code, int)
    return stop.value.code


def block(*places: int) -> Array:
    """A mask with a 2 x 4 x 4 node at each place of the y axis."""
    array = np.zeros(GRID.size, np.uint8)
    for place in places:
        array[2:4, place : place + 4, 3:7] = 1
    return array


def write(path: Path, array: Array) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(Volume(array, GRID)), path)


def record(folder: Path, name: str, seed: int, **config: Any) -> Path:
    """What training leaves, of what is collected; each seed has its own outputs."""
    outputs = folder.parent
    write_json(
        folder / "manifest.json",
        {"stage": "train", "command": ["lnq.train"], "versions": {}, "git_commit": None,
         "finished": "2026-01-01", "config": {
            "name": name, "seed": seed, "run_dir": str(folder), "paths": {"outputs": str(outputs)},
            "store": f"{outputs}/preprocess", "method": {"tau": 0.3, "mode": "paper"}, **config}},
    )  # fmt: skip
    return folder


def a_run(folder: Path, row: str, seed: int, predicted: dict[str, Array], **config: Any) -> None:
    """A run with an evaluation of `predicted` on two scans that hold nodes at 2 and 12."""
    record(folder, row, seed, **config)
    for case, mask in predicted.items():
        write(folder / "predictions" / f"{case}.nrrd", mask)
        write(folder.parent / f"references_{seed}" / f"{case}.nrrd", block(2, 12))
    evaluate_folders(
        folder / "predictions", folder.parent / f"references_{seed}", folder / "evaluation",
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    nothing, all_nodes, one = block(), block(2, 12), block(2)
    a_run(tmp_path / "s0/f", "table1_f", 0, {"p1": all_nodes, "p2": one})
    a_run(tmp_path / "s1/f", "table1_f", 1, {"p1": all_nodes, "p2": all_nodes})
    a_run(tmp_path / "s0/baseline", "table1_baseline", 0, {"p1": nothing, "p2": nothing})
    a_run(tmp_path / "s0/other", "mine", 0, {"p1": one, "p2": block(14)})
    genesis = record(tmp_path / "s0/genesis", "genesis", 0, method={"rate": 0.5})
    (genesis / "curves.csv").write_text("step,val/dice\n1,0.1\n2,0.25\n3,\n")
    training = RunFolder(tmp_path / "s0/f").training.evaluation
    for name, mask in (("predictions", one), ("references", all_nodes), ("partial", block(12))):
        write(training.parent / name / "t.nrrd", mask)
    evaluate_folders(
        training.parent / "predictions", training.parent / "references", training,
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
        annotations=training.parent / "partial",
    )  # fmt: skip
    return tmp_path


def test_every_run_once_and_those_without_an_evaluation_named(sweep: Path) -> None:
    found = collect(sweep)
    assert list(found.runs["run"]) == ["s0/baseline", "s0/f", "s0/genesis", "s0/other", "s1/f"]
    assert found.unevaluated == ["s0/genesis"]
    # Each seed's own store is no variation; genesis has another method.
    assert found.varied == ["method.mode", "method.rate", "method.tau"]
    assert len(found.cases) == 8
    runs = found.runs.set_index("run")
    # One node of two of 32 voxels each: 2 * 32 / (32 + 64).
    assert runs.loc["s0/f", "dice_mean"] == pytest.approx((1 + 2 / 3) / 2)
    assert runs.loc["s0/f", "dice_sd"] == pytest.approx(1 / 6)
    assert runs.loc["s0/f", "num_nodes_found"] == 3
    quartiles = runs.loc["s0/f", ["dice_q25", "dice_median", "dice_q75"]].tolist()
    assert quartiles == pytest.approx([0.75, 5 / 6, 11 / 12])
    assert runs.loc["s0/other", "assd_filled_median_mm"] == pytest.approx(
        found.cases.set_index("run").loc["s0/other", "assd_filled_mm"].mean()
    )
    assert runs.loc["s0/genesis", "val/dice"] == 0.25
    assert runs.loc["s0/genesis", ["num_cases", "dice_mean"]].isna().all()
    assert runs["finished"].all()
    # The node at 2 was never annotated and is found; other runs have no such evaluation.
    assert runs.loc["s0/f", ["num_hidden", "num_hidden_found"]].tolist() == [1, 1]
    assert pd.isna(runs.loc["s1/f", "num_hidden"])


def test_missing_assd_is_filled_by_the_largest_of_all_runs(sweep: Path) -> None:
    found = collect(sweep)
    largest = found.cases["assd_mm"].max()
    assert largest > 0
    runs = found.runs.set_index("run")
    assert runs.loc["s0/baseline", "num_missing"] == 2
    assert runs.loc["s0/baseline", "assd_filled_mean_mm"] == pytest.approx(largest)
    assert runs.loc["s0/f", "assd_filled_mean_mm"] < largest


def test_table1_pools_seeds_in_the_papers_order(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"sweep={sweep}", f"paths.outputs={tmp_path}") == 0
    assert "without an evaluation: s0/genesis\n" in capsys.readouterr().out
    lines = (sweep / "collection/table1.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, baseline, f = rows[0], *rows[2:]
    assert [baseline[0], f[0]] == ["baseline", "f"]
    f_row = dict(zip(head, f, strict=True))
    assert f_row["DSC %"] == f"{100 * (3 + 2 / 3) / 4:.2f}±{100 * np.std([1, 1, 1, 2 / 3]):.2f}"
    assert f_row["by seed"] == "83.3, 100.0"
    assert f_row["nodes found"] == "88 % of 8"
    assert f_row["hidden nodes found"] == "100 % of 1"
    assert f_row["paper: test DSC %"] == "56.10±17.58"
    assert f_row["paper: val DSC %"] == "53.31±20.40"
    assert f_row["paper: val ASSD mm"] == "8.07±6.55"
    assert dict(zip(head, baseline, strict=True))["empty"] == "2 of 2"
    latex = (sweep / "collection/table1.tex").read_text()
    assert r"\toprule" in latex
    assert r"56.10 $\pm$ 17.58" in latex
    assert r"88 \% of 8" in latex
    assert len(pd.read_csv(sweep / "collection/runs.csv")) == 5


def test_rows_of_table1_are_parted_by_what_differs_and_named_by_their_mode(sweep: Path) -> None:
    right, wrong, f = {"p1": block(2, 12)}, {"p1": block()}, "table1_f"
    original = {"tau": 0.3, "mode": "original"}
    for seed in (0, 1):
        a_run(sweep / f"s{seed}/f_original", f, seed, wrong, method=original)
    a_run(sweep / "s0/f_lr", f, 0, right, optimizer={"lr": 0.02})
    a_run(sweep / "s0/e", "table1_e", 0, right, method=original)
    table = table1(collect(sweep)).set_index("row")
    assert list(table.index) == [
        "baseline", "e (original)", "f", "f (optimizer.lr=0.02)", "f (original)",
    ]  # fmt: skip
    assert table.loc["f (original)", "by seed"] == "0.0, 0.0"


def test_a_sweep_of_any_key_without_evaluations_is_a_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for lr in (0.01, 0.02):
        folder = tmp_path / f"lr-{lr}_seed-0"
        record(folder, "dbdmp", 0, optimizer={"lr": lr}, callbacks={"trial": {"number": lr}})
        (folder / "curves.csv").write_text(f"step,val/dice\n1,{lr}\n")
    assert run(f"sweep={tmp_path}", f"paths.outputs={tmp_path}") == 0
    assert "lr-0.01_seed-0   dbdmp        0.010" in capsys.readouterr().out
    runs = pd.read_csv(tmp_path / "collection/runs.csv")
    assert list(runs.columns[:7]) == [
        "run", "experiment", "seed", "method.mode", "optimizer.lr", "finished", "val/dice",
    ]  # fmt: skip
    assert runs["optimizer.lr"].to_list() == runs["val/dice"].to_list() == [0.01, 0.02]
    assert runs["dice_mean"].isna().all()


def test_without_rows_of_table1_all_runs_are_shown(
    sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = sweep / "s0/other"
    assert run(f"sweep={other}", f"output={tmp_path / 'o'}", f"paths.outputs={tmp_path}") == 0
    assert "mine" in capsys.readouterr().out
    assert not (tmp_path / "o/table1.md").exists()


def test_nothing_to_collect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(f"sweep={tmp_path}", f"paths.outputs={tmp_path}") == 2
    assert "no training run lies below it" in capsys.readouterr().err


@pytest.mark.parametrize(
    "damage",
    ["{", '{"stage": "train"}', '{"stage": "train", "config": []}',
     '{"stage": "train", "config": {"name": "a"}}',
     '{"stage": "train", "config": {"name": [1], "seed": 0}}',
     '{"stage": "train", "config": {"name": "a", "seed": 0, "paths": 1}}'],
)  # fmt: skip
def test_a_damaged_manifest_is_told(
    sweep: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folder = next(path.parent for path in sorted(sweep.rglob("evaluation")))
    (folder / "config.yaml").touch()
    (folder / "manifest.json").write_text(damage)
    assert run(f"sweep={sweep}") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: the run's manifest is damaged")
    assert str(folder / "manifest.json") in said
    with pytest.raises(UsageError, match="damaged"):
        is_trained(RunFolder(folder), {})


@pytest.mark.parametrize(
    ("file", "damage"),
    [("predictions/manifest.json", "[]"), ("predictions/manifest.json", "{"),
     ("predictions/manifest.json", '{"cases": 1}'), ("evaluation/manifest.json", "{}"),
     ("evaluation/metrics.csv", "case\n"), ("predictions/x-seg.nrrd", None)],
)  # fmt: skip
def test_a_measurement_stands_where_its_files_do(
    tmp_path: Path, file: str, damage: str | None
) -> None:
    measurement = Measurement(
        tmp_path / "in", tmp_path / "references", tmp_path, "instances", 0.5, 0.5, None, {}
    )
    for name in ("predictions", "references"):
        write(tmp_path / name / "x-seg.nrrd", block(2))
    evaluate_folders(
        tmp_path / "predictions", tmp_path / "references", tmp_path / "evaluation",
        config=measurement.record(), reference_kind="instances", min_overlap=0.5,
    )  # fmt: skip
    mask = {"case": "x", "image": "x.nrrd", "mask": "x-seg.nrrd"}
    manifest = {"stage": "predict", "config": measurement.record(), "cases": [mask]}
    write_json(tmp_path / "predictions" / "manifest.json", manifest)
    assert measurement.stands()
    assert not replace(measurement, min_overlap=0.4).stands()
    if damage is None:
        (tmp_path / file).unlink()
        assert not measurement.stands()
        return
    (tmp_path / file).write_text(damage)
    with pytest.raises(UsageError, match=r"(damaged|not a whole evaluation).*\. R"):
        measurement.stands()


def test_published_rows_and_formats() -> None:
    # The ranking of the published test DSC, and a checksum of every figure:
    # docs/explanation/method.md#table-1-the-papers-figures.
    dice = {name: row.test_dice[0] for name, row in ROWS.items() if row.test_dice}
    assert sorted(dice, key=dice.__getitem__) == ["baseline", "a", "d", "c", "b", "g", "f", "e"]
    figures = [
        value
        for row in ROWS.values()
        for pair in (row.validation_dice, row.validation_assd, row.test_dice, row.test_assd)
        for value in pair or ()
    ]
    assert sum(figures) == pytest.approx(1364.92, abs=0.005)
    table = pd.DataFrame({"L_p": ["50 % a_b"], "x": ["1±2"]})
    assert to_markdown(table) == "| L_p | x |\n| --- | --- |\n| 50 % a_b | 1±2 |\n"
    assert r"50 \% a\_b & 1 $\pm$ 2" in to_latex(table)
