"""Configuration: everything wrong is told at once, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.runs import TINY

from lnq import preprocess
from lnq.config import CONF, command
from lnq.config.command import parse
from lnq.config.composition import compose
from lnq.errors import ConfigError
from lnq.evaluate import EvaluateConfig
from lnq.train import GIVEN, TrainConfig

EXPERIMENTS = sorted(
    str(path.relative_to(CONF / "experiment").with_suffix(""))
    for path in (CONF / "experiment").glob("*.yaml")
)
OVERLAID = [["genesis", "phantom"], ["dbdmp", "phantom"], ["baseline", "phantom"]]

Train = Callable[..., int]


@pytest.mark.training
@pytest.mark.parametrize("names", [*([name] for name in EXPERIMENTS), *OVERLAID], ids="+".join)
def test_every_experiment_takes_a_step(
    names: list[str], tiny_store: Path, tmp_path: Path, train: Train
) -> None:
    ramp = "ramp_up.t_max=0" if {"genesis", "baseline"}.isdisjoint(names) else "ramp_up=null"
    code = train(
        f"+experiment=[{','.join(names)}]", *TINY, "datamodule.steps_per_epoch=1",
        "trainer.max_epochs=1", "trainer.check_val_every_n_epoch=1", f"callbacks.{ramp}",
        f"store={tiny_store}", f"run_dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()
    rows = (tmp_path / "run" / "curves.csv").read_text().splitlines()
    assert "train/loss" in rows[0]


@pytest.mark.training
def test_pre_training_with_the_original_s_corruption_takes_a_step(
    tiny_store: Path, tmp_path: Path, train: Train
) -> None:
    code = train(
        "+experiment=genesis", "augmentation@datamodule.transform=genesis_original", *TINY,
        "datamodule.steps_per_epoch=1", "trainer.max_epochs=1", f"store={tiny_store}",
        f"run_dir={tmp_path}/run",
    )  # fmt: skip
    assert code == 0
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.slow
def test_the_corruption_comes_last_so_that_the_target_is_mirrored_too(
    composed: Callable[..., list[TrainConfig]],
) -> None:
    for name in ("genesis", "genesis_original"):
        (cfg,) = composed("+experiment=genesis", f"augmentation@datamodule.transform={name}")
        transforms = cfg.datamodule["transform"]["transforms"]
        assert list(transforms) == ["mirroring", "corruption"]


@pytest.mark.slow
def test_an_experiment_changes_what_it_says(composed: Callable[..., list[TrainConfig]]) -> None:
    (genesis,) = composed("+experiment=genesis")
    assert genesis.method["_target_"] == "lnq.methods.Genesis"
    assert genesis.optimizer["momentum"] == 0.99
    assert genesis.callbacks["ramp_up"] is None
    (baseline,) = composed("+experiment=baseline", "method.gamma=0.5")
    assert baseline.network["_target_"] == "lnq.networks.VNet"
    assert baseline.method["pseudo"] == {"klce": 0.0, "dice": 0.0}
    assert baseline.method["gamma"] == 0.5
    assert baseline.name == "baseline"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["stor=x"], ["stor", "did you mean store?"]),
        (["+stor=x"], ["stor: no such key", "did you mean store?"]),
        (["method.tua=0.1"], ["method.tua", "did you mean method.tau?"]),
        (["+method.tua=0.1"], ["method.tua", "did you mean tau?"]),
        (["+method.inferer.overlapp=0.1"], ["method.inferer.overlapp", "did you mean overlap?"]),
        (["+callbacks.rampup.t_max=3"], ["callbacks.rampup has no _target_", "ramp_up"]),
        (["network=dual_branch"], ["network=dual_branch", "did you mean dual_branch_vnet?"]),
        (["+experiment=dbmdp"], ["experiment=dbmdp", "did you mean dbdmp?"]),
        (["experiment=dbdmp"], ["write +experiment=dbdmp"]),
        (["method.tau=0"], ["method.tau=0", "greater than 0"]),
        (["method.alpha=1.5"], ["method.alpha=1.5", "less than or equal to 1"]),
        (["method.pseudo.dice2=1"], ["method.pseudo.dice2"]),
        (["network.dropouts.0=2"], ["network.dropouts"]),
        (["datamodule.foreground_share=-0.1"], ["datamodule.foreground_share=-0.1"]),
        (["seed=-1"], ["seed=-1", "greater than or equal to 0"]),
        (["trainer.max_epochs=abc"], ["trainer.max_epochs", "abc"]),
        (["trainer.max_epochs=-1"], ["trainer.max_epochs=-1", "at least 1"]),
        (["trainer.max_epochs=0"], ["trainer.max_epochs=0", "at least 1"]),
        (["datamodule.known_background.ring_mm=4"],
         ["ring_mm=4", "method.mode=paper knows no", "use method.mode=recommended"]),
        (["method.unknown=left_out"], ["method.unknown=left_out", "use method.mode=recommended"]),
        (["trainer.max_epochs=50"], ["callbacks.ramp_up.t_max=99", "longer than the training"]),
        (["datamodule.patch_size=[64,128,200]"], ["its x is not divisible", "32", "192 or 224"]),
        (["datamodule.patch_size=[8,128,224]"], ["its z is not divisible", "use 16"]),
        (["datamodule.patch_size=[16,32,32]"], ["patch_size=[16, 32, 32]", "one voxel"]),
        (["+experiment=genesis", "augmentation@datamodule.transform=light"],
         ["datamodule.transform", "nothing corrupts", "genesis_original"]),
        (["+experiment=dbdmp", "augmentation@datamodule.transform=genesis"],
         ["datamodule.transform", "DBDMP would take them for scans", "light"]),
        (["datamodule.patch_size=[64,128]"], ["datamodule.patch_size"]),
        (["datamodule.patch_size=abc"], ["datamodule.patch_size"]),
        (["network.widths=7"], ["network.widths"]),
        (["callbacks.ramp_up.t_max=soon"], ["callbacks.ramp_up.t_max", "soon"]),
        (["trainer=null"], ["trainer"]),
        (["data=nnunet2"], ["data=nnunet2", "did you mean nnunet?"]),
        (["method.tau=0.1,0.2"], ["several values for method.tau", "add -m"]),
        (["method.tau=["], ["cannot parse the command line"]),
        (["nonsense"], ["cannot parse the command line"]),
        (["method=genesis", "augmentation@datamodule.transform=genesis"],
         ["callbacks.ramp_up: it raises", "Genesis has not", "callbacks.ramp_up=null"]),
        (["ckpt_path=last"], ["nothing to resume", "run_dir=DIR"]),
        (["-m", "seed=0,1", "ckpt_path=last"], ["which run of the sweep?", "leave it out"]),
        (["--config-dir", "nowhere", "seed=1"], ["no such folder", "nowhere"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)  # fmt: skip
@pytest.mark.slow
def test_a_fault_is_told_and_nothing_written(
    refused: Callable[..., str], arguments: list[str], expected: list[str]
) -> None:
    said = refused(*arguments)
    for words in expected:
        assert words.lower() in said.lower()


def test_all_faults_are_told_together(refused: Callable[..., str]) -> None:
    said = refused(
        "+stor=x", "method.tau=0", "+network.with=3", "trainer.max_epochs=-1", "seed=-1",
        "datamodule.patch_size=[64,128,200]", "+callbacks.x._target_=os.system",
    )  # fmt: skip
    for words in ("stor: no such key", "method.tau=0", "network.with", "trainer.max_epochs=-1",
                  "seed=-1", "not divisible", "os.system is not allowed"):  # fmt: skip
        assert words in said, words


def test_a_missing_required_key_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    @command("evaluate", EvaluateConfig)
    def never(cfg: EvaluateConfig) -> int:
        raise AssertionError("the body must not run")

    with pytest.raises(SystemExit) as stop:
        never(["references=x", "min_overlap=7"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "predictions is required: give predictions=VALUE" in said
    assert "min_overlap=7" in said


@pytest.mark.slow
def test_a_users_own_folder_of_experiments(
    tmp_path: Path, composed: Callable[..., list[TrainConfig]]
) -> None:
    own = tmp_path / "my conf" / "experiment" / "mine.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("# @package _global_\nname: mine\nmethod: {tau: 0.25}\n")
    (cfg,) = composed("--config-dir", str(tmp_path / "my conf"), "+experiment=[dbdmp,mine]")
    assert (cfg.name, cfg.method["tau"]) == ("mine", 0.25)
    (cfg,) = composed(f"--config-dir={tmp_path / 'my conf'}", "+experiment=mine")
    assert cfg.method["tau"] == 0.25


def test_outputs_are_moved_by_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, composed: Callable[..., list[TrainConfig]]
) -> None:
    monkeypatch.setenv("LNQ_OUTPUTS", str(tmp_path))
    (cfg,) = composed("+experiment=[dbdmp,phantom]")
    assert cfg.store == tmp_path / "preprocess" / "phantom"
    assert cfg.run_dir.parent == tmp_path / "train" / "dbdmp"


@pytest.mark.slow
def test_a_sweep_is_checked_whole_before_its_first_job(refused: Callable[..., str]) -> None:
    said = refused("-m", "method.tau=0.2,-1", "method.gamma=0.4,0.8")
    assert "method.tau=-1" in said


@pytest.mark.slow
def test_a_sweep_runs_every_job(
    tmp_path: Path, composed: Callable[..., list[TrainConfig]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LNQ_OUTPUTS", str(tmp_path))
    found = composed("-m", "method.tau=0.1,0.2", "method.alpha=0.3,0.4", "+experiment=dbdmp")
    pairs = [(cfg.method["tau"], cfg.method["alpha"]) for cfg in found]
    assert pairs == [(0.1, 0.3), (0.1, 0.4), (0.2, 0.3), (0.2, 0.4)]
    assert len({cfg.run_dir for cfg in found}) == 4


def test_a_dataset_that_must_be_chosen_is_offered(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        preprocess.main([])
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert (
        "Give data.root=DIR, and data=NAME, one of lnq2023, nnunet, pairs, phantom, scans, tcia"
        in said
    )


def test_a_required_key_that_others_refer_to_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        preprocess.main(["data=lnq2023"])
    assert end.value.code == 2
    assert "data.root is required: give data.root=VALUE" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["dat.root", "data.roots", "data.rot"])
def test_a_mistyped_root_is_told(key: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        preprocess.main([f"{key}=/scans"])
    assert end.value.code == 2
    assert f"{key}: no such key. Did you mean data.root=/scans?" in capsys.readouterr().err


def test_training_refuses_scans_that_it_would_not_read() -> None:
    with pytest.raises(ConfigError, match=r"data\.root: training reads what lnq\.preprocess"):
        parse(compose("train", ["data.root=/nowhere"]), TrainConfig, GIVEN)


@pytest.mark.slow
def test_what_nobody_tried_is_noted() -> None:
    def noted(*overrides: str) -> list[str]:
        return parse(compose("train", list(overrides)), TrainConfig, GIVEN).untried()

    assert noted("+experiment=dbdmp") == []
    assert noted("+experiment=dbdmp", "method.tau=2") == [
        "method.tau=2 is beyond what the paper tried, 0.1 to 0.4"
    ]
    assert noted("+experiment=baseline", "method.tau=2") == []
