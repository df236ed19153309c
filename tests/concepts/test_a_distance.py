"""Proxy A-distance: 0 for one domain, 2 for two that a line separates, and what lies between."""

import pytest
import torch
from scipy.stats import norm

from tlcourse.concepts import proxy_a_distance


def gaussian(n: int, shift: float, seed: int, dim: int = 4) -> torch.Tensor:
    features = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    features[:, 0] += shift
    return features


def test_is_zero_within_noise_for_the_same_distribution():
    values = [proxy_a_distance(gaussian(400, 0, 2 * i), gaussian(400, 0, 2 * i + 1), seed=i) for i in range(6)]
    assert max(values) < 0.3
    assert min(values) >= 0, "an error above one half counts as one half"
    assert min(values) == 0


def test_is_two_for_separable_domains():
    assert proxy_a_distance(gaussian(100, 0, 0), gaussian(100, 50, 1)) == 2


@pytest.mark.parametrize("shift", [1.0, 2.0, 3.0])
def test_follows_the_best_linear_error(shift: float):
    error = norm.cdf(-shift / 2)  # of the best line between two unit Gaussians
    found = proxy_a_distance(gaussian(2000, 0, 0), gaussian(2000, shift, 1))
    assert found == pytest.approx(2 * (1 - 2 * error), abs=0.1)


def test_cannot_be_fooled_by_many_features():
    """With more features than examples every training set is separable; only unseen examples tell."""
    assert proxy_a_distance(gaussian(60, 0, 0, dim=300), gaussian(60, 0, 1, dim=300)) < 0.6


def test_domains_of_other_sizes_are_made_equal():
    """A classifier that always answers with the larger domain must not look good."""
    assert proxy_a_distance(gaussian(60, 0, 0), gaussian(1500, 0, 1)) < 0.6
    assert proxy_a_distance(gaussian(1500, 50, 0), gaussian(51, 0, 1)) == 2


def test_every_example_is_tested_once():
    """2 − distance is 2 / n for every error, and errors of both halves count: some seeds have an odd number."""
    a, b = gaussian(20, 0, 0), gaussian(20, 1.5, 1)
    errors = [(2 - proxy_a_distance(a, b, seed=seed)) * 20 / 2 for seed in range(8)]
    assert errors == pytest.approx([round(count) for count in errors])
    assert {round(count) % 2 for count in errors} == {0, 1}


def test_seed_decides_the_halves_and_nothing_else_is_random():
    a, b = gaussian(60, 0, 0), gaussian(80, 0.8, 1)
    state = torch.get_rng_state()
    first = proxy_a_distance(a, b, seed=3)
    assert proxy_a_distance(a, b, seed=3) == first
    assert len({proxy_a_distance(a, b, seed=seed) for seed in range(5)}) > 1
    assert torch.equal(torch.get_rng_state(), state)


def test_refuses_too_few_examples_and_nan():
    with pytest.raises(ValueError, match="at least four"):
        proxy_a_distance(gaussian(3, 0, 0), gaussian(9, 0, 1))
    with pytest.raises(ValueError, match="target hold NaN"):
        proxy_a_distance(gaussian(9, 0, 0), gaussian(9, float("nan"), 1))
