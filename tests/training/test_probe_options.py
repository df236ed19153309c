"""Weights and scaling of the linear probe."""

import pytest
import torch

from tlcourse import training


def task(n: int = 40, dim: int = 6, seed: int = 0):
    features = torch.randn(n, dim, generator=torch.Generator().manual_seed(seed))
    return features, (features[:, 0] + 0.5 * features[:, 1] > 0).long()


def test_a_weight_of_two_is_the_example_twice():
    x, y = task()
    weights = torch.ones(len(x))
    weights[:10] = 2
    twice = training.probe(torch.cat([x, x[:10]]), torch.cat([y, y[:10]]), scaling="common")
    weighted = training.probe(x, y, weights=weights, scaling="common")
    # Mean and scale are those of the examples as given, so compare the functions where these agree: on predictions.
    agree = (twice.predict(x) == weighted.predict(x)).float().mean()
    plain = training.probe(x, y, scaling="common")
    assert agree == 1
    assert not torch.allclose(plain.weight, weighted.weight, atol=1e-4)


def test_weights_equal_scikit_learns():
    from sklearn.linear_model import LogisticRegression

    x, y = task(n=60)
    y[:20] = (torch.arange(20) % 3).long()
    weights = torch.rand(60, generator=torch.Generator().manual_seed(1)) + 0.1
    ours = training.probe(x, y, weights=weights, l2=1.0)
    z = ((x - x.mean(0)) / x.std(0, correction=0)).numpy()
    theirs = LogisticRegression(C=1.0, max_iter=5000, tol=1e-8).fit(z, y, sample_weight=weights)
    scores = torch.tensor(theirs.decision_function(z))
    mine = ours.scores(x)
    assert torch.allclose(mine.softmax(1).double(), scores.softmax(1).double(), atol=1e-3)


def test_tiny_weights_are_nearly_absence():
    x, y = task()
    wrong = 1 - y[:20]
    weights = torch.cat([torch.full((20,), 1e-6), torch.ones(20)])
    with_wrong = training.probe(x, torch.cat([wrong, y[20:]]), weights=weights)
    assert with_wrong.accuracy(x[20:], y[20:]) == 1


def test_common_scaling_keeps_the_proportions_of_the_columns():
    x, y = task()
    x = x * torch.tensor([1.0, 10.0, 1.0, 1.0, 1.0, 0.1])
    fitted = training.probe(x, y, scaling="common")
    assert fitted.scale.unique().numel() == 1
    assert fitted.scale[0].item() == pytest.approx(x.var(0, correction=0).mean().sqrt().item(), rel=1e-5)
    assert training.probe(x, y, scaling="each").scale.unique().numel() == 6


@pytest.mark.parametrize("weights", [torch.zeros(40), torch.full((40,), float("nan")), -torch.ones(40)])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="weights have shape"):
        training.probe(*task(), weights=weights)


def test_bad_scaling():
    with pytest.raises(ValueError, match="scaling is 'none'"):
        training.probe(*task(), scaling="none")


def test_double_features_are_welcome():
    x, y = task()
    assert training.probe(x.double(), y).accuracy(x.double(), y) > 0.9
