"""CORAL: the paper's formula, and second moments that agree afterwards."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tlcourse import shift
from tlcourse.shift.coral import covariance


def test_the_loss_is_the_papers(gaussian):
    x, y = gaussian(12, seed=0), 2 * gaussian(9, 3.0, seed=1)
    expected = np.square(np.cov(x.numpy(), rowvar=False) - np.cov(y.numpy(), rowvar=False)).sum() / (4 * 4**2)
    assert shift.coral_loss(x, y).item() == pytest.approx(expected, rel=1e-5)


def test_worked_example():
    """Variances 1 and 4, no covariance: (1 − 4)² / (4 · 2²) for the one entry that differs."""
    x = torch.tensor([[-1.0, 1.0], [0.0, -2.0], [1.0, 1.0]])
    y = torch.tensor([[-2.0, 1.0], [0.0, -2.0], [2.0, 1.0]])
    assert shift.coral_loss(x, y).item() == pytest.approx(9 / 16)


def test_means_have_no_say(gaussian):
    assert shift.coral_loss(gaussian(20), gaussian(20) + 5).item() == pytest.approx(0, abs=1e-10)


def test_gradients_reach_both_domains(gaussian):
    x, y = gaussian(20).requires_grad_(), (2 * gaussian(20, seed=1)).requires_grad_()
    shift.coral_loss(x, y).backward()
    for rows in (x, y):
        assert rows.grad.abs().sum() > 0


def test_covariances_agree_afterwards(gaussian):
    mix = torch.tensor([[2.0, 1.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.3, 3.0]])
    x, y = gaussian(400, dim=3), gaussian(300, seed=1, dim=3) @ mix
    moved = shift.coral(x, y, ridge=1e-6)
    torch.testing.assert_close(covariance(moved), covariance(y), rtol=1e-3, atol=1e-3)
    assert shift.coral_loss(moved, y) < 1e-4 * shift.coral_loss(x, y)


def test_the_ridge_holds_back(gaussian):
    """Along one axis variance v becomes v · (w + 1) / (v + 1) with a ridge of 1."""
    x, y = gaussian(500, dim=1), 3 * gaussian(500, seed=1, dim=1)
    v, w = x.var().item(), y.var().item()
    assert shift.coral(x, y).var().item() == pytest.approx(v * (w + 1) / (v + 1), rel=1e-4)


def test_the_same_domain_is_left_alone(gaussian):
    torch.testing.assert_close(shift.coral(gaussian(50), gaussian(50)), gaussian(50), rtol=1e-4, atol=1e-4)


def test_standardise_each_domain(gaussian):
    rows = gaussian(200, dim=3) * torch.tensor([1.0, 5.0, 0.0]) + 4
    found = shift.standardise(rows)
    assert found.mean(dim=0).abs().max() < 1e-5
    assert found.std(dim=0, correction=0)[:2] == pytest.approx([1, 1], rel=4e-3)
    assert (found[:, 2] == 0).all()
    nearly = rows + torch.tensor([0.0, 0.0, 1e-6]) * gaussian(200, seed=2, dim=3)
    assert shift.standardise(nearly)[:, 2].abs().max() < 0.01, "rounding noise must stay noise"


def test_standardise_by_hand(gaussian):
    rows = gaussian(7, 3.0, dim=3) * torch.tensor([1.0, 5.0, 0.1])
    deviation = rows.double().numpy().std(axis=0)
    typical = np.sqrt((deviation**2).mean())
    for epsilon in (1e-3, 0.5):
        expected = (rows.double().numpy() - rows.double().numpy().mean(axis=0)) / (deviation + epsilon * typical)
        found = shift.standardise(rows, epsilon=epsilon)
        torch.testing.assert_close(found.double(), torch.from_numpy(expected), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(shift.standardise(rows / 1000), shift.standardise(rows), atol=1e-5, rtol=1e-4)


def test_bad_input(unchecked, gaussian):
    with pytest.raises(ValueError, match="source is 4 wide and target 3"):
        shift.coral_loss(gaussian(9), gaussian(9, dim=3))
    with pytest.raises(ValueError, match="source is 4 wide and target 3"):
        shift.coral(gaussian(9), gaussian(9, dim=3))
    with pytest.raises(ValueError, match="n ≥ 2 of both"):
        shift.coral_loss(gaussian(1), gaussian(9))
    with pytest.raises(ValueError, match="target holds NaN"):
        shift.coral(gaussian(9), gaussian(9, float("nan")))
    with pytest.raises(ValueError, match=r"ridge is 0\.0"):
        shift.coral(gaussian(9), gaussian(9), ridge=0.0)
    with pytest.raises(ValueError, match="features are the same for every row"):
        shift.standardise(torch.ones(5, 2))
    with pytest.raises(ValueError, match=r"epsilon is 0\.0"):
        shift.standardise(gaussian(9), epsilon=0.0)
