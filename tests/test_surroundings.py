"""What surrounds a run: users without names, terminals of any encoding, W&B's variables, pipes."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support import forked
from support.runs import TINY

from lnq.__main__ import STAGES
from lnq.callbacks import OfflineFirstWandbLogger
from lnq.config.as_written import as_written
from lnq.evaluate import main as evaluate

Train = Callable[..., int]

RUN = (
    "+experiment=dbdmp",
    *TINY,
    "callbacks.ramp_up.t_max=0",
    "trainer.limit_val_batches=0",
    "callbacks.progress._target_=lnq.callbacks.TrainingProgress",
)


@pytest.fixture
def run(tiny_store: Path, tmp_path: Path) -> list[str]:
    """The command line of a training whose epochs are told."""
    kept = [argument for argument in RUN if argument != "callbacks.progress=null"]
    return [sys.executable, "-m", "lnq.train", *kept, f"store={tiny_store}",
            f"run_dir={tmp_path}/run"]  # fmt: skip


@pytest.mark.process
def test_an_unknown_user_has_a_name_and_a_home() -> None:
    code = (
        "import pwd\ndef unknown(uid): raise KeyError(uid)\npwd.getpwuid = unknown\n"
        "import lnq, getpass, pathlib; print(getpass.getuser(), pathlib.Path.home())"
    )
    bare = {key: os.environ[key] for key in ("PATH", "PYTHONPATH") if key in os.environ}
    done = subprocess.run([sys.executable, "-c", code], env=bare, capture_output=True, text=True,
                          check=True)  # fmt: skip
    assert done.stdout.split()[0] == f"uid{os.getuid()}"


@pytest.mark.process
def test_a_terminal_of_another_encoding_ends_no_training(run: list[str], tmp_path: Path) -> None:
    done = subprocess.run(run, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, check=False,
                          capture_output=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"epoch 2/2  loss" in done.stdout
    assert b"?_p" in done.stdout
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.process
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_a_terminal_of_another_encoding_ends_no_help(encoding: str) -> None:
    """Every stage's: their words hold τ, λ and ± here and there."""
    stages = list(STAGES)
    code = (
        "import sys\nfrom lnq.config.help import answer_help\n"
        f"for stage in {stages}:\n    try: answer_help(stage, ['--help'])\n"
        "    except SystemExit as end: assert end.code == 0"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, timeout=120,
        env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"--hydra-help") == len(stages)
    assert b"?" in done.stdout


@pytest.mark.process
@pytest.mark.parametrize("where", ["closed pipe", "/dev/full"])
def test_where_nobody_reads_a_training_goes_on(run: list[str], tmp_path: Path, where: str) -> None:
    if where == "closed pipe":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open(where, os.O_WRONLY)
    done = forked.run(run, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WANDB_MODE", ""), ("WANDB_MODE", "off"), ("WANDB_RUN_ID", "a/b"),
     ("WANDB_INIT_TIMEOUT", "abc"), ("WANDB_BASE_URL", "nonsense"), ("WANDB_SILENT", "maybe")],
)  # fmt: skip
@pytest.mark.slow
def test_odd_variables_of_wandb_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    import wandb

    wandb.teardown()
    monkeypatch.setenv(variable, value)
    mode = "auto" if variable == "WANDB_MODE" else "offline"
    with pytest.warns(UserWarning, match=f"{variable}='{value}' is left out"):
        logger = OfflineFirstWandbLogger("lnq", "x", tmp_path, mode=mode)
    assert logger._wandb_init["mode"] == "offline"
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.finalize("success")
    assert list((tmp_path / "wandb").glob("offline-run-*"))


def test_wandb_disabled_by_its_variable_writes_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    logger = OfflineFirstWandbLogger("lnq", "x", tmp_path)
    logger.log_metrics({"train/loss": 1.0}, 0)
    logger.finalize("success")
    assert not list(tmp_path.rglob("*run-*"))


@pytest.mark.slow
@pytest.mark.parametrize("kept", [b"a/b", b"", b"\xff\xfe", b"x" * 999])
def test_a_damaged_id_of_wandb_begins_a_new_run(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "id").write_bytes(kept)
    logger = OfflineFirstWandbLogger("lnq", "x", tmp_path, mode="offline")
    with pytest.warns(UserWarning, match="is damaged"):
        logger.log_metrics({"train/loss": 1.0}, 0)
    logger.finalize("success")
    assert len((tmp_path / "wandb" / "id").read_text()) == 9


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ("data.root=Müller", "data.root='Müller'"),
        ("data.root=my data (2024)", "data.root='my data (2024)'"),
        ("data.root=a=b", "data.root='a=b'"),
        ("data.root=it's", "data.root='it\\'s'"),
        ("data.root=HOME/x", "data.root=HOME/x"),
        ("run=[a,b]", "run=[a,b]"),
        ("method.tau=0.1,0.2", "method.tau=0.1,0.2"),
        ("name='quoted'", "name='quoted'"),
        ("output=${paths.outputs}/x", "output=${paths.outputs}/x"),
        ("-m", "-m"),
        ("--config-dir=a b", "--config-dir=a b"),
        ("+experiment=[dbdmp,phantom]", "+experiment=[dbdmp,phantom]"),
        ("~callbacks.panels", "~callbacks.panels"),
    ],
)
def test_paths_are_taken_as_they_are_written(given: str, taken: str) -> None:
    assert as_written([given]) == [taken]


def test_a_comma_in_the_name_of_what_exists_is_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "a,b").mkdir()
    assert as_written([f"data.root={tmp_path}/a,b"]) == [f"data.root='{tmp_path}/a,b'"]
    assert as_written(["data.root=~/data", "input=~"]) == ["data.root=/home/me/data",
                                                          "input=/home/me"]  # fmt: skip


@pytest.mark.slow
def test_jobs_that_share_an_output_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["-m", f"predictions={tmp_path}/p", f"references={tmp_path}/r"]
    for more in ([], [f"output={tmp_path}/e"]):
        with pytest.raises(SystemExit) as stop:
            evaluate([*arguments, *more, "min_overlap=0.1,0.9"])
        assert stop.value.code == 2
        said = capsys.readouterr().err
        assert "several jobs would write one output" in said
        assert "output=DIR/${min_overlap}" in said
    with pytest.raises(SystemExit):  # there are no such folders
        evaluate([*arguments, f"output={tmp_path}/e-${{min_overlap}}", "min_overlap=0.1,0.9"])
    assert "several jobs" not in capsys.readouterr().err
