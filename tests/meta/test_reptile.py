"""Reptile: one step is joint training, several are a way towards where the tasks end."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from tlcourse import models
from tlcourse.meta import InnerLoop, reptile_gradient, sample_sinusoids, set_gradient

TASKS, POINTS = 4, 6


def network() -> nn.Module:
    return models.MLP([1, 8, 1], seed=0).double()


def batches(steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, y = sample_sinusoids(TASKS, generator=generator).points(steps * POINTS, generator=generator)
    return x.double().unflatten(1, (steps, POINTS)), y.double().unflatten(1, (steps, POINTS))


def test_with_one_inner_step_it_is_averaged_sgd():
    x, y = batches(1)
    found = reptile_gradient(network(), x, y, inner=InnerLoop(0.02, loss=F.mse_loss))
    model = network()
    F.mse_loss(model(x.reshape(-1, 1)), y.reshape(-1, 1)).backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-8, atol=1e-10)


def test_with_several_it_points_to_the_mean_of_the_ends():
    steps, rate = 3, 0.05
    x, y = batches(steps)
    found = reptile_gradient(network(), x, y, inner=InnerLoop(rate, steps=steps, loss=F.mse_loss))
    ends = []
    for task in range(TASKS):
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        for step in range(steps):
            optimizer.zero_grad()
            F.mse_loss(model(x[task, step]), y[task, step]).backward()
            optimizer.step()
        ends.append(dict(model.named_parameters()))
    for name, start in network().named_parameters():
        mean = torch.stack([end[name] for end in ends]).mean(dim=0)
        torch.testing.assert_close(found[name], (start - mean) / rate, rtol=1e-8, atol=1e-10)


def test_an_optimiser_of_length_one_goes_to_the_mean_of_the_ends():
    x, y = batches(2)
    inner = InnerLoop(0.05, steps=2, loss=F.mse_loss)
    model = network()
    found = reptile_gradient(model, x, y, inner=inner)
    wanted = {name: p.detach() - inner.lr * found[name] for name, p in model.named_parameters()}
    set_gradient(model, found)
    torch.optim.SGD(model.parameters(), lr=inner.lr).step()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.detach(), wanted[name])


@pytest.mark.usefixtures("unchecked")
def test_batches_and_steps_must_agree():
    x, y = batches(2)
    with pytest.raises(ValueError, match="hold 2 and 2 batches for 3 inner steps; give one batch for each"):
        reptile_gradient(network(), x, y, inner=InnerLoop(0.05, steps=3, loss=F.mse_loss))
    with pytest.raises(ValueError, match=r"hold 0 and 0 batches for 0 inner steps; .* one step or more"):
        reptile_gradient(network(), x[:, :0], y[:, :0], inner=InnerLoop(0.05, steps=0, loss=F.mse_loss))
    with pytest.raises(ValueError, match="hold 2 and 1 batches for 2 inner steps"):
        reptile_gradient(network(), x, y[:, :1], inner=InnerLoop(0.05, steps=2, loss=F.mse_loss))


def test_running_statistics_are_refused():
    model = models.Classifier(models.Conv4(1, 4), 5)
    with pytest.raises(ValueError, match="running statistics"):
        reptile_gradient(model, torch.rand(2, 1, 5, 1, 16, 16), torch.arange(5).expand(2, 1, -1), inner=InnerLoop(0.1))
