"""The pictures of a training, and the loggers that take them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from lightning_fabric.loggers import tensorboard as fabric
from matplotlib.image import imread
from scipy.special import softmax
from support.folders import names
from support.methods import FixedOutputs, OneBranch, batch, dbdmp, logits
from support.runs import PICTURED
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lnq.callbacks.panels import best_slices, draw
from lnq.callbacks.performance import Performance
from lnq.methods import DBDMP, Genesis

Train = Callable[..., int]


@pytest.fixture
def run(tiny_store: Path, tmp_path: Path, train: Train) -> Callable[..., Path]:
    """`run(name, *overrides)` trains for three epochs and gives the run's folder."""

    def trained(name: str, *overrides: str) -> Path:
        folder = tmp_path / name
        given = ("callbacks.ramp_up.t_max=1", f"store={tiny_store}", f"run_dir={folder}")
        assert (
            train("+experiment=dbdmp", *PICTURED, "trainer.max_epochs=3", *given, *overrides) == 0
        )
        return folder

    return trained


@pytest.mark.training
def test_pictures_come_every_few_epochs_and_change_nothing(
    run: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    original, modes = DBDMP.pictures, []

    def noted(self: DBDMP, *given: Any) -> Any:
        modes.append(self.training)
        return original(self, *given)

    monkeypatch.setattr(DBDMP, "pictures", noted)
    shown = run("shown", "callbacks.panels.every_n_epochs=1")
    assert names(shown / "panels") == ["epoch=000.png", "epoch=001.png", "epoch=002.png"]
    rare = run("rare")
    assert names(rare / "panels") == ["epoch=000.png", "epoch=002.png"]
    assert modes == 5 * [False]  # without dropout
    without = run("without", "callbacks.panels=null")
    assert not (without / "panels").exists()
    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (shown, rare, without)
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name])
        assert torch.equal(value, weights[2][name])
    first, last = (imread(shown / "panels" / f"epoch=00{n}.png") for n in (0, 2))
    column = first.shape[1] // 6  # scan, annotation, main, aux, pseudo label, weight
    assert np.array_equal(first[:, :column], last[:, :column])
    assert not np.array_equal(first, last)
    table = pd.read_csv(shown / "curves.csv").dropna(subset=["panels/annotation"])
    assert list(table["epoch"]) == [0, 1, 2]
    assert table["panels/annotation"].nunique() == 1
    assert table["panels/pseudo_label"].nunique() == 3


@pytest.mark.slow
def test_a_row_is_a_patch_and_a_column_a_volume() -> None:
    shape = (2, 1, 3, 8, 8)
    scan = np.zeros(shape)
    scan[0, 0, 1, :, 4:] = (
        5.0  # the slice of the first patch is grey on one half, white on the other
    )
    picture = draw({"scan": scan}, {"low": np.zeros(shape), "high": np.ones(shape)}, [1, 2])
    assert picture.dtype == np.uint8
    height, width, _ = picture.shape
    seen = {tuple(colour) for colour in picture.reshape(-1, 3)}
    viridis = matplotlib.colormaps["viridis"](np.array([0, 255]), bytes=True)[:, :3]
    assert {tuple(colour) for colour in viridis} <= seen
    top, bottom = picture[: height // 2], picture[height // 2 :]
    white = (top[:, : width // 3] == 255).all(axis=2).sum()
    assert white > 1.5 * (bottom[:, : width // 3] == 255).all(axis=2).sum()


def test_known_background_is_a_quiet_tint_on_grey_with_a_legend() -> None:
    shape = (1, 1, 2, 8, 8)
    scan = np.full(shape, 0.5)
    scan[..., 0, 0] = 1.0
    scan[..., 0, 1] = 0.0
    known = np.zeros(shape, np.uint8)
    known[..., 4:] = 1
    plain = draw({"scan": scan}, {"p": np.ones(shape)}, [1])
    tinted = draw({"scan": scan}, {"p": np.ones(shape)}, [1], None, known)
    assert tinted.shape[0] > plain.shape[0]  # the legend's line
    blue = (tinted[..., 2].astype(int) - tinted[..., 0] > 10) & (tinted[..., 0] > 60)
    half = tinted.shape[1] // 2
    assert blue[:, :half].sum() > 3000
    columns = np.nonzero(blue[:, :half])[1]
    assert np.ptp(columns) < 0.6 * half  # one half of one column
    untouched = draw({"scan": scan}, {"p": np.ones(shape)}, [1], None, 0 * known)
    grey = (untouched[..., 2] == untouched[..., 0])[:, : half // 2]
    assert grey.mean() > 0.99


def test_the_slice_with_most_annotated_voxels_is_shown_or_the_middle_one() -> None:
    label = torch.zeros(2, 1, 6, 4, 4)
    label[0, 0, 4, :2, :2] = 1
    label[0, 0, 2, 0, 0] = 1
    assert best_slices({"image": torch.zeros_like(label), "label": label}) == [4, 3]


def test_pictures_of_dbdmp_follow_the_equations() -> None:
    main, aux, given = logits(1), logits(2), batch()
    intensities, fractions = dbdmp(FixedOutputs(main, aux)).pictures(given)
    assert list(intensities) == ["scan"]
    y = given["label"].double().numpy()[:, 0]
    p, q = softmax(main.numpy(), axis=1), softmax(aux.numpy(), axis=1)
    sharpened = softmax((p + q) / 2 / 0.3, axis=1)[:, 1]
    expected = {
        "annotation": y,
        "main": p[:, 1],
        "aux": q[:, 1],
        "pseudo_label": y + (1 - y) * sharpened,
        "weight": np.exp(-(q * np.log(q / p)).sum(axis=1)),
    }
    assert list(fractions) == list(expected)
    for name, values in expected.items():
        assert fractions[name][:, 0].detach().numpy() == pytest.approx(values, abs=1e-6), name


def test_pictures_of_one_branch_and_of_pre_training() -> None:
    _, fractions = dbdmp(OneBranch(logits(1)), supervised={"ce": 1.0}, pseudo={}).pictures(batch())
    assert list(fractions) == ["annotation", "main"]
    shape = (2, 1, 2, 3, 2)
    network = FixedOutputs(logits(1, shape), logits(2, shape))
    given = {"image": torch.zeros(shape), "target": torch.ones(shape)}
    intensities, fractions = Genesis(network, torch.optim.SGD).pictures(given)
    assert list(intensities) == ["corrupted", "main", "aux", "original"]
    assert torch.equal(intensities["aux"], network.aux_decoder[0])
    assert fractions == {}


@pytest.mark.training
def test_tensorboard_has_what_the_csv_has(run: Callable[..., Path]) -> None:
    folder = run("run", "logger=[csv,tensorboard]", "trainer.check_val_every_n_epoch=1")
    events = EventAccumulator(str(folder / "tensorboard")).Reload()
    table = pd.read_csv(folder / "curves.csv")
    for key in table.columns.difference(["epoch", "step"]):
        logged = table.dropna(subset=[key])
        found = events.Scalars(key)
        assert [event.step for event in found] == list(logged["step"])
        assert [event.value for event in found] == pytest.approx(list(logged[key])), key
    pictures = events.Images("panels")
    assert [image.step for image in pictures] == [3, 11]
    kept = imread(folder / "panels" / "epoch=002.png")
    assert (pictures[1].height, pictures[1].width) == kept.shape[:2]


@pytest.mark.slow
def test_tensorboard_that_is_not_installed_is_asked_for(
    tiny_store: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    for name in ("_TENSORBOARD_AVAILABLE", "_TENSORBOARDX_AVAILABLE"):
        monkeypatch.setattr(fabric, name, False)
    given = ("logger=tensorboard", f"store={tiny_store}", f"run_dir={tmp_path}/run")
    assert train("+experiment=dbdmp", *PICTURED, "callbacks.ramp_up.t_max=1", *given) == 2
    assert "TensorBoard is not installed" in capsys.readouterr().err
    assert names(tmp_path) == []


def test_throughput_counts_the_patches_of_an_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0, 104.0, 200.0, 201.0])
    monkeypatch.setattr("lnq.callbacks.performance.time.monotonic", lambda: next(clock))
    logged: list[float] = []

    class Module(pl.LightningModule):
        def log_dict(self, values: dict[str, float], **_: Any) -> None:
            assert values["perf/memory_gb"] > 0.05
            logged.append(values["perf/patches_per_second"])

    trainer, module, callback = pl.Trainer(logger=False, barebones=True), Module(), Performance()
    patches = {"case_id": ["a", "b"]}
    callback.on_train_start(trainer, module)
    for _ in range(2):
        callback.on_train_batch_end(trainer, module, None, patches, 0)
    callback.on_train_epoch_start(trainer, module)
    callback.on_train_batch_end(trainer, module, None, patches, 0)
    assert logged == [1.0, 1.0, 2.0]


def raises(*_: object, **__: object) -> None:
    raise RuntimeError("half a picture")


@pytest.mark.training
@pytest.mark.parametrize(
    ("logger", "raising"),
    [
        ("csv", "lnq.callbacks.panels.draw"),
        ("csv", "lnq.methods.DBDMP.pictures"),
        ("csv", "lnq.callbacks.curves_logger.imsave"),
        ("tensorboard", "torch.utils.tensorboard.SummaryWriter.add_image"),
        ("tensorboard", "torch.utils.tensorboard.SummaryWriter.add_scalar"),
        ("tensorboard", "torch.utils.tensorboard.SummaryWriter.close"),
        ("wandb", "wandb.Image"),
        ("wandb", "wandb.Run.log"),
        ("wandb", "wandb.Run.finish"),
    ],
)
def test_what_only_reports_ends_no_training(
    tiny_store: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], logger: str, raising: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(raising, raises)
    with pytest.warns(UserWarning, match="is incomplete: "):
        code = train("+experiment=dbdmp", *PICTURED, "trainer.max_epochs=1", f"logger={logger}",
                     "callbacks.ramp_up.t_max=0", f"store={tiny_store}", f"run_dir={tmp_path}/run",
                     *(["logger.wandb.mode=offline"] if logger == "wandb" else []))  # fmt: skip
    assert code == 0
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
    assert "Traceback" not in capsys.readouterr().err
