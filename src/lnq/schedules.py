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

    Examples:
        >>> [round(ramp_up(t, 2.0, t_max=100), 4) for t in (0, 50, 100)]  # 2 e^-5, 2 e^-1.25, 2
        [0.0135, 0.573, 2.0]
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

    Examples:
        >>> [polynomial_decay(t, 0.01, max_epochs=300, power=1.0) for t in (0, 150, 300)]
        [0.01, 0.005, 0.0]
        >>> round(polynomial_decay(150, 0.01, max_epochs=300), 5)  # 0.01 * 0.5^0.9
        0.00536
    """
    return initial * max(0.0, 1.0 - epoch / max_epochs) ** power
