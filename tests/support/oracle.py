"""Eqs. 2 to 11 voxel by voxel in plain Python floats: slow, and independent of the library.

What is named `original_*` is the form of the authors' code where it differs from the paper.

Arrays: logits (b, 2, z, y, x), annotation y (b, 1, z, y, x). Nothing is vectorised and nothing is
shared with `lnq`, so that a slip in one is not a slip in the other.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Pair = tuple[float, float]


def voxels(shape: tuple[int, ...]) -> Iterator[tuple[int, int, int, int]]:
    """Every (b, z, y, x) of an array (b, c, z, y, x)."""
    b, _, z, y, x = shape
    yield from np.ndindex(b, z, y, x)


def softmax(first: float, second: float) -> Pair:
    """Softmax of two numbers."""
    top = max(first, second)
    a, b = math.exp(first - top), math.exp(second - top)
    return a / (a + b), b / (a + b)


def probability(logits: Floats, at: tuple[int, int, int, int]) -> Pair:
    """The probabilities of both classes at one voxel."""
    b, z, y, x = at
    return softmax(float(logits[b, 0, z, y, x]), float(logits[b, 1, z, y, x]))


def annotated(y: Floats, at: tuple[int, int, int, int]) -> float:
    """The annotation at one voxel."""
    b, z, row, column = at
    return float(y[b, 0, z, row, column])


def cross_entropy(logits: Floats, y: Floats) -> float:
    """Mean of -Σ_k y_k log p_k."""
    total, count = 0.0, 0
    for at in voxels(logits.shape):
        background, node = probability(logits, at)
        total -= math.log(node if annotated(y, at) == 1 else background)
        count += 1
    return total / count


def reverse_cross_entropy(logits: Floats, y: Floats) -> float:
    """Mean of -Σ_k p_k log y_k; log 1 = 0 and log 0 := log 1e-4."""
    total, count = 0.0, 0
    for at in voxels(logits.shape):
        background, node = probability(logits, at)
        total -= (background if annotated(y, at) == 1 else node) * math.log(1e-4)
        count += 1
    return total / count


def symmetric_cross_entropy(logits: Floats, y: Floats, gamma: float) -> float:
    """Eq. 2."""
    return gamma * cross_entropy(logits, y) + reverse_cross_entropy(logits, y)


def partial_cross_entropy(logits: Floats, y: Floats) -> float:
    """Eq. 3: over annotated voxels only, 0 without any."""
    losses = [
        -math.log(probability(logits, at)[1])
        for at in voxels(logits.shape)
        if annotated(y, at) == 1
    ]
    return sum(losses) / len(losses) if losses else 0.0


def tversky(logits: Floats, y: Floats, alpha: float) -> float:
    """Eq. 4: foreground only, one ratio for the whole batch."""
    tp = fp = fn = 0.0
    for at in voxels(logits.shape):
        node = probability(logits, at)[1]
        if annotated(y, at) == 1:
            tp, fn = tp + node, fn + 1 - node
        else:
            fp += node
    return 1 - (tp + 1e-5) / (tp + alpha * fp + (1 - alpha) * fn + 1e-5)


def dice(logits: Floats, y: Floats) -> float:
    """Soft Dice loss of the foreground: 1 - 2 Σpy / (Σp + Σy), both halves smoothed like Eq. 4."""
    overlap = size = 0.0
    for at in voxels(logits.shape):
        node, mark = probability(logits, at)[1], annotated(y, at)
        overlap, size = overlap + node * mark, size + node + mark
    return 1 - (overlap + 1e-5) / (size / 2 + 1e-5)


def supervised(logits: Floats, y: Floats, gamma: float = 0.8, alpha: float = 0.4) -> float:
    """Eq. 5."""
    return (
        symmetric_cross_entropy(logits, y, gamma)
        + partial_cross_entropy(logits, y)
        + tversky(logits, y, alpha)
    )


def pseudo_label(main: Floats, aux: Floats, y: Floats, theta: float, tau: float) -> Floats:
    """Eqs. 6 and 7 and ŷ: (b, 2, z, y, x)."""
    label = np.empty_like(main)
    for at in voxels(main.shape):
        p, q = probability(main, at), probability(aux, at)
        mixed = [theta * p[k] + (1 - theta) * q[k] for k in (0, 1)]
        _, sharp_node = softmax(mixed[0] / tau, mixed[1] / tau)
        node = 1.0 if annotated(y, at) == 1 else sharp_node
        b, z, row, column = at
        label[b, 0, z, row, column] = 1 - node
        label[b, 1, z, row, column] = node
    return label


def kl(p: Pair, q: Pair) -> float:
    """Eq. 8: Σ_k q_k log(q_k / p_k), p the branch that learns."""
    return sum(q[k] * math.log(q[k] / p[k]) for k in (0, 1))


def consensus(logits: Floats, other: Floats, label: Floats) -> float:
    """Eq. 9: both terms are divided by the sum of the weights."""
    weights = numerator = 0.0
    for at in voxels(logits.shape):
        p, q = probability(logits, at), probability(other, at)
        b, z, row, column = at
        ce = -sum(float(label[b, k, z, row, column]) * math.log(p[k]) for k in (0, 1))
        divergence = kl(p, q)
        weight = math.exp(-divergence)
        weights += weight
        numerator += weight * ce + divergence
    return numerator / weights


def total(
    main: Floats, aux: Floats, y: Floats, *, theta: float, lambda_p: float, tau: float = 0.3
) -> float:
    """Eq. 10."""
    label = pseudo_label(main, aux, y, theta, tau)
    return (
        supervised(main, y)
        + supervised(aux, y)
        + lambda_p * (consensus(main, aux, label) + consensus(aux, main, label))
    )


def hard_label(label: Floats) -> Floats:
    """The class above one half of a pseudo label: (b, 1, z, y, x)."""
    hard = np.zeros((label.shape[0], 1, *label.shape[2:]))
    for b, z, row, column in voxels(label.shape):
        hard[b, 0, z, row, column] = 1.0 if label[b, 1, z, row, column] > 0.5 else 0.0
    return hard


def total_of_rows_a_and_b(
    main: Floats, aux: Floats, y: Floats, *, theta: float, lambda_p: float, with_tversky: bool
) -> float:
    """Cross-entropy, Tversky or not, and Dice of both branches with the hard pseudo label."""
    hard = hard_label(pseudo_label(main, aux, y, theta, 0.3))
    loss = 0.0
    for branch in (main, aux):
        loss += cross_entropy(branch, y) + lambda_p * dice(branch, hard)
        loss += tversky(branch, y, 0.4) if with_tversky else 0.0
    return loss


def original_supervised(logits: Floats, y: Floats, gamma: float = 0.8) -> float:
    """Eq. 5 with the reverse cross-entropy averaged over the classes; voxels are annotated."""
    return (
        gamma * cross_entropy(logits, y)
        + reverse_cross_entropy(logits, y) / 2
        + partial_cross_entropy(logits, y)
        + tversky(logits, y, 0.4)
    )


def original_consensus(logits: Floats, other: Floats, label: Floats) -> float:
    """Weighted mean of CE against class int(ŷ_background), plus the plain mean of KL."""
    weights = weighted = divergences = 0.0
    count = 0
    for at in voxels(logits.shape):
        p, q = probability(logits, at), probability(other, at)
        b, z, row, column = at
        as_class = int(label[b, 0, z, row, column])
        divergence = kl(p, q)
        weight = math.exp(-divergence)
        weights += weight
        weighted -= weight * math.log(p[as_class])
        divergences += divergence
        count += 1
    return weighted / weights + divergences / count


def original_total(main: Floats, aux: Floats, y: Floats, *, theta: float, lambda_p: float) -> float:
    """0.25 of each supervised term, and 0.25 λ_p of each pseudo term."""
    label = pseudo_label(main, aux, y, theta, 0.3)
    pseudo = original_consensus(main, aux, label) + original_consensus(aux, main, label)
    both = original_supervised(main, y) + original_supervised(aux, y)
    return 0.25 * both + 0.25 * lambda_p * pseudo


def recommended_total(
    main: Floats, aux: Floats, y: Floats, background: Floats, *, theta: float, lambda_p: float
) -> float:
    """Eq. 10 with `background` marking voxels that are known to be no nodes.

    They are learnt as annotated nodes are, in a term of their own, and their pseudo label is 0.
    """
    label = pseudo_label(main, aux, y, theta, 0.3)
    known = [at for at in voxels(main.shape) if annotated(background, at) == 1]
    loss = 0.0
    for b, z, row, column in known:
        label[b, :, z, row, column] = 1.0, 0.0
    for branch, other in ((main, aux), (aux, main)):
        loss += supervised(branch, y) + lambda_p * consensus(branch, other, label)
        loss -= sum(math.log(probability(branch, at)[0]) for at in known) / max(len(known), 1)
    return loss


def lopsided_cross_entropy(logits: Floats, y: Floats, counted: Floats, node_weight: float) -> float:
    """L_CE with weights: annotated voxels `node_weight` times, each as much as it counts."""
    total, weight = 0.0, 0.0
    for at in voxels(logits.shape):
        background, node = probability(logits, at)
        count = annotated(counted, at)
        if annotated(y, at) == 1:
            total -= node_weight * count * math.log(node)
        else:
            total -= count * math.log(background)
        weight += count
    return total / max(weight, 1.0)


def lopsided_tversky(logits: Floats, y: Floats, counted: Floats, alpha: float) -> float:
    """Eq. 4, a false positive weighing as much as its voxel counts."""
    hit = false = missed = 0.0
    for at in voxels(logits.shape):
        node = probability(logits, at)[1]
        if annotated(y, at) == 1:
            hit += node
            missed += 1 - node
        else:
            false += annotated(counted, at) * node
    return 1 - (hit + 1e-5) / (hit + alpha * false + (1 - alpha) * missed + 1e-5)


def lopsided_counts(
    main: Floats, aux: Floats, y: Floats, known: Floats, counted: Floats, theta: float
) -> Floats:
    """What is unknown counts by how little both branches' mixture takes it for a node."""
    result = counted.copy()
    for b, z, row, column in voxels(main.shape):
        at = (b, z, row, column)
        if annotated(y, at) == 1 or annotated(known, at) == 1:
            continue
        node = theta * probability(main, at)[1] + (1 - theta) * probability(aux, at)[1]
        result[b, 0, z, row, column] *= 1 - node
    return result


def ramp_up(epoch: int, maximum: float = 2.0, t_max: int = 99) -> float:
    """Eq. 11."""
    gap = 1 - min(epoch, t_max) / t_max
    return maximum * math.e ** (-5 * gap * gap)
