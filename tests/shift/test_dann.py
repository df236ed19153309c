"""Gradient reversal, its ramp, and the network that guesses the domain."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from tlcourse import shift
from tlcourse.shift.batches import endless


@pytest.mark.parametrize("strength", [0.0, 0.3, 2.0])
def test_the_reversed_gradient_is_minus_strength_times_the_gradient(gaussian, strength: float):
    x, weight = gaussian(5).requires_grad_(), gaussian(4, seed=1, dim=1).requires_grad_()
    plain = torch.autograd.grad((x @ weight).square().sum(), (x, weight))
    reversed_ = torch.autograd.grad((shift.reverse_gradient(x, strength) @ weight).square().sum(), (x, weight))
    torch.testing.assert_close(reversed_[0], -strength * plain[0])
    torch.testing.assert_close(reversed_[1], plain[1])
    assert torch.equal(shift.reverse_gradient(x, strength), x)


def test_the_ramp_is_the_papers():
    assert shift.ramp(0.0) == 0
    assert shift.ramp(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert shift.ramp(1.0) == pytest.approx(0.9999, abs=1e-4)
    assert shift.ramp(0.5, gamma=1.0) == pytest.approx(math.tanh(0.25))
    with pytest.raises(ValueError, match=r"progress is 1\.5"):
        shift.ramp(1.5)


def test_the_adversary_learns_at_full_strength_and_hands_back_the_reverse(gaussian):
    adversary = shift.Adversary(4, hidden=8)
    x, y = gaussian(6).requires_grad_(), gaussian(10, 1.0, seed=1).requires_grad_()
    found = adversary(x, y, 0.5)
    logits = adversary.net(torch.cat([x, y])).flatten()
    by_hand = [
        F.binary_cross_entropy_with_logits(part, torch.full_like(part, label))
        for part, label in ((logits[:6], 0.0), (logits[6:], 1.0))
    ]
    expected = (by_hand[0] + by_hand[1]) / 2
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    inputs = [x, y, *adversary.parameters()]
    for i, (got, plain) in enumerate(
        zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True)
    ):
        torch.testing.assert_close(got, (-0.5 if i < 2 else 1.0) * plain, rtol=1e-4, atol=1e-7)


def test_training_it_against_features_hides_the_domain(gaussian):
    """Features are a learned shift of the target: the game moves the target onto the source."""
    source, target = gaussian(200), gaussian(200, 2.0, seed=1)
    move = torch.zeros(4, requires_grad=True)
    adversary = shift.Adversary(4, hidden=16)
    rule = torch.optim.Adam([{"params": adversary.parameters()}, {"params": [move], "lr": 0.02}], lr=0.01)
    for _ in range(300):
        rule.zero_grad()
        adversary(source, target + move, 1.0).backward()
        rule.step()
    assert move[0].item() == pytest.approx(-2.0, abs=0.5)
    assert adversary(source, target + move, 1.0).item() == pytest.approx(math.log(2), abs=0.05)


def test_batches_are_full_and_pass_everything_once_a_round():
    walk = endless(10, 4, torch.Generator().manual_seed(0))
    batches = [next(walk) for _ in range(40)]
    assert {len(b) for b in batches} == {4}
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert len(torch.cat([first, second]).unique()) == 8
    assert len(torch.cat(batches).unique()) == 10
    assert len(next(endless(3, 8, torch.Generator()))) == 3


def test_a_round_has_full_batches_only():
    """Of five by threes the second batch would have two, so that a new round begins."""
    walk = endless(5, 3, torch.Generator().manual_seed(0))
    assert {len(next(walk)) for _ in range(10)} == {3}
    orders = [next(endless(6, 6, torch.Generator().manual_seed(seed))).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]
    assert sorted(orders[2]) == list(range(6))


def test_bad_input(unchecked, gaussian):
    with pytest.raises(ValueError, match="source is 4 wide and target 3"):
        shift.Adversary(4)(gaussian(5), gaussian(5, dim=3), 1.0)
