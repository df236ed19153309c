"""H-score against canonical correlations, its bounds, and the shrunk one."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import eigh
from sklearn.covariance import LedoitWolf

from tlcourse.concepts import h_score


def classes(sizes: tuple[int, ...], dim: int, distance: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around class means, far from 0, and labels in random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    means = distance * torch.randn(len(sizes), dim, generator=generator)
    return 5 + means[labels] + torch.randn(len(labels), dim, generator=generator), labels


def canonical_correlations(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Squared, from the generalised eigenproblem  Cxy Cyy⁺ Cyx v = ρ² Cxx v."""
    x, y = x - x.mean(axis=0), y - y.mean(axis=0)
    explained = (x.T @ y) @ np.linalg.pinv(y.T @ y) @ (y.T @ x)
    return np.asarray(eigh(explained, x.T @ x, eigvals_only=True))


@pytest.mark.parametrize("sizes", [(40, 40), (70, 20, 10), (30, 25, 20, 15, 10)])
@pytest.mark.parametrize("distance", [0.0, 0.5, 5.0])
def test_is_the_sum_of_squared_canonical_correlations(sizes: tuple[int, ...], distance: float):
    features, labels = classes(sizes, 6, distance)
    one_hot = torch.nn.functional.one_hot(labels).double().numpy()
    expected = canonical_correlations(features.double().numpy(), one_hot).sum()
    found = h_score(features, labels, shrinkage=0.0)
    assert found == pytest.approx(expected, rel=1e-8)
    assert 0 < found < len(sizes) - 1


def test_reaches_its_bounds():
    features, labels = classes((20, 30, 10), 4, 1e4)
    assert h_score(features, labels, shrinkage=0.0) == pytest.approx(2, abs=1e-3)
    corners = torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert h_score(corners, torch.tensor([0, 0, 1, 1]), shrinkage=0.0) == pytest.approx(0, abs=1e-12)
    wide = torch.randn(20, 50, generator=torch.Generator().manual_seed(0))
    anything = torch.arange(20) % 4
    assert h_score(wide, anything, shrinkage=0.0) == pytest.approx(3, abs=1e-8), "more features than examples"
    assert h_score(wide, anything) < 1, "shrinkage sees that these labels mean nothing"


def test_does_not_depend_on_invertible_maps_or_names_of_labels():
    features, labels = classes((30, 20, 10), 5, 0.7)
    value = h_score(features, labels, shrinkage=0.0)
    turn = torch.randn(5, 5, generator=torch.Generator().manual_seed(1))
    assert h_score(features @ turn - 3, labels, shrinkage=0.0) == pytest.approx(value, rel=1e-4)
    assert h_score(features, torch.tensor([9, 4, 100])[labels], shrinkage=0.0) == pytest.approx(value, rel=1e-12)
    silent = torch.cat([features, torch.zeros(len(features), 2)], dim=1)
    assert h_score(silent, labels, shrinkage=0.0) == pytest.approx(value, rel=1e-8)


@pytest.mark.parametrize(("sizes", "dim"), [((30, 20, 10), 8), ((10, 10, 10), 100)])
def test_shrunk_score_is_ibrahims(sizes: tuple[int, ...], dim: int):
    features, labels = classes(sizes, dim, 0.5)
    x = features.double().numpy()
    fitted = LedoitWolf().fit(x)
    means = np.stack([x[labels.numpy() == c].mean(axis=0) for c in labels.numpy()])
    amount = fitted.shrinkage_
    assert 0.01 < amount < 0.99
    expected = np.trace(np.linalg.inv(fitted.covariance_) @ ((1 - amount) * np.cov(means.T, bias=True)))
    assert h_score(features, labels) == pytest.approx(expected, rel=1e-8)
    assert h_score(features, labels, shrinkage=float(amount)) == pytest.approx(expected, rel=1e-8)
    assert h_score(features, labels, shrinkage=1.0) == pytest.approx(0, abs=1e-12)


@given(st.floats(allow_nan=True))
def test_refuses_a_shrinkage_that_is_no_share(shrinkage: float):
    features, labels = classes((5, 5), 2, 1.0)
    if 0 <= shrinkage <= 1:
        assert h_score(features, labels, shrinkage=shrinkage) >= 0
    else:
        with pytest.raises(ValueError, match="shrinkage is"):
            h_score(features, labels, shrinkage=shrinkage)


def test_refuses_features_without_variation():
    with pytest.raises(ValueError, match="the same for every example"):
        h_score(torch.full((11, 3), 0.1, dtype=torch.float64), torch.arange(11) % 2)
