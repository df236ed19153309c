"""One update of the weights: along the gradient of this loss alone, cut where asked, and never along a NaN."""

import pytest
import torch

from tlcourse import training


def model() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1, bias=False)


def test_moves_along_the_gradient_of_this_loss_alone():
    layer = model()
    layer.weight.grad = torch.full((1, 3), 100.0)  # left from before
    before, x = layer.weight.detach().clone(), torch.tensor([1.0, 2.0, 3.0])
    value = training.update(layer, torch.optim.SGD(layer.parameters(), lr=0.1), layer(x).sum())
    assert value == pytest.approx(float((before @ x).sum()))
    torch.testing.assert_close(layer.weight.detach(), before - 0.1 * x)


def test_the_gradient_is_cut_to_a_length():
    layer = model()
    before = layer.weight.detach().clone()
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    training.update(layer, optimizer, layer(torch.tensor([30.0, 40.0, 0.0])).sum(), clip=0.5)
    assert float((layer.weight.detach() - before).norm()) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_moves_nothing(bad: float):
    layer = model()
    before = layer.weight.detach().clone()
    with pytest.raises(FloatingPointError, match=r"the training loss is (nan|-?inf); lower lr"):
        training.update(layer, torch.optim.SGD(layer.parameters(), lr=1.0), layer(torch.ones(3)).sum() * bad)
    assert torch.equal(layer.weight, before)


def test_clipping_does_not_count_gradients_of_earlier_updates():
    layers = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    rule = torch.optim.SGD(layers[1].parameters(), lr=0.0)
    norms = []
    for _ in range(3):
        training.update(layers, rule, layers(torch.ones(3)).sum())
        norms.append(float(layers[0].weight.grad.norm()))
    assert norms == pytest.approx([norms[0]] * 3)


@pytest.mark.parametrize("clip", [0.0, -1.0, float("nan")])
def test_a_clip_that_would_train_nothing_or_uphill(clip: float):
    layer = model()
    with pytest.raises(ValueError, match=r"clip is .*above 0"):
        training.update(layer, torch.optim.SGD(layer.parameters(), lr=1.0), layer(torch.ones(3)).sum(), clip=clip)
