"""The constants of docs/explanation/method.md, literally, against each stage's defaults."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from lnq.config import CONF
from lnq.config.composition import compose, flat_items
from lnq.data.preparation.preprocessing import CT_MEAN, CT_RANGE, CT_SD
from lnq.losses.cross_entropy import LOG_OF_ZERO
from lnq.losses.tversky import EPSILON
from lnq.methods.mode import MODES
from lnq.networks import original

CORRUPTION = "datamodule.transform.transforms.corruption"
SIXTH, THIRD, THREE_SEVENTHS, FOUR_SEVENTHS = 1 / 6, 1 / 3, 3 / 7, 4 / 7

OF_BOTH_STAGES = {
    "network._target_": "lnq.networks.DualBranchVNet",
    "network.widths": [16, 32, 64, 128, 256, 512],
    "network.dropouts": [0.05, 0.1, 0.2, 0.3, 0.5],
    "network.feature_dropout": 0.5,
    "datamodule.patch_size": [64, 128, 224],
    "datamodule.batch_size": 2,
    "datamodule.steps_per_epoch": 250,
    "optimizer._target_": "torch.optim.SGD",
    "optimizer.lr": 0.01,
    "optimizer.nesterov": True,
    "optimizer.weight_decay": 3e-5,
    "callbacks.polynomial_lr.power": 0.9,
    "trainer.gradient_clip_val": 12,
}
POST_PROCESSING = {
    "border_voxels": 3,
    "hu_window": [-54.0, 235.5],
    "min_volume_mm3": 175.03,
}
# Stage, what is added to its command line -> key: value.
STAGES: dict[tuple[str, ...], dict[str, Any]] = {
    ("preprocess", "data.root=x"): {
        "preprocessing.spacing_mm": [3.0, 0.8, 0.8],
        "preprocessing.normalisation": "zscore",
    },
    ("train", "+experiment=genesis"): OF_BOTH_STAGES | {
        "method._target_": "lnq.methods.Genesis",
        "network.out_channels": 1,
        "datamodule.foreground_share": 0.0,
        "optimizer.momentum": 0.99,
        "trainer.max_epochs": 1000,
        f"{CORRUPTION}.shuffling.num_windows": 10_000,
        f"{CORRUPTION}.shuffling.max_side": 0.1,
        f"{CORRUPTION}.in_painting.max_boxes": 5,
        f"{CORRUPTION}.in_painting.min_side": SIXTH,
        f"{CORRUPTION}.in_painting.max_side": THIRD,
        f"{CORRUPTION}.out_painting.max_boxes": 5,
        f"{CORRUPTION}.out_painting.min_side": THREE_SEVENTHS,
        f"{CORRUPTION}.out_painting.max_side": FOUR_SEVENTHS,
    },
    ("train", "+experiment=genesis", "augmentation@datamodule.transform=genesis_original"): {
        f"{CORRUPTION}.shuffling.num_windows": 8_000,
        f"{CORRUPTION}.shuffling.max_side": 0.05,
        f"{CORRUPTION}.in_painting.max_boxes": 5,
        f"{CORRUPTION}.in_painting.min_side": 0.125,
        f"{CORRUPTION}.in_painting.max_side": SIXTH,
        f"{CORRUPTION}.in_painting.border": 10,
        f"{CORRUPTION}.in_painting.go_on": 1.0,
        f"{CORRUPTION}.out_painting.max_boxes": 201,
        f"{CORRUPTION}.out_painting.min_side": 0.125,
        f"{CORRUPTION}.out_painting.max_side": 0.25,
        f"{CORRUPTION}.out_painting.go_on": 1.0,
    },
    ("train", "+experiment=dbdmp"): OF_BOTH_STAGES | {
        "method._target_": "lnq.methods.DBDMP",
        "method.mode": "paper",
        "method.supervised": {"ce": 0.0, "sce": 1.0, "pce": 1.0, "tversky": 1.0, "dice": 0.0},
        "method.pseudo": {"klce": 1.0, "dice": 0.0},
        "method.tau": 0.3,
        "method.gamma": 0.8,
        "method.alpha": 0.4,
        "method.lambda_max": 2.0,
        "method.detach_weight": False,
        "network.out_channels": 2,
        "datamodule.foreground_share": 0.5,
        "optimizer.momentum": 0.9,
        "callbacks.ramp_up.t_max": 99,
        "callbacks.checkpoint.filename": "last",
        "trainer.max_epochs": 300,
    },
    ("train", "+experiment=table1/baseline"): {
        "network._target_": "lnq.networks.VNet",
        "network.widths": [16, 32, 64, 128, 256, 512],
        "network.dropouts": [0.05, 0.1, 0.2, 0.3, 0.5],
    },
    ("predict", "postprocess=paper"): {
        "overlap": 0.5,
        "mirror": False,
        "postprocess.border": "scan",
        "postprocess.border_share": 0.0,
        **{f"postprocess.{key}": value for key, value in POST_PROCESSING.items()},
    },
    ("predict", "postprocess=original"): {
        "postprocess.border": "crop",
        "postprocess.border_share": 0.0,
        **{f"postprocess.{key}": value for key, value in POST_PROCESSING.items()},
    },
}  # fmt: skip

# What stands in no configuration file.
IN_THE_CODE: dict[str, tuple[Any, Any]] = {
    "ct": ((CT_RANGE, CT_MEAN, CT_SD), ((-36.0, 157.0), 54.3698, 32.6955)),
    "epsilon": (EPSILON, 1e-5),
    "log 0": (LOG_OF_ZERO, pytest.approx(-9.21, abs=0.001)),
    "loss scale": ((MODES["paper"].loss_scale, MODES["original"].loss_scale), (1.0, 0.25)),
    "original: spacing": (original.SPACING_MM, (3.0, 0.826171875, 0.826171875)),
    "original: patch": (original.PATCH_SIZE, (64, 128, 224)),
}

SENSITIVITY = {
    "method.tau": [0.1, 0.2, 0.3, 0.4],
    "method.gamma": [0.4, 0.6, 0.8, 1.0, 1.2],
    "method.alpha": [0.3, 0.4, 0.5, 0.6],
    "method.lambda_max": [1.4, 1.6, 1.8, 2.0, 2.2],
}


@pytest.mark.parametrize("command", STAGES, ids=" ".join)
def test_a_stage_s_defaults_are_method_s(command: tuple[str, ...]) -> None:
    stage, *added = command
    composed = dict(flat_items(OmegaConf.to_container(compose(stage, added))))
    for key, value in STAGES[command].items():
        expected = pytest.approx(value, abs=1e-6) if isinstance(value, float) else value
        assert composed[key] == expected, key


@pytest.mark.parametrize("name", IN_THE_CODE)
def test_constants_of_the_code_are_method_s(name: str) -> None:
    found, expected = IN_THE_CODE[name]
    assert found == expected


def test_the_sweep_is_the_paper_s_figure_3() -> None:
    text = (CONF / "sweep" / "sensitivity.yaml").read_text()
    assert yaml.safe_load(text)["hydra"]["sweeper"]["jobs"]["values"] == SENSITIVITY
