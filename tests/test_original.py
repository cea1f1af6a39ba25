"""Checkpoints of the authors' code: every tensor finds its place, and nothing in them is run."""

from __future__ import annotations

import datetime
import importlib
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from support.faults import Payload, refused
from support.original_checkpoint import ARRAY, WIDTHS, contents, layout, numbered, saved
from support.runs import TINY
from support.synthetic_chest import chest
from torch import Tensor
from torch.nn import functional

from lnq.data.preparation.preprocessing import CT_MEAN, CT_RANGE, CT_SD, Preprocessing
from lnq.inference.segmenter import Segmentation, Segmenter
from lnq.networks import DualBranchVNet, VNet
from lnq.networks.checkpoint_file import load_file
from lnq.networks.transfer import initialise_from, read_checkpoint
from lnq.volume_file import write_volume

HEADS = {f"{branch}_final.{part}" for branch in ("main", "aux") for part in ("weight", "bias")}


def random_weights() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        name: torch.randn(shape, generator=generator) * (0.05 if len(shape) > 1 else 0.3)
        + (1.0 if name.endswith(".1.weight") else 0.0)
        for name, shape in layout().items()
    }


def block(w: dict[str, Tensor], name: str, x: Tensor, residual: Tensor) -> Tensor:
    inner = conv(w, f"{name}.conv1", x)
    return functional.leaky_relu(conv(w, f"{name}.conv2", inner, act=False) + residual, 0.01)


def conv(w: dict[str, Tensor], name: str, x: Tensor, *, act: bool = True, step: str = "") -> Tensor:
    weight, bias = w[f"{name}.0.weight"], w[f"{name}.0.bias"]
    shape = tuple(weight.shape[2:])
    if step == "up":
        x = functional.conv_transpose3d(x, weight, bias, stride=shape)
    elif step == "down":
        x = functional.conv3d(x, weight, bias, stride=shape)
    else:
        x = functional.conv3d(x, weight, bias, padding=tuple((side - 1) // 2 for side in shape))
    x = functional.instance_norm(x, weight=w[f"{name}.1.weight"], bias=w[f"{name}.1.bias"])
    return functional.leaky_relu(x, 0.01) if act else x


def reference(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """The main branch's logits from the words of docs/explanation/method.md#network alone."""
    features = [block(w, "encoder.conv1", x, conv(w, "encoder.conv1.conv_trans", x))]
    for i in range(1, 6):
        x = conv(w, f"encoder.pool{i}", features[-1], step="down")
        features.append(block(w, "encoder.center" if i == 5 else f"encoder.conv{i + 1}", x, x))
    x = features[5]
    for i in range(5, 0, -1):
        up = conv(w, f"main_decoder.up_concat{i}.up", x, step="up")
        joined = torch.cat([features[i - 1], up], dim=1)
        x = block(w, f"main_decoder.up_concat{i}.conv", joined, up)
    return functional.conv3d(x, w["main_final.weight"], w["main_final.bias"])


def test_layout_is_the_one_that_was_published(real_data: Path) -> None:
    assert sum(int(np.prod(shape)) for shape in layout().values()) == 37_174_836
    published = real_data.with_name("original_keys.json")
    if not published.is_file():
        pytest.skip(f"no list of the original's tensors: {published} is missing")
    shapes = json.loads(published.read_text())
    assert {name: list(shape) for name, shape in layout().items()} == shapes


@pytest.mark.slow
def test_logits_of_the_main_branch_are_the_originals(tmp_path: Path) -> None:
    weights = random_weights()
    read = read_checkpoint(saved(tmp_path, weights))
    network = DualBranchVNet(out_channels=2)
    assert initialise_from(network, read.state, read.path) == []
    image = torch.randn(1, 1, 16, 64, 96, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        ours = network.eval().main_logits(image)
        theirs = reference(weights, image)
    assert ours.shape == theirs.shape == (1, 2, 16, 64, 96)
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.slow
def test_every_tensor_finds_its_place(tmp_path: Path, classes: int, prefix: str) -> None:
    weights = numbered(classes)
    path = saved(tmp_path, {prefix + name: tensor for name, tensor in weights.items()})
    read = read_checkpoint(path)
    assert read.path == path
    assert read.network["out_channels"] == classes
    network = DualBranchVNet(out_channels=classes)
    assert {k: t.shape for k, t in read.state.items()} == {
        k: t.shape for k, t in network.state_dict().items()
    }
    taken = {float(tensor.flatten()[0]) for tensor in read.state.values()}
    assert taken == set(map(float, range(len(weights))))
    for ours, theirs in {
        "encoder.levels.0.match.1.bias": "encoder.conv1.conv_trans.1.bias",
        "encoder.levels.3.block.conv2.0.weight": "encoder.conv4.conv2.0.weight",
        "encoder.levels.5.down.0.bias": "encoder.pool5.0.bias",
        "encoder.levels.5.block.conv1.1.weight": "encoder.center.conv1.1.weight",
        "main_decoder.levels.0.up.0.weight": "main_decoder.up_concat5.up.0.weight",
        "aux_decoder.levels.4.block.conv2.0.bias": "aux_decoder.up_concat1.conv.conv2.0.bias",
        "main_decoder.head.weight": "main_final.weight",
        "aux_decoder.head.bias": "aux_final.bias",
    }.items():
        assert torch.equal(read.state[ours], weights[theirs])


def test_constants_are_the_originals(tmp_path: Path) -> None:
    read = read_checkpoint(saved(tmp_path, numbered()))
    assert read.patch_size == (64, 128, 224)
    settings = Preprocessing.from_dict(read.preprocessing)
    assert settings.spacing_mm == (3.0, 0.826171875, 0.826171875)
    assert settings.normalisation == "ct"
    assert (CT_RANGE, CT_MEAN, CT_SD) == ((-36.0, 157.0), 54.3698, 32.6955)
    assert read.network["_target_"] == "lnq.networks.DualBranchVNet"
    assert tuple(read.network["widths"]) == WIDTHS


def test_pre_trained_weights_leave_the_heads_and_serve_the_single_branch(tmp_path: Path) -> None:
    read = read_checkpoint(saved(tmp_path, numbered(1)))
    network = VNet(out_channels=2)
    fresh = initialise_from(network, read.state, read.path)
    assert set(fresh) == {"main_decoder.head.weight", "main_decoder.head.bias"}


@pytest.mark.slow
def test_half_precision_weights_become_single(tmp_path: Path) -> None:
    halves = {name: tensor.half() for name, tensor in numbered().items()}
    read = read_checkpoint(saved(tmp_path, halves))
    assert {tensor.dtype for tensor in read.state.values()} == {torch.float32}


def with_changes(changes: dict[str, Tensor | None]) -> dict[str, Tensor]:
    mixed: dict[str, Tensor | None] = {**numbered(), **changes}
    return {name: tensor for name, tensor in mixed.items() if tensor is not None}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"encoder.pool3.0.bias": None}, "encoder.pool3.0.bias: 128 here, missing there"),
        ({"aux_final.bias": None}, "aux_final.bias: 2 here, missing there"),
        ({"main_final.weight": None}, "main_final.weight: 2x16x1x1x1 here, missing there"),
        ({"encoder.extra.weight": torch.ones(3, 4)},
         "encoder.extra.weight: missing here, 3x4 there"),
        ({"encoder.conv2.conv1.0.weight": torch.ones(32, 32, 1, 3, 3)},
         "encoder.conv2.conv1.0.weight: 32x32x3x3x3 here, 32x32x1x3x3 there"),
        ({"main_final.bias": torch.ones(3)}, "main_final.bias: 2 here, 3 there"),
        ({"aux_final.weight": torch.ones(1, 16, 1, 1, 1)},
         "aux_final.weight: 2x16x1x1x1 here, 1x16x1x1x1 there"),
        # It would hide the other of the same name.
        ({"module.main_final.bias": torch.ones(2)}, "module.main_final.bias: missing here"),
    ],
)  # fmt: skip
@pytest.mark.slow
def test_differences_are_refused_by_name(
    tmp_path: Path, changes: dict[str, Tensor | None], said: str
) -> None:
    message = refused(read_checkpoint, saved(tmp_path, with_changes(changes)))
    assert "another architecture" in message
    assert said in message
    assert message.count(" there") == 1  # nothing else is said to differ


def test_heads_of_three_classes_are_refused(tmp_path: Path) -> None:
    message = refused(read_checkpoint, saved(tmp_path, numbered(3)))
    assert f"{len(HEADS)} of another shape" in message
    assert sum(name in message for name in HEADS) == 2
    assert "aux_final.bias: 2 here, 3 there" in message


def test_another_architecture_of_nnunet_is_refused(tmp_path: Path) -> None:
    weights = {"encoder.stages.0.0.convs.0.conv.weight": torch.zeros(32, 1, 1, 3, 3)}
    message = refused(read_checkpoint, saved(tmp_path, weights))
    assert "another architecture" in message
    assert "of 197 tensors 196 missing in them, 1 unknown here" in message  # ours and theirs


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (None, "network_weights is a NoneType"),
        ([torch.zeros(3)], "network_weights is a list"),
        ({"main_final.bias": 3}, "main_final.bias (int)"),
        ({"main_final.bias": torch.zeros(2, dtype=torch.int64)}, "main_final.bias (Tensor)"),
        ({7: torch.zeros(2)}, "7 (Tensor)"),
    ],
)
def test_what_are_no_weights_is_refused(tmp_path: Path, weights: object, said: str) -> None:
    assert said in refused(read_checkpoint, saved(tmp_path, weights))


def test_what_nnunet_logs_is_read(tmp_path: Path) -> None:
    read = load_file(saved(tmp_path, {})).contents
    assert read["_best_ema"] == 0.75
    assert read["logging"]["epochs"] == [7, True]
    assert np.array_equal(read["logging"]["fg"][0], ARRAY)


def test_what_nnunet_logged_with_numpy_1_is_read(tmp_path: Path) -> None:
    path = saved(tmp_path, {})
    with zipfile.ZipFile(path) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            if name.endswith("data.pkl"):
                assert b"cnumpy._core.multiarray\n" in data
                data = data.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
            archive.writestr(name, data)
    read = load_file(path).contents
    assert read["_best_ema"] == 0.75
    assert np.array_equal(read["logging"]["fg"][0], ARRAY)


def test_code_in_the_log_is_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = saved(tmp_path, numbered(), logging={"mean_fg_dice": [np.float64(1), Payload(marker)]})
    torch.load(path, weights_only=False)
    assert marker.exists()  # the payload does work where it is let
    marker.unlink()
    assert "more than tensors and plain data" in refused(read_checkpoint, path)
    assert not marker.exists()


@pytest.mark.parametrize(
    "value",
    [np.array([{"a": 1}], dtype=object), np.dtype("datetime64[s]"), datetime.datetime.now],
)
def test_other_objects_than_numbers_are_refused(tmp_path: Path, value: object) -> None:
    path = saved(tmp_path, numbered(), logging={"lrs": [value]})
    assert "more than tensors and plain data" in refused(read_checkpoint, path)


def test_allowing_numpys_numbers_ends_with_the_loading(tmp_path: Path) -> None:
    path = saved(tmp_path, {})
    load_file(path)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)


def test_the_old_format_is_refused_with_its_remedy(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint_final.pth"
    torch.save(contents(numbered()), path, _use_new_zipfile_serialization=False)
    message = refused(read_checkpoint, path)
    assert "old file format" in message
    assert "save it again" in message


@pytest.mark.slow
def test_train_begins_with_it_and_tells_of_other_preprocessing(
    train: Callable[..., int],
    tiny_store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begun: list[Any] = []
    monkeypatch.setattr(pl.Trainer, "fit", lambda _, method, *__, **___: begun.append(method))
    path = saved(tmp_path, numbered(1))
    arguments = [a for a in TINY if not a.startswith(("network.", "datamodule.patch_size"))]
    assert train("+experiment=dbdmp", f"store={tiny_store}", f"run_dir={tmp_path / 'run'}",
                 "datamodule.patch_size=[16,64,64]", f"init_from={path}", *arguments,
                 "callbacks.ramp_up.t_max=2") == 0  # fmt: skip
    told = capsys.readouterr().out
    assert f"{path} was trained on data prepared otherwise (spacing_mm: [3.0, 0.826171875" in told
    (method,) = begun
    state, weights = method.network.state_dict(), numbered(1)
    for ours, theirs in (
        ("encoder.levels.5.block.conv1.0.weight", "encoder.center.conv1.0.weight"),
        ("aux_decoder.levels.1.up.0.bias", "aux_decoder.up_concat4.up.0.bias"),
    ):
        assert torch.equal(state[ours], weights[theirs])
    assert state["main_decoder.head.bias"].shape == (2,)


@pytest.mark.slow
def test_predict_uses_it_with_the_originals_constants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictors: list[Any] = []
    module = importlib.import_module("lnq.predict")

    def noted(segmenter: Segmenter, *_: object) -> Segmentation:
        predictors.append(segmenter.predictor)
        return Segmentation(chest(), chest(), nodes=(), notes=())

    # One scan at these constants takes minutes on a CPU; what would segment it is looked at.
    monkeypatch.setattr(Segmenter, "segment", noted)
    write_volume(chest(), tmp_path / "scan.nrrd")
    weights = numbered()
    with pytest.raises(SystemExit) as stop:
        module.main([f"checkpoint={saved(tmp_path, weights)}", f"input={tmp_path / 'scan.nrrd'}",
                     f"output={tmp_path / 'masks'}", "device=cpu"])  # fmt: skip
    assert not stop.value.code
    (predictor,) = predictors
    assert predictor.windows.patch_size == (64, 128, 224)
    assert predictor.preprocessing.spacing_mm == (3.0, 0.826171875, 0.826171875)
    assert predictor.preprocessing.normalisation == "ct"
    (network,) = predictor.networks[0].args
    assert not network.training
    assert torch.equal(network.state_dict()["main_decoder.head.bias"], weights["main_final.bias"])
