"""Stand-ins for the authors' code: the same losses and corruption, written plainly.

Eager, fp16 with a gradient scaler, losses from clamped logarithms of probabilities, the gradients
clipped after unscaling, the loss read after each step: how nnU-Net's trainers do it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

EPSILON = 1e-8


def plain_loss(main: Tensor, aux: Tensor, y: Tensor, theta: Tensor, lambda_p: Tensor) -> Tensor:
    """Eq. 10 of the paper, term by term; logits (b, 2, z, y, x), y (b, 1, z, y, x)."""
    p, q = torch.softmax(main.float(), dim=1), torch.softmax(aux.float(), dim=1)
    one_hot = torch.cat([1 - y, y], dim=1)
    supervised = _supervised(p, one_hot) + _supervised(q, one_hot)
    mixed = (theta * p + (1 - theta) * q).detach()
    foreground = y + (1 - y) * torch.softmax(mixed / 0.3, dim=1)[:, 1:]
    target = torch.cat([1 - foreground, foreground], dim=1)
    return supervised + lambda_p * (_consensus(p, q, target) + _consensus(q, p, target))


def _log(p: Tensor) -> Tensor:
    return torch.log(p.clamp_min(EPSILON))


def _supervised(p: Tensor, one_hot: Tensor) -> Tensor:
    ce = -(one_hot * _log(p)).sum(dim=1).mean()
    rce = -(p * torch.log(one_hot.clamp_min(1e-4))).sum(dim=1).mean()
    node, y = p[:, 1:], one_hot[:, 1:]
    pce = -(_log(node) * y).sum() / y.sum().clamp_min(1)
    true_positive = (node * y).sum()
    false_positive, false_negative = (node * (1 - y)).sum(), ((1 - node) * y).sum()
    weighted = true_positive + 0.4 * false_positive + 0.6 * false_negative
    return 0.8 * ce + rce + pce + 1 - (true_positive + 1e-5) / (weighted + 1e-5)


def _consensus(p: Tensor, q: Tensor, target: Tensor) -> Tensor:
    kl = (q * (_log(q) - _log(p))).sum(dim=1, keepdim=True)
    weight = torch.exp(-kl)
    ce = -(target * _log(p)).sum(dim=1, keepdim=True)
    return (weight * ce + kl).sum() / weight.sum()


def plain_corruption(patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Model Genesis window by window, with its chances; patch (z, y, x)."""
    size, given = np.asarray(patch.shape), patch.copy()
    if rng.random() < 0.5:
        for _ in range(10_000):
            window = _box(size, rng.integers(1, size // 10, endpoint=True), rng)
            voxels = patch[window].flatten()
            rng.shuffle(voxels)
            given[window] = voxels.reshape(given[window].shape)
    if rng.random() < 0.9:
        t = np.linspace(0, 1, 100_000)[:, None]
        basis = np.hstack([(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3])
        x, y = (basis @ np.vstack([(0, 0), rng.random((2, 2)), (1, 1)])).T
        low, high = np.percentile(given, (0.1, 99.9))
        share = (np.clip(given, low, high) - low) / (high - low)
        given = low + (high - low) * np.interp(share, np.sort(x), np.sort(y))
    if rng.random() < 0.9:
        noise, inner = rng.uniform(given.min(), given.max(), given.shape), rng.random() < 0.2
        share = (1 / 6, 1 / 3) if inner else (3 / 7, 4 / 7)
        painted = given.copy() if inner else noise
        for _ in range(5):
            window = _box(size, rng.integers(*(np.outer(share, size).astype(int))), rng)
            painted[window] = (noise if inner else given)[window]
        given = painted
    return given.astype(patch.dtype)


def _box(size: np.ndarray, sides: np.ndarray, rng: np.random.Generator) -> tuple[slice, ...]:
    start = rng.integers(0, size - sides, endpoint=True)
    return tuple(slice(a, a + n) for a, n in zip(start, sides, strict=True))
