"""Schedules as pure functions of the epoch."""

from __future__ import annotations

import math


def ramp_up(epoch: int, maximum: float, t_max: int) -> float:
    """Weight λ_p of the pseudo-label term (paper, Eq. 11).

    `λ exp(-5 (1 - t/t_max)²)` up to epoch `t_max`, constant `λ` afterwards.

    Args:
        epoch: t, counted from 0.
        maximum: λ, reached at `t_max`.
        t_max: Length of the ramp in epochs, >= 0; 0 means no ramp.

    Returns:
        λ_p in (0, maximum].
    """
    if epoch >= t_max:
        return maximum
    return maximum * math.exp(-5.0 * (1.0 - epoch / t_max) ** 2)


def polynomial_decay(epoch: int, initial: float, max_epochs: int, power: float = 0.9) -> float:
    """Learning rate `initial (1 - epoch/max_epochs)^power` (paper, section on training; nnU-Net).

    Args:
        epoch: Counted from 0.
        initial: Rate of epoch 0.
        max_epochs: Epochs of the whole training; from there on the rate is 0.
        power: Exponent.

    Returns:
        The rate of that epoch, in [0, initial].
    """
    return initial * max(0.0, 1.0 - epoch / max_epochs) ** power
