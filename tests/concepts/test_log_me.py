"""LogME against a direct maximisation of the evidence on the dense formula."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from tlcourse.concepts import log_me

USELESS = -0.5 * (math.log(2 * math.pi / 3) + 1)  # the best evidence without features, for a third of ones


def evidence(x: np.ndarray, target: np.ndarray) -> float:
    """max over α and β of log N(y; 0, I/β + F Fᵀ/α) / n, by Nelder and Mead from several starts."""
    n = len(x)
    gram = x @ x.T

    def loss(log_alpha_beta: np.ndarray) -> float:
        alpha, beta = np.exp(np.clip(log_alpha_beta, -30, 30))
        covariance = np.eye(n) / beta + gram / alpha
        log_det = np.linalg.slogdet(covariance)[1]
        return 0.5 * (n * math.log(2 * math.pi) + log_det + target @ np.linalg.solve(covariance, target)) / n

    starts = ([0.0, 0.0], [4.0, 2.0], [-3.0, 3.0])
    return -min(minimize(loss, start, method="Nelder-Mead", options={"fatol": 1e-10}).fun for start in starts)


def direct(features: torch.Tensor, labels: torch.Tensor) -> float:
    """The mean over the classes, each against the rest."""
    x = features.double().numpy()
    return float(np.mean([evidence(x, (labels.numpy() == c).astype(float)) for c in labels.unique().numpy()]))


def classes(n: int, dim: int, distance: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    means = distance * torch.randn(3, dim, generator=generator)
    return means[labels] + torch.randn(n, dim, generator=generator), labels


@pytest.mark.parametrize(("n", "dim"), [(60, 5), (40, 40), (30, 80)])
@pytest.mark.parametrize("distance", [0.6, 2.0])
def test_equals_the_direct_maximum(n: int, dim: int, distance: float):
    features, labels = classes(n, dim, distance)
    assert log_me(features, labels) == pytest.approx(direct(features, labels), abs=2e-4)


def test_features_that_fit_by_luck_score_no_better_than_none():
    features, labels = classes(90, 60, 0.0)
    assert log_me(features, labels) == pytest.approx(USELESS, abs=0.05)
    useful, _ = classes(90, 60, 1.0)
    assert log_me(useful, labels) > USELESS + 0.5


@pytest.mark.parametrize(("n", "dim"), [(60, 5), (30, 80)])
def test_does_not_depend_on_rotation_scale_or_names_of_labels(n: int, dim: int):
    features, labels = classes(n, dim, 1.0)
    value = log_me(features, labels)
    turn = torch.linalg.qr(torch.randn(dim, dim, generator=torch.Generator().manual_seed(1)))[0]
    assert log_me(features @ turn, labels) == pytest.approx(value, abs=1e-4)
    assert log_me(20 * features, labels) == pytest.approx(value, abs=1e-3)
    assert log_me(features, torch.tensor([8, 3, 5])[labels]) == pytest.approx(value, abs=1e-12)


def test_nearer_classes_score_lower():
    scores = [log_me(*classes(90, 10, distance)) for distance in (0.0, 0.3, 1.0, 3.0)]
    assert scores == sorted(scores)


def test_a_slow_fixed_point_is_followed_to_its_end():
    features = torch.randn(20, 100, generator=torch.Generator().manual_seed(0)) + 3
    labels = torch.arange(20) % 4
    assert log_me(features, labels) == pytest.approx(direct(features, labels), abs=2e-3)


def test_features_of_nothing_but_zeros_are_refused():
    with pytest.raises(ValueError, match="all 0"):
        log_me(torch.zeros(6, 3), torch.arange(6) % 2)
