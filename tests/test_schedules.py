"""λ_p of Eq. 11, the polynomial rate, and the seeds, against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from support import oracle

from lnq.schedules import polynomial_decay, ramp_up
from lnq.seeding import derive_seed, generator

# λ = 2, t_max = 99: 2 e^-5; t = 50: (49/99)² = 0.2449750, 2 e^-1.2248750; 98: 2 e^(-5/9801).
RAMP = {0: 0.0134758940, 50: 0.5875888372, 98: 1.9989799562, 99: 2.0, 100: 2.0, 299: 2.0}

# 0.01 (1 - t/300)^0.9; e.g. t = 100: 0.01 e^(0.9 ln(2/3)) = 0.01 e^-0.3649186.
RATE = {
    0: 0.01,
    50: 0.008486661468,
    99: 0.006973765223,
    100: 0.006942531627,
    299: 0.00005896453402,
}


@pytest.mark.parametrize(("epoch", "expected"), RAMP.items())
def test_ramp_up_at_the_paper_s_epochs(epoch: int, expected: float) -> None:
    assert ramp_up(epoch, 2.0, 99) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("epoch", [0, 1, 37, 98, 99, 150])
def test_ramp_up_follows_the_oracle(epoch: int) -> None:
    assert ramp_up(epoch, 1.4, 99) == pytest.approx(oracle.ramp_up(epoch, 1.4), rel=1e-12)


def test_ramp_up_never_falls_and_never_passes_its_maximum() -> None:
    values = [ramp_up(epoch, 2.0, 99) for epoch in range(300)]
    assert values == sorted(values)
    assert max(values) == 2.0


def test_ramp_up_of_no_length_is_constant() -> None:
    assert [ramp_up(epoch, 2.0, 0) for epoch in (0, 1, 5)] == [2.0, 2.0, 2.0]


@pytest.mark.parametrize(("epoch", "expected"), RATE.items())
def test_polynomial_decay_at_the_paper_s_epochs(epoch: int, expected: float) -> None:
    assert polynomial_decay(epoch, 0.01, 300) == pytest.approx(expected, rel=1e-9)


def test_last_epoch_of_pre_training_still_learns() -> None:
    # 1000 epochs: (1/1000)^0.9 = 10^-2.7
    assert polynomial_decay(999, 0.01, 1000) == pytest.approx(0.01 * 10**-2.7)


def test_polynomial_decay_is_zero_and_real_at_and_after_the_end() -> None:
    assert polynomial_decay(300, 0.01, 300) == 0.0
    assert polynomial_decay(301, 0.01, 300) == 0.0


def test_power_one_is_a_straight_line() -> None:
    assert polynomial_decay(75, 0.04, 300, power=1.0) == pytest.approx(0.03)


def test_seed_is_the_same_on_every_machine_and_in_every_process() -> None:
    # sha256("0\x1ftheta\x1f7"): the first eight bytes, little endian, without the lowest bit.
    assert derive_seed(0, "theta", 7) == 0x5BF4CBC6F75BB7CE


def test_every_part_of_the_purpose_and_their_order_change_the_seed() -> None:
    seeds = {
        derive_seed(0),
        derive_seed(1),
        derive_seed(0, "theta"),
        derive_seed(0, "theta", 0),
        derive_seed(0, "theta", 1),
        derive_seed(0, 0, "theta"),
        derive_seed(0, 1, 23),
        derive_seed(0, 12, 3),
        derive_seed(0, "a", "b"),
        derive_seed(0, "ab"),
    }
    assert len(seeds) == 10


def test_seeds_fit_where_signed_64_bit_integers_are_asked_for() -> None:
    seeds = [derive_seed(0, draw) for draw in range(500)]
    assert min(seeds) >= 0
    assert max(seeds) < 2**63
    assert max(seeds) > 2**62  # and use the range


def test_generators_repeat_and_leave_the_global_one_alone() -> None:
    before = np.random.get_state()[1].copy()
    first, again = generator(5, "x").random(4), generator(5, "x").random(4)
    assert first.tolist() == again.tolist()
    assert first.tolist() != generator(6, "x").random(4).tolist()
    assert np.array_equal(before, np.random.get_state()[1])


def test_draws_of_consecutive_steps_are_spread_evenly() -> None:
    thetas = np.array([generator(0, "theta", step).random() for step in range(2000)])
    assert math.isclose(thetas.mean(), 0.5, abs_tol=0.02)
    assert math.isclose(thetas.var(), 1 / 12, abs_tol=0.005)
    assert abs(np.corrcoef(thetas[:-1], thetas[1:])[0, 1]) < 0.07
