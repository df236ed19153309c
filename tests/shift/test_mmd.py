"""MMD: values worked out by hand, the estimate without bias, and what the loss does to features."""

from __future__ import annotations

import math

import pytest
import torch

from tlcourse import shift
from tlcourse.shift import kernels
from tlcourse.shift.kernels import gaussian_kernel, squared_distances

SIGMA = math.sqrt(0.5)  # exp(−d²), the kernel of the worked examples


def column(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)[:, None]


def test_worked_example_of_the_unbiased_estimate():
    found = shift.mmd2(column(1, 2, 3), column(2, 3, 4), bandwidth=SIGMA)
    assert found.item() == pytest.approx(-0.276900, abs=1e-5)


def test_worked_example_of_the_linear_estimate():
    found = shift.linear_mmd2(column(1, 2, 3, 4), column(2, 3, 4, 5), bandwidth=SIGMA)
    assert found.item() == pytest.approx(-0.282557, abs=1e-5)


def test_the_linear_estimate_takes_each_row_once():
    """Pairs (1, 2), (3, 4), not (1, 2), (2, 3): the second pair is far apart, and an odd last row is left out."""
    x, y = column(0, 0, 0, 50, 9), column(0, 0, 0, 50, 1)
    # pairs: (0, 0) against (0, 0) gives 0; (0, 50) against (0, 50): k(0, 50) twice is 0, less k(0, 50) twice is 0
    assert shift.linear_mmd2(x, y, bandwidth=1.0).item() == pytest.approx(0, abs=1e-6)
    assert shift.linear_mmd2(column(0, 0, 50, 50), column(9, 9, 0, 0), bandwidth=1.0).item() == pytest.approx(2)


@pytest.mark.parametrize("estimate", [shift.mmd2, shift.linear_mmd2])
def test_without_a_shift_the_mean_is_zero_and_single_values_are_negative(gaussian, estimate):
    values = [
        estimate(gaussian(40, seed=2 * i), gaussian(40, seed=2 * i + 1), bandwidth=2.0).item() for i in range(200)
    ]
    found = torch.tensor(values)
    assert abs(found.mean()) < 3 * found.std() / 200**0.5
    assert 0.3 < (found < 0).float().mean() < 0.7


def test_known_value_for_two_gaussians(gaussian):
    """In closed form: E k(x, y) of two normal variables is again a Gaussian function of the distance of the means."""
    sigma, delta, dim = 1.5, 1.0, 3
    base = (sigma**2 / (sigma**2 + 2)) ** (dim / 2)
    expected = 2 * base * (1 - math.exp(-(delta**2) / (2 * (sigma**2 + 2))))
    x, y = gaussian(3000, seed=0, dim=dim), gaussian(3000, delta, seed=1, dim=dim)
    assert shift.mmd2(x, y, bandwidth=sigma).item() == pytest.approx(expected, rel=0.08)


def test_the_median_bandwidth_is_the_median_distance(gaussian):
    from scipy.spatial.distance import pdist

    rows = gaussian(101)
    assert shift.median_bandwidth(rows) == pytest.approx(float(torch.tensor(pdist(rows)).median()), rel=1e-5)
    assert shift.mmd2(rows, rows + 1).item() == pytest.approx(
        shift.mmd2(rows, rows + 1, bandwidth=shift.median_bandwidth(torch.cat([rows, rows + 1]))).item()
    )
    large = gaussian(4001)
    assert shift.median_bandwidth(large) == pytest.approx(float(torch.tensor(pdist(large)).median()), rel=0.05)


def test_the_loss_is_the_mean_over_bandwidths(gaussian):
    x, y = gaussian(30), gaussian(20, 1.0, seed=1)
    sigma = shift.median_bandwidth(torch.cat([x, y]))
    expected = sum(shift.mmd2(x, y, bandwidth=w * sigma).item() for w in (0.25, 0.5, 1, 2, 4)) / 5
    assert shift.mmd_loss(x, y).item() == pytest.approx(expected, rel=1e-4)


def test_going_down_the_loss_brings_the_domains_together(gaussian):
    x, y = gaussian(60), gaussian(60, 2.0, seed=1).requires_grad_()
    before = shift.mmd_loss(x, y)
    before.backward()
    assert y.grad[:, 0].mean() > 0
    assert shift.mmd_loss(x, y.detach() - 100 * y.grad) < before


def test_the_linear_estimate_is_the_mean_over_pairs_of_rows():
    """Three pairs that differ, and a last row that has no partner."""
    x, y = column(0.0, 0.3, 1.0, 3.0, 2.0, 2.5, 9.0), column(0.5, 0.1, 4.0, 3.5, 2.0, 0.0, 1.0)
    parts = []
    for i in (0, 2, 4):
        pairs = ((x[i], x[i + 1], 1), (y[i], y[i + 1], 1), (x[i], y[i + 1], -1), (x[i + 1], y[i], -1))
        parts.append(sum(sign * math.exp(-((a - b).item() ** 2) / (2 * 0.8**2)) for a, b, sign in pairs))
    assert shift.linear_mmd2(x, y, bandwidth=0.8).item() == pytest.approx(sum(parts) / 3, abs=1e-6)
    by_default = shift.linear_mmd2(x, y, bandwidth=shift.median_bandwidth(torch.cat([x, y])))
    assert torch.equal(shift.linear_mmd2(x, y), by_default)


def test_rounding_makes_no_distance_negative():
    rows = 1e4 + torch.rand(30, 3, generator=torch.Generator().manual_seed(0))
    assert squared_distances(rows, rows).min() == 0
    assert gaussian_kernel(rows, rows, 1.0).max() == 1


@pytest.mark.parametrize(("n", "taken"), [(999, 999), (1000, 1000), (1001, 501), (2001, 667)])
def test_the_median_is_taken_over_a_thousand_rows_at_most(monkeypatch, n: int, taken: int):
    """Every second row of 1001, every third of 2001."""
    seen = []

    def spy(x, y):
        seen.append(len(x))
        return squared_distances(x, y)

    monkeypatch.setattr(kernels, "squared_distances", spy)
    shift.median_bandwidth(torch.rand(n, 1, generator=torch.Generator().manual_seed(0)))
    assert seen == [taken]


def test_a_small_bandwidth_is_a_bandwidth(gaussian):
    rows = gaussian(21)
    assert shift.median_bandwidth(rows / 1000) == pytest.approx(shift.median_bandwidth(rows) / 1000, rel=1e-4)


def test_bad_input(unchecked, gaussian):
    for estimate in (shift.mmd2, shift.linear_mmd2, shift.mmd_loss):
        with pytest.raises(ValueError, match="source is 4 wide and target 3; take both from the same backbone"):
            estimate(gaussian(9), gaussian(9, dim=3))
        with pytest.raises(ValueError, match="n ≥ 2 of both"):
            estimate(gaussian(9), gaussian(1))
        with pytest.raises(ValueError, match="most rows are copies"):
            estimate(torch.zeros(9, 2), torch.zeros(9, 2))
    with pytest.raises(ValueError, match="9 examples of source and 8 of target; pairs need"):
        shift.linear_mmd2(gaussian(9), gaussian(8))
