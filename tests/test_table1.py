"""The experiments of the paper's Table 1: each is its neighbour and one difference."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from support.runs import TINY

from lnq.config import CONF
from lnq.config.composition import compose, flat_items
from lnq.losses import PSEUDO_TERMS

Train = Callable[..., int]
ROWS = ("baseline", "a", "b", "c", "d", "e", "f", "g")
BESIDE = ("recommended", "complete")
"""Rows that the paper has not."""

# docs/explanation/method.md#table-1-the-papers-figures: network, terms of L_sup, L_p.
PAPER: dict[str, tuple[str, set[str], set[str]]] = {
    "baseline": ("VNet", {"ce"}, set()),
    "a": ("DualBranchVNet", {"ce"}, {"dice"}),
    "b": ("DualBranchVNet", {"ce", "tversky"}, {"dice"}),
    "c": ("DualBranchVNet", {"ce", "tversky"}, {"klce"}),
    "d": ("DualBranchVNet", {"sce", "tversky"}, {"klce"}),
    "e": ("DualBranchVNet", {"pce", "tversky"}, {"klce"}),
    "f": ("DualBranchVNet", {"pce", "sce", "tversky"}, {"klce"}),
    "g": ("DualBranchVNet", {"pce", "sce", "tversky"}, {"klce"}),
    "recommended": ("DualBranchVNet", {"ce", "tversky"}, {"klce"}),
    "complete": ("DualBranchVNet", {"ce", "dice"}, set()),
}
ABSENT = "absent"
DIFFERENCES: dict[str, dict[str, tuple[Any, Any]]] = {
    "a": {
        "network._target_": ("lnq.networks.VNet", "lnq.networks.DualBranchVNet"),
        "network.feature_dropout": (ABSENT, 0.5),
        "method.pseudo.dice": (0.0, 1.0),
        "callbacks.ramp_up": (None, ABSENT),
        "callbacks.ramp_up._target_": (ABSENT, "lnq.callbacks.RampUp"),
        "callbacks.ramp_up.t_max": (ABSENT, 99),
    },
    "b": {"method.supervised.tversky": (0.0, 1.0)},
    "c": {"method.pseudo.dice": (1.0, 0.0), "method.pseudo.klce": (0.0, 1.0)},
    "d": {"method.supervised.ce": (1.0, 0.0), "method.supervised.sce": (0.0, 1.0)},
    "e": {"method.supervised.sce": (1.0, 0.0), "method.supervised.pce": (0.0, 1.0)},
    "f": {"method.supervised.sce": (0.0, 1.0)},
    "g": {"init_from": (None, "${paths.outputs}/genesis")},
}


def leaves(*experiments: str) -> dict[str, Any]:
    """Every value of a composed experiment by its full key; nothing resolved."""
    cfg = compose("train", [f"+experiment=[{','.join(experiments)}]"])
    items = flat_items(OmegaConf.to_container(cfg))
    return {key: value for key, value in items if not isinstance(value, dict)}


def differences(one: dict[str, Any], other: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    pairs = {k: (one.get(k, ABSENT), other.get(k, ABSENT)) for k in one.keys() | other.keys()}
    return {key: pair for key, pair in pairs.items() if pair[0] != pair[1]}


@pytest.mark.slow
@pytest.mark.parametrize("overlay", [(), ("phantom",)], ids=["full", "phantom"])
def test_each_row_is_its_neighbour_and_one_difference(overlay: tuple[str, ...]) -> None:
    composed = {row: leaves(f"table1/{row}", *overlay) for row in ROWS}
    for before, row in itertools.pairwise(ROWS):
        expected = DIFFERENCES[row] | {"name": (f"table1_{before}", f"table1_{row}")}
        if overlay and row == "a":
            expected["callbacks.ramp_up.t_max"] = (ABSENT, 10)
        assert differences(composed[before], composed[row]) == expected, row


@pytest.mark.slow
def test_short_names_are_the_table_s_rows() -> None:
    baseline = differences(leaves("table1/baseline"), leaves("baseline"))
    assert baseline == {"name": ("table1_baseline", "baseline")}
    assert differences(leaves("table1/f"), leaves("dbdmp")) == {"name": ("table1_f", "dbdmp")}


@pytest.mark.parametrize("row", [*ROWS, *BESIDE])
def test_each_row_says_how_to_run_it_and_what_to_expect(row: str) -> None:
    head = (CONF / "experiment" / "table1" / f"{row}.yaml").read_text().split("\nname:")[0]
    assert f"python -m lnq.train +experiment=table1/{row}" in head
    assert f"[table1/{row},phantom]" in head
    assert ("validation DSC" in head) is (row not in BESIDE)
    assert ("The paper has no such row" in head) is (row in BESIDE)


def test_the_recommended_row_is_the_recommended_experiment() -> None:
    changed = differences(leaves("table1/recommended"), leaves("recommended"))
    assert changed == {"name": ("table1_recommended", "recommended")}


@pytest.fixture(scope="module")
def pretrained(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of Model Genesis."""
    from lnq.train import main

    folder = tmp_path_factory.mktemp("genesis") / "run"
    given = ["+experiment=genesis", *TINY, "trainer.max_epochs=1", "datamodule.steps_per_epoch=1"]
    with pytest.raises(SystemExit) as stop:
        main([*given, f"store={tiny_store}", f"run_dir={folder}"])
    assert not stop.value.code
    return folder


@pytest.mark.training
@pytest.mark.parametrize("row", [*ROWS, *BESIDE])
def test_each_row_takes_a_step_with_its_losses_alone(
    row: str, tiny_store: Path, pretrained: Path, tmp_path: Path, train: Train
) -> None:
    network, terms, pseudo = PAPER[row]
    given = [f"+experiment=[table1/{row},phantom]", *TINY]
    given += ["trainer.max_epochs=1", "datamodule.steps_per_epoch=1"]
    given += ["callbacks.ramp_up.t_max=0"] if pseudo else []
    given += [f"init_from={pretrained}"] if row == "g" else []
    run = tmp_path / "run"
    assert train(*given, f"store={tiny_store}", f"run_dir={run}") == 0
    with (run / "curves.csv").open() as handle:
        columns = {column for column in next(csv.reader(handle)) if column.startswith("train/")}
    expected = {"train/loss", "train/loss_sup", "train/lr", *(f"train/{term}" for term in terms)}
    expected |= {f"train/pseudo_{term}" for term in pseudo}
    expected |= {"train/loss_pseudo", "train/lambda_p"} if pseudo else set()
    assert columns == expected
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["config"]["network"]["_target_"] == f"lnq.networks.{network}"
    weights = manifest["config"]["method"]["pseudo"]
    assert weights == {term: float(term in pseudo) for term in PSEUDO_TERMS}
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert any("aux_decoder" in key for key in state) is (network == "DualBranchVNet")
    started = manifest["init_from"]
    assert (started is not None) is (row == "g")
    if started is not None:
        assert started["path"].startswith(str(pretrained))
        assert started["not_initialised"] == [
            f"{branch}_decoder.head.{name}"
            for branch in ("aux", "main")
            for name in ("bias", "weight")
        ]


@pytest.mark.slow
def test_row_g_never_starts_without_genesis_weights(
    tmp_path: Path, tiny_store: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (f"store={tiny_store}", f"run_dir={tmp_path}/run", f"paths.outputs={tmp_path}")
    assert train("+experiment=table1/g", *TINY, "callbacks.ramp_up.t_max=1", *given) == 2
    said = capsys.readouterr().err
    assert "no checkpoint" in said
    assert str(tmp_path / "genesis") in said
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("method.mode=paprika", "method.mode"),
        ("+method.pseudo.hard=1.0", "method.pseudo.hard"),
        ("method.pseudo=null", "method.pseudo=None"),
        ("method.supervised.dice=-1", "method.supervised.dice"),
        ("+method.supervised.focal=1.0", "method.supervised.focal"),
    ],
)
def test_what_the_table_does_not_know_is_refused(
    override: str, expected: str, tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert train("+experiment=table1/f", override, f"run_dir={tmp_path}/run") == 2
    assert expected in capsys.readouterr().err
