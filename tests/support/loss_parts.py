"""Losses of a batch of which each of two processes has a half."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, distributed

from lnq.losses import (
    ONE_PROCESS,
    AllProcesses,
    Kinds,
    Processes,
    consensus_loss,
    cross_entropy,
    dice_loss,
    partial_cross_entropy,
    pseudo_terms,
    symmetric_cross_entropy,
    tversky_loss,
)
from lnq.losses.pseudo import PseudoTerm
from support.loss_inputs import random_annotation, random_logits
from support.methods import KLCE, dbdmp

SHAPE = (4, 2, 3, 4, 5)
PROCESSES = 2
OnLogits = Callable[[Tensor, Tensor, Kinds, Tensor, Processes], Tensor]
"""Main and auxiliary logits, what is known, a pseudo label, where the batch lies."""
DICE: dict[PseudoTerm, float] = {"dice": 1.0}


def _recommended(main: Tensor, aux: Tensor, kinds: Kinds, _: Tensor, where: Processes) -> Tensor:
    method = dbdmp(
        mode="recommended", unknown="lopsided", node_weight=3.0, pseudo=KLCE,
        supervised={"ce": 1.0, "pce": 1.0, "tversky": 0.5},
    )  # fmt: skip
    return method.objective((main, aux), kinds, 0.3, 0.7, where)[0]


def _original(main: Tensor, aux: Tensor, kinds: Kinds, _: Tensor, where: Processes) -> Tensor:
    return dbdmp(mode="original").objective((main, aux), Kinds(kinds.annotated), 0.3, 2.0, where)[0]


LOSSES: dict[str, OnLogits] = {
    "ce": lambda a, _, k, t, p: cross_entropy(a, k.annotated, processes=p),
    "ce, counted": lambda a, _, k, t, p: cross_entropy(
        a, k.annotated, counted=k.counted, node_weight=3.0, processes=p
    ),
    "sce": lambda a, _, k, t, p: symmetric_cross_entropy(a, k.annotated, processes=p),
    "sce, counted": lambda a, _, k, t, p: symmetric_cross_entropy(
        a, k.annotated, counted=k.counted, processes=p
    ),
    "pce": lambda a, _, k, t, p: partial_cross_entropy(a, k.annotated, processes=p),
    "pce, nan": lambda a, _, k, t, p: partial_cross_entropy(
        a, k.annotated, nan_if_empty=True, processes=p
    ),
    "tversky": lambda a, _, k, t, p: tversky_loss(a, k.annotated, 0.3, processes=p),
    "tversky, counted": lambda a, _, k, t, p: tversky_loss(
        a, k.annotated, 0.3, counted=k.counted, processes=p
    ),
    "dice": lambda a, _, k, t, p: dice_loss(a, k.annotated, counted=k.counted, processes=p),
    "consensus": lambda a, b, k, t, p: consensus_loss(a, b, t, processes=p),
    "consensus, apart": lambda a, b, k, t, p: consensus_loss(a, b, t, kl_apart=True, processes=p),
    "pseudo dice": lambda a, b, k, t, p: pseudo_terms(a, b, t, DICE, processes=p)["dice"],
    "recommended": _recommended,
    "original": _original,
}
ANNOTATED = {"in both": slice(0, 4), "in one": slice(0, 2), "nowhere": slice(0, 0)}


def batch(annotated: str) -> tuple[Tensor, Tensor, Kinds, Tensor]:
    """A whole batch whose samples of `ANNOTATED` alone are annotated."""
    y, background, counted = (random_annotation(seed, SHAPE) for seed in (1, 2, 3))
    only = torch.zeros_like(y)
    only[ANNOTATED[annotated]] = 1
    y = y * only
    kinds = Kinds(y, background * (1 - y), (counted + y).clamp_max(1))
    pseudo = torch.softmax(random_logits(7, SHAPE), dim=1)
    return random_logits(4, SHAPE), random_logits(5, SHAPE), kinds, pseudo


def of_all(name: str, annotated: str) -> list[Tensor]:
    """Loss and gradients by both logits of the whole batch, in this process."""
    return _evaluated(LOSSES[name], *batch(annotated), ONE_PROCESS)


def of_parts(rank: int, folder: Path) -> None:
    """What a process finds of its part, for every loss and batch, saved as `RANK.pt`.

    One loss is compiled besides: `compiled` tells whether it gives the same.
    """
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=PROCESSES
    )
    mine = slice(2 * rank, 2 * rank + 2)
    found = {}
    for annotated in ANNOTATED:
        main, aux, kinds, pseudo = batch(annotated)
        part = (main[mine], aux[mine], Kinds(*(each[mine] for each in kinds)), pseudo[mine])
        for name, loss in LOSSES.items():
            found[name, annotated] = _evaluated(loss, *part, AllProcesses(PROCESSES))
    compiled = torch.compile(_consensus, fullgraph=True, dynamic=False, backend="aot_eager")
    found["compiled", ""] = _evaluated(compiled, *part, AllProcesses(PROCESSES))
    torch.save(found, folder / f"{rank}.pt")
    distributed.destroy_process_group()


def _consensus(main: Tensor, aux: Tensor, _: Kinds, target: Tensor, where: Processes) -> Tensor:
    return consensus_loss(main, aux, target, processes=where)


def _evaluated(
    loss: OnLogits, main: Tensor, aux: Tensor, kinds: Kinds, pseudo: Tensor, where: Processes
) -> list[Tensor]:
    main, aux = (logits.clone().requires_grad_() for logits in (main, aux))
    value = loss(main, aux, kinds, pseudo, where)
    value.backward()
    slopes = (torch.zeros_like(x) if x.grad is None else x.grad for x in (main, aux))
    return [value.detach(), *slopes]
