"""Schedules against those of transformers.

Theirs begin with a rate of 0, so that their first step is wasted: our step 0 is their step 1, of one step more.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from tlcourse import training

SHARES = [0.0, 0.06, 0.1, 0.25, 0.5, 0.99]
STEPS = [1, 2, 7, 40, 101]


def theirs(make: Callable[..., torch.optim.lr_scheduler.LambdaLR], warm: int, total: int) -> Callable[[int], float]:
    """Their factor of the learning rate at each step."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    return make(optimizer, num_warmup_steps=warm, num_training_steps=total).lr_lambdas[0]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize(
    ("fall", "make"), [(None, get_linear_schedule_with_warmup), (training.cosine, get_cosine_schedule_with_warmup)]
)
def test_warmup_equals_theirs_without_the_wasted_step(share: float, steps: int, fall, make):
    ours, rising = training.warmup(share, fall=fall), math.ceil(share * steps)
    expected = theirs(make, rising + 1, steps + 1)
    for step in range(steps):
        assert ours(step, steps) == pytest.approx(expected(step + 1), abs=1e-12)
    assert expected(0) == 0, "the step that they waste"
    assert 0 < ours(0, steps) <= 1


@pytest.mark.parametrize("steps", STEPS)
def test_cosine_equals_theirs(steps: int):
    expected = theirs(get_cosine_schedule_with_warmup, 0, steps)
    for step in range(steps):
        assert training.cosine(step, steps) == pytest.approx(expected(step), abs=1e-12)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 300), st.booleans())
def test_rises_to_one_and_falls_but_never_to_zero(share: float, steps: int, curved: bool):
    factor = training.warmup(share, fall=training.cosine if curved else None)
    values = [factor(step, steps) for step in range(steps)]
    rising = math.ceil(share * steps)
    assert values[:rising] == sorted(values[:rising])
    assert values[rising:] == sorted(values[rising:], reverse=True)
    assert all(0 < value <= 1 for value in values)
    if rising < steps:
        assert values[rising] == 1


def test_any_schedule_may_fall_over_the_steps_that_are_left():
    seen: list[tuple[int, int]] = []

    def constant(step: int, steps: int) -> float:
        seen.append((step, steps))
        return 0.5

    factor = training.warmup(0.3, fall=constant)
    assert [factor(step, 10) for step in range(10)] == [0.25, 0.5, 0.75, *[0.5] * 7]
    assert seen == [(step, 7) for step in range(7)]


def test_without_fall_it_is_a_straight_line():
    factor = training.warmup(0.4)
    assert [factor(step, 5) for step in range(5)] == [1 / 3, 2 / 3, 1, 2 / 3, 1 / 3]


@pytest.mark.parametrize("share", [-0.1, 1.0, 2.0, math.nan])
def test_shares_that_make_no_sense(share: float):
    with pytest.raises(ValueError, match=f"share is {share}; give the part of all steps that warms up"):
        training.warmup(share, fall=training.cosine)


def test_rates_follow_an_optimizer_that_loads_a_state():
    """Loading puts other groups in the place of the old ones; the rates are still set, and put back."""
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=2.0)
    rates = training.LearningRates(optimizer, training.cosine, 10)
    optimizer.load_state_dict(torch.optim.SGD([parameter], lr=0.3).state_dict())
    rates.set(5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(1.0)
    with rates:
        rates.set(9)
    assert optimizer.param_groups[0]["lr"] == 2.0
