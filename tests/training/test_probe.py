"""training.probe: the minimum that it promises, whatever the shape."""

from __future__ import annotations

import time

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlcourse import training
from tlcourse.training import probing


def blobs(n: int, dim: int, n_classes: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % n_classes
    centres = 2 * torch.randn(n_classes, dim, generator=generator)
    return centres[labels] + 3 * torch.randn(n, dim, generator=generator) + 5, labels


def gradient(features: Tensor, labels: Tensor, fitted: training.Probe, l2: float) -> Tensor:
    """Of Σ cross-entropy + l2/2 · ‖weight‖², in float64, at the fitted weights."""
    x = ((features - fitted.mean) / fitted.scale).double()
    weight, bias = (t.double().requires_grad_() for t in (fitted.weight, fitted.bias))
    loss = F.cross_entropy(x @ weight.T + bias, labels, reduction="sum") + l2 / 2 * weight.square().sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, [weight, bias])])


@pytest.mark.parametrize(("n", "dim", "n_classes"), [(30, 200, 4), (200, 30, 4), (40, 60, 2), (20, 300, 2)])
@pytest.mark.parametrize("l2", [1.0, 20.0])
def test_finds_the_minimum(n: int, dim: int, n_classes: int, l2: float):
    features, labels = blobs(n, dim, n_classes)
    fitted = training.probe(features, labels, l2=l2)
    assert gradient(features, labels, fitted, l2).abs().max() < 2e-4 * n
    assert fitted.weight.shape == (n_classes, dim)


def test_the_span_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probing, "_TOLERANCE", 1e-8)
    features, labels = blobs(30, 200, 3)
    short = training.probe(features, labels)
    monkeypatch.setattr(probing, "_span", lambda x: torch.eye(x.shape[1]).numpy())
    full = training.probe(features, labels)
    torch.testing.assert_close(short.weight, full.weight, atol=1e-5, rtol=1e-4)


def test_predicts_unseen_examples_and_keeps_label_names():
    features, labels = blobs(400, 20, 3)
    fitted = training.probe(features[:200], labels[:200] * 10 + 7)
    assert fitted.classes.tolist() == [7, 17, 27]
    assert set(fitted.predict(features[200:]).tolist()) == {7, 17, 27}
    assert fitted.accuracy(features[200:], labels[200:] * 10 + 7) > 0.85
    assert fitted.scores(features[200:]).shape == (200, 3)


def test_balanced_accuracy_is_the_mean_recall():
    features, labels = blobs(300, 10, 2)
    fitted = training.probe(features, labels)
    guessed = fitted.predict(features)
    recalls = [(guessed[labels == c] == c).double().mean() for c in (0, 1)]
    few = torch.cat([torch.nonzero(labels == 0)[:3, 0], torch.nonzero(labels == 1)[:, 0]])
    assert fitted.balanced_accuracy(features, labels) == pytest.approx(float(sum(recalls)) / 2)
    expected = (float((guessed[few[:3]] == 0).double().mean()) + float(recalls[1])) / 2
    assert fitted.balanced_accuracy(features[few], labels[few]) == pytest.approx(expected)


def test_scale_of_the_features_does_not_matter():
    features, labels = blobs(60, 10, 3)
    stretched = features * torch.logspace(-2, 3, 10)
    a, b = training.probe(features, labels), training.probe(stretched, labels)
    torch.testing.assert_close(a.scores(features), b.scores(stretched), atol=2e-3, rtol=1e-3)


def test_constant_dimensions_do_no_harm():
    features, labels = blobs(60, 10, 3)
    constant = torch.cat([features, torch.full((60, 2), 0.3)], dim=1)
    constant[0, 10] += 1e-6
    fitted = training.probe(constant, labels)
    moved = constant.clone()
    moved[:, 10:] += 0.01
    torch.testing.assert_close(
        fitted.scores(moved), training.probe(features, labels).scores(features), atol=5e-3, rtol=0
    )


def test_is_deterministic_for_any_number_of_threads():
    features, labels = blobs(80, 300, 5)
    before = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2):
            training.threads(n)
            results.append(training.probe(features, labels).weight)
    finally:
        training.threads(before)
    assert torch.equal(*results)


def test_a_few_labels_take_milliseconds():
    features, labels = blobs(50, 1280, 10)
    training.probe(features, labels)
    begun = time.process_time()
    for _ in range(5):
        training.probe(features, labels)
    assert (time.process_time() - begun) / 5 < 0.5, "about 0.01 s is usual; this much means threads that fight"
