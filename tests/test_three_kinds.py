"""Annotated, known background, unknown: what each loss makes of them, and of cases of each kind.

The slow oracle knows nothing of kinds: a term that counts some voxels is the oracle's on those
voxels alone.
"""

from __future__ import annotations

import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support import oracle
from support.methods import FixedOutputs, dbdmp, fix_theta, logits
from support.runs import TINY
from support.stores import write_store
from support.three_kinds import COUNTED, SHAPE, THREE, mask, mixture
from torch import Tensor

from lnq.callbacks import StepSeed
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.patches.known import KnownBackground
from lnq.data.store.case_store import CaseStore
from lnq.losses import (
    SUPERVISED_TERMS,
    Kinds,
    counted_voxels,
    cross_entropy,
    dice_loss,
    lopsided,
    reverse_cross_entropy,
    supervised_terms,
    symmetric_cross_entropy,
    tversky_loss,
)

COUNTING = [
    cross_entropy, reverse_cross_entropy, symmetric_cross_entropy, tversky_loss, dice_loss,
]  # fmt: skip


def test_terms_of_counted_voxels_by_hand() -> None:
    one, y, _ = THREE
    # -ln 0.75 and -ln 0.8, of two voxels
    assert cross_entropy(one, y, counted=COUNTED).item() == pytest.approx(0.2554128119)
    # 9.2103403720 (0.25 + 0.2) / 2, and half of it
    reverse = reverse_cross_entropy(one, y, counted=COUNTED).item()
    assert reverse == pytest.approx(2.0723265837)
    halved = reverse_cross_entropy(one, y, counted=COUNTED, mean_over_classes=True).item()
    assert halved == pytest.approx(1.0361632919)
    # 1 - 0.75001 / (0.75 + 0.4 * 0.2 + 0.6 * 0.25 + 0.00001), and 1 - 0.75001 / 0.97501
    assert tversky_loss(one, y, counted=COUNTED).item() == pytest.approx(1 - 0.75001 / 0.98001)
    assert dice_loss(one, y, counted=COUNTED).item() == pytest.approx(1 - 0.75001 / 0.97501)


def test_what_is_counted_by_hand() -> None:
    _, y, known = THREE
    yes, no = torch.ones(1, 1, 1, 1, 1), torch.zeros(1, 1, 1, 1, 1)
    assert counted_voxels(y, known, yes, unknown=True).flatten().tolist() == [1, 1, 1]
    assert counted_voxels(y, known, no, unknown=True).flatten().tolist() == [1, 1, 0]
    assert counted_voxels(y, known, yes, unknown=False).flatten().tolist() == [1, 1, 0]
    assert counted_voxels(0 * y, 0 * known, no, unknown=True).sum() == 0


@pytest.mark.parametrize("loss", COUNTING)
def test_counting_all_is_counting_nothing_out(loss: Callable[..., Tensor]) -> None:
    one, y, _ = THREE
    assert loss(one, y, counted=torch.ones_like(y)).item() == pytest.approx(loss(one, y).item())


@pytest.mark.parametrize("loss", COUNTING)
def test_a_voxel_that_does_not_count_has_no_say(loss: Callable[..., Tensor]) -> None:
    one, y, _ = THREE
    other = one.clone()
    other[..., 2] = 100.0
    assert loss(one, y, counted=COUNTED).item() == loss(other, y, counted=COUNTED).item()
    one = one.clone().requires_grad_()
    loss(one, y, counted=COUNTED).backward()
    assert one.grad is not None
    assert not one.grad[..., 2].any()
    assert one.grad[..., :2].abs().min() > 0


@pytest.mark.parametrize("loss", COUNTING)
def test_nothing_that_counts_costs_nothing(loss: Callable[..., Tensor]) -> None:
    one = THREE[0].clone().requires_grad_()
    value = loss(one, mask(0, 0, 0), counted=mask(0, 0, 0))
    value.backward()
    assert value.item() == 0
    assert one.grad is not None
    assert not one.grad.any()


def of(values: Tensor, chosen: Tensor) -> np.ndarray:
    """Some voxels of (b, c, z, y, x), as (1, c, 1, 1, n)."""
    picked = values.movedim(1, 0)[:, chosen[:, 0] > 0]
    return picked.numpy().reshape(1, values.shape[1], 1, 1, -1)


@pytest.mark.parametrize("unknown", ["background", "left_out"])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_on_a_mixture_follows_the_oracle(
    monkeypatch: pytest.MonkeyPatch, seed: int, unknown: str
) -> None:
    fix_theta(monkeypatch, 0.35)
    main, aux, given = logits(seed, SHAPE), logits(seed + 50, SHAPE), mixture(seed)
    y, known = given["label"].double(), given["known_background"].double()
    counted = y + known
    if unknown == "background":
        counted[:2] = 1
    assert 0 < counted.sum() < counted.numel()
    label = oracle.pseudo_label(main.numpy(), aux.numpy(), y.numpy(), 0.35, 0.3)
    label[:, :1][known.numpy() > 0] = 1
    label[:, 1:][known.numpy() > 0] = 0
    expected = 0.0
    for one, other in ((main, aux), (aux, main)):
        some = of(one, counted), of(y, counted)
        expected += oracle.symmetric_cross_entropy(*some, 0.8) + oracle.tversky(*some, 0.4)
        expected += oracle.partial_cross_entropy(one.numpy(), y.numpy())
        expected += oracle.partial_cross_entropy(one.flip(1).numpy(), known.numpy())
        expected += 1.5 * oracle.consensus(one.numpy(), other.numpy(), label)
    method = dbdmp(FixedOutputs(main, aux), mode="recommended", unknown=unknown)
    method.lambda_p = 1.5
    assert method.training_step(given, 0).item() == pytest.approx(expected)


def test_cases_that_nobody_annotated_teach_by_pseudo_labels_and_by_what_is_known() -> None:
    given = mixture(4)
    unknown = (given["label"] + given["known_background"])[2, 0] == 0
    for weights, learns in (({}, True), ({"klce": 0.0}, False)):
        network = FixedOutputs(logits(1, SHAPE), logits(2, SHAPE))
        pseudo = {"klce": 1.0} | weights
        method = dbdmp(network, mode="recommended", pseudo=pseudo)
        method.training_step(given, 0).backward()
        assert network.main.grad is not None
        gradient = network.main.grad[2].abs().sum(dim=0)
        assert (gradient[unknown].min() > 0) == learns
        assert gradient[~unknown].min() > 0
        assert network.main.grad[1].abs().min() > 0


@pytest.mark.parametrize("mode", ["paper", "original"])
def test_other_modes_neither_ask_for_kinds_nor_see_them(mode: str) -> None:
    given = mixture(0)
    bare = {key: given[key] for key in ("image", "label", "case_id")}
    method = dbdmp(FixedOutputs(logits(1, SHAPE), logits(2, SHAPE)), mode=mode)
    assert not method.knows_background
    kinds = method.kinds(bare)
    assert (kinds.background, kinds.counted) == (None, None)
    with pytest.raises(ValueError, match="mode=recommended"):
        dbdmp(mode=mode, unknown="left_out")
    with pytest.raises(ValueError, match="mode=recommended"):
        dbdmp(mode=mode, unknown="lopsided")


def changed(given: dict[str, Any], **arrays: Tensor) -> dict[str, Any]:
    return given | {name: array.to(torch.uint8) for name, array in arrays.items()}


EXTREMES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "no annotated voxel": lambda g: changed(g, label=0 * g["label"]),
    "nothing unknown": lambda g: changed(g, known_background=1 - g["label"]),
    "all unknown": lambda g: changed(
        g, label=0 * g["label"], known_background=0 * g["label"], supervised=0 * g["supervised"]
    ),
    "all annotated": lambda g: changed(
        g, label=1 + 0 * g["label"], known_background=0 * g["label"]
    ),
}


@pytest.mark.parametrize("extreme", EXTREMES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("unknown", ["background", "lopsided", "left_out"])
def test_extremes_stay_finite(extreme: str, dtype: torch.dtype, unknown: str) -> None:
    """With logits of 100, too."""
    given = EXTREMES[extreme](mixture(7))
    main, aux = ((100 * logits(seed, SHAPE).sign()).to(dtype) for seed in (7, 8))
    weights = dict.fromkeys(SUPERVISED_TERMS, 1.0)
    method = dbdmp(FixedOutputs(main, aux), supervised=weights, mode="recommended", unknown=unknown)
    loss = method.training_step(given, 0)
    loss.backward()
    assert loss.dtype == torch.float32
    assert math.isfinite(loss.item())
    for parameter in method.network.parameters():
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
    if extreme == "all unknown":
        assert method.logged["train/loss_sup"].item() == 0


@pytest.mark.slow
def test_gradients_of_a_mixture() -> None:
    given = mixture(3)
    y, known = given["label"].double(), given["known_background"].double()
    for unknown in (True, False, None):
        counted = counted_voxels(y, known, given["supervised"], unknown=unknown is not False)
        if unknown is None:
            mixed = logits(4, SHAPE).softmax(dim=1)
            counted = lopsided(Kinds(y, known, counted), mixed).counted

        def terms(x: Tensor, counted: Tensor = counted) -> Tensor:
            found = supervised_terms(
                x, y, dict.fromkeys(SUPERVISED_TERMS, 1.0), gamma=0.8, alpha=0.4,
                known_background=known, counted=counted, node_weight=10.0,
            )  # fmt: skip
            return torch.stack(list(found.values()))

        assert torch.autograd.gradcheck(terms, logits(3, SHAPE).requires_grad_())


@pytest.fixture(scope="module")
def mixed_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A case of each kind of supervision, all with masks and distances, and one to validate on."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("mixed") / "store"
    size = (6, 12, 14)
    cases: dict[str, Any] = {}
    for kind, split in (("full", "train"), ("partial", "train"), ("none", "train"), ("v", "val")):
        label = np.zeros(size, np.uint8)
        label[2:4, 3:6, 4:7] = 1
        image = (rng.normal(1.35, 0.05, size) + 0.1 * label).astype(np.float32)
        marked = None if kind == "none" else label
        cases[kind] = (image, marked, split, "full" if kind == "v" else kind)
    store = CaseStore(write_store(root, cases))
    for kind, (image, marked, *_) in cases.items():
        record = store.record(kind)
        organ, far = np.zeros(size, bool), np.zeros((2, *size), np.uint8)
        organ[:, 8:, :3] = True
        far[0, :, :, 12:] = 90
        record = replace(record, background_sha256="2" * 64, chest_grid=record.grid)
        store.write(record, image, marked, organ, far)
    return root


def test_a_batch_has_a_case_of_each_kind(mixed_store: Path) -> None:
    known = KnownBackground(hu=None, ring_mm=3.0, beyond_lungs_mm=60.0)
    module = PatchDataModule(
        mixed_store, (6, 12, 14), 3, known_background=known, knows_background=True
    )
    batch = module.first_batch()
    supervised = dict(zip(batch["case_id"], batch["supervised"].flatten().tolist(), strict=True))
    assert supervised == {"full": 1, "partial": 1, "none": 0}
    assert batch["supervised"].shape == (3, 1, 1, 1, 1)
    by_case = {
        case: (batch["label"][i, 0] > 0, batch["known_background"][i, 0] > 0)
        for i, case in enumerate(batch["case_id"])
    }
    for marked, background in by_case.values():
        assert not (marked & background).any()
    marked, background = by_case["full"]
    assert marked.any()
    assert (marked | background).all()
    marked, background = by_case["partial"]
    assert background[2, 3, 7]  # the ring
    assert background[0, 11, 13]  # far from the lungs
    assert background[0, 9, 1]  # the organ
    assert not (marked | background)[0, 0, 8]
    marked, background = by_case["none"]
    assert not marked.any()
    assert not background[2, 3, 7]
    assert background[0, 9, 1]
    plain = PatchDataModule(mixed_store, (6, 12, 14), 3).first_batch()
    assert plain.keys() == {"image", "label", "case_id"}


@pytest.mark.training
def test_a_training_on_all_kinds_is_resumed_bit_by_bit(
    mixed_store: Path, tmp_path: Path, train: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = (
        "+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=1", "method.mode=recommended",
        "datamodule.known_background.ring_mm=3", "datamodule.known_background.beyond_lungs_mm=60",
        "datamodule.batch_size=3", f"store={mixed_store}",
        "method.unknown=lopsided", "datamodule.pasting.share=0.7",
    )  # fmt: skip
    assert train(*given, f"run_dir={tmp_path}/whole") == 0
    original = StepSeed.on_train_batch_start

    def stopped(self: StepSeed, trainer: Any, *rest: Any) -> None:
        original(self, trainer, *rest)
        if trainer.global_step == 5:
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(StepSeed, "on_train_batch_start", stopped)
        assert train(*given, f"run_dir={tmp_path}/halved") == 130
    assert train(*given, f"run_dir={tmp_path}/halved", "ckpt_path=last") == 0
    whole, halved = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)
        for name in ("whole", "halved")
    )
    assert whole["global_step"] == halved["global_step"] == 8
    for name, value in whole["state_dict"].items():
        assert torch.equal(value, halved["state_dict"][name]), name
