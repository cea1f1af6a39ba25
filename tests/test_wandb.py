"""W&B: what was logged is what arrives, online and by `wandb sync`; a stub on loopback listens."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb
from matplotlib.image import imread
from support.runs import PICTURED
from support.stores import write_store
from support.wandb_stub import KEY, WandbStub, wandb_stub

from lnq import dashboard
from lnq.callbacks import OfflineFirstWandbLogger, StepSeed, loggers
from lnq.reporting.wandb_workspace import CURVES
from lnq.run_folder import PANELS

Train = Callable[..., int]
PATIENT = "SMITH-JOHN"
LOGGED = [key for plots in CURVES.values() for keys in plots.values() for key in keys]


pytestmark = pytest.mark.slow


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    """A training of two epochs on cases whose ids are a patient's name."""
    rng = np.random.default_rng(0)
    cases = {}
    for split, supervision in (("train", "partial"), ("val", "full")):
        label = np.zeros((5, 9, 12), np.uint8)
        label[-1, :2, -2:] = 1
        image = rng.normal(0, 1, label.shape).astype(np.float32) + 2 * label
        cases[f"{PATIENT}-{split}"] = (image, label, split, supervision)
    store = write_store(tmp_path / "store", cases)
    return [
        "+experiment=dbdmp", *PICTURED, "callbacks.ramp_up.t_max=1", "logger=wandb",
        "trainer.check_val_every_n_epoch=1", "callbacks.panels.every_n_epochs=1",
        "logger.wandb.group=tau", f"store={store}", f"run_dir={tmp_path}/run",
    ]  # fmt: skip


def values(rows: list[dict[str, Any]]) -> dict[tuple[str, int], float]:
    """Each quantity at each step."""
    return {
        (key, row["trainer/global_step"]): pytest.approx(value)
        for row in rows
        for key, value in row.items()
        if key in LOGGED
    }


def in_file(run: Path) -> dict[tuple[str, int], float]:
    table = pd.read_csv(run / "curves.csv").set_index("step")
    long = table[[key for key in table if key != "epoch"]].stack()
    return {(key, step): value for (step, key), value in long.dropna().items()}


def check_arrived(wandb_server: WandbStub, run: Path) -> None:
    """All that the run's folder has of curves and pictures is at the server, and no name."""
    (run_id,) = wandb_server.history
    assert run_id == (run / "wandb" / "id").read_text().strip()
    rows = wandb_server.history[run_id]
    assert in_file(run) == values(rows)
    assert {key for key, _ in in_file(run)} == {
        "train/loss", "train/loss_sup", "train/loss_pseudo", "train/pseudo_klce", "train/sce",
        "train/pce", "train/tversky", "train/lambda_p", "train/lr", "val/dice",
        "perf/patches_per_second", "perf/wait_seconds", "perf/memory_gb",
        *(f"panels/{name}" for name in ("annotation", "main", "aux", "pseudo_label", "weight")),
    }  # fmt: skip
    pictures = [row[PANELS] for row in rows if PANELS in row]
    assert [picture["captions"] for picture in pictures] == [["epoch=000"], ["epoch=001"]]
    for picture in pictures:
        sent = imread(io.BytesIO(wandb_server.files[picture["filenames"][0]]))
        kept = imread(run / "panels" / f"{picture['captions'][0]}.png")
        assert np.array_equal(sent[..., :3], kept[..., :3])
    config = {key: node["value"] for key, node in wandb_server.config[run_id].items()}
    assert config["method"]["tau"] == 0.3
    manifest = json.loads((run / "manifest.json").read_text())
    for key in ("versions", "git_commit", "preprocessing", "split_sha256"):
        assert config["manifest"][key] == manifest[key]
    assert PATIENT in json.dumps(manifest)
    assert PATIENT.encode() not in wandb_server.everything
    assert KEY.encode() not in wandb_server.everything
    assert wandb_server.groups[run_id] == "tau"


def stop_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = StepSeed.on_train_batch_start

    def hook(self: StepSeed, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", hook)


def test_offline_interrupted_resumed_and_synced(
    wandb_server: WandbStub, given: list[str], tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    offline = [*given, "logger.wandb.mode=offline"]
    with pytest.MonkeyPatch.context() as patch:
        stop_at(5, patch)
        assert train(*offline) == 130
    said = capsys.readouterr().err
    assert said.startswith("to go on ")
    assert said.endswith("\ninterrupted\n")
    assert train(*offline, "ckpt_path=last") == 0
    assert wandb_server.history == {}
    said = capsys.readouterr()
    assert f"wandb sync {tmp_path}/run/wandb/offline-run-*" in said.out
    assert said.err == ""
    sessions = sorted(map(str, tmp_path.glob("run/wandb/offline-run-*")))
    assert len(sessions) == 2
    tool = Path(sys.executable).with_name("wandb")
    subprocess.run(
        [tool, "sync", *sessions], check=True, capture_output=True, timeout=100, cwd=tmp_path
    )
    check_arrived(wandb_server, tmp_path / "run")


def test_online_interrupted_and_resumed(
    wandb_server: WandbStub, given: list[str], tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    online = [*given, "logger.wandb.log_model=true"]
    with pytest.MonkeyPatch.context() as patch:
        stop_at(5, patch)
        assert train(*online) == 130
    assert wandb_server.artifacts == []
    assert train(*online, "ckpt_path=last") == 0
    check_arrived(wandb_server, tmp_path / "run")
    (run_id,) = wandb_server.history
    assert f"{wandb_server.url}/me/lnq/runs/{run_id}" in capsys.readouterr().out
    models = [sent for sent in wandb_server.artifacts if sent["artifactTypeName"] == "model"]
    assert [sent["artifactCollectionName"] for sent in models] == [f"model-{run_id}"]


@pytest.mark.parametrize("mode", ["offline", "disabled"])
def test_without_a_server_a_model_may_be_asked_for(
    mode: str, given: list[str], tmp_path: Path, train: Train
) -> None:
    asked = (f"logger.wandb.mode={mode}", "logger.wandb.log_model=true", "trainer.max_epochs=1")
    assert train(*given, *asked) == 0
    assert bool(list(tmp_path.glob("run/wandb/offline-run-*"))) == (mode == "offline")


def test_a_server_that_goes_away_does_not_hold_the_end_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loggers, "FINISH_SECONDS", 0.5)
    wandb.teardown()
    with wandb_stub() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        logger = OfflineFirstWandbLogger("lnq", "test", tmp_path)
        logger.log_metrics({"train/loss": 1.0}, 0)
        assert logger.experiment.url.startswith(server.url)
    logger.log_metrics({"train/loss": 0.5}, 1)
    with pytest.warns(UserWarning, match="did not take everything; it is kept for `wandb sync"):
        logger.finalize("success")
    assert logger.place is not None
    tools = Path(sys.executable).parent
    with wandb_stub() as server:
        subprocess.run(
            f"{tools}/{logger.place}", shell=True, check=True, capture_output=True, timeout=100,
            env={**os.environ, **server.environment}, cwd=tmp_path,
        )  # fmt: skip
        (rows,) = server.history.values()
    assert [row["train/loss"] for row in rows] == [1.0, 0.5]


def test_a_server_that_does_not_begin_a_run_leaves_it_offline(
    wandb_server: WandbStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer, over = wandb_server.answer, threading.Event()

    def wait(operation: str, given: dict[str, Any]) -> dict[str, Any]:
        if operation == "UpsertBucket":
            over.wait()
        return answer(operation, given)

    monkeypatch.setattr(wandb_server, "answer", wait)
    begin, modes = wandb.init, []

    def hasty(**given: Any) -> Any:
        given["settings"].init_timeout = 0.5
        modes.append(given["mode"])
        return begin(**given)

    monkeypatch.setattr(wandb, "init", hasty)
    logger = OfflineFirstWandbLogger("lnq", "test", tmp_path)
    with pytest.warns(UserWarning, match="W&B logs offline: "):
        logger.log_metrics({"train/loss": 1.0}, 0)
    logger.finalize("success")
    over.set()
    assert modes == ["online", "offline"]
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_a_server_that_takes_connections_alone_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loggers, "CHECK_SECONDS", 0.5)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        wandb.teardown()
        found = loggers.why_offline()
    # Whichever of two clocks is first.
    assert found in ("127.0.0.1 does not answer (timed out)",
                     "its server did not answer within 0 s")  # fmt: skip


def run_dashboard(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        dashboard.main(list(arguments))
    return int(stop.value.code or 0)


def test_the_dashboard_shows_what_is_logged(
    wandb_server: WandbStub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_dashboard("project=nodes") == 0
    (view,) = wandb_server.views
    assert (view["entityName"], view["projectName"]) == ("me", "nodes")
    assert f"the dashboard is {wandb_server.url}/me/nodes" in capsys.readouterr().out
    section = view["spec"]["section"]
    panels = [p for s in section["panelBankConfig"]["sections"] for p in s["panels"]]
    lines = [key for p in panels for key in p["config"].get("metrics", [])]
    assert sorted(lines) == sorted(LOGGED)
    assert [p["config"]["mediaKeys"] for p in panels if "mediaKeys" in p["config"]] == [[PANELS]]
    assert "group" in json.dumps(section["runSets"][0]["grouping"]).lower()


def test_the_dashboard_needs_an_account(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    wandb.teardown()
    assert run_dashboard() == 2
    assert "the dashboard cannot be saved [project=lnq]: no API key; run `wandb login`" in (
        capsys.readouterr().err
    )
