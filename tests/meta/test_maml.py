"""MAML, FOMAML and ANIL: the gradients of `higher`, of the chain rule by hand, and nothing of one task in another."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, replace_all_batch_norm_modules_

from tlcourse import models
from tlcourse.meta import InnerLoop, adapt, inner_step, meta_loss, outputs_by_step

TASKS, WAY, QUERIES = 3, 5, 4
ORDERS = ({"first_order": False}, {"first_order": True})


def network() -> nn.Module:
    """Two convolutions with batch norm in double precision, with a head."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = nn.Sequential(
            nn.Conv2d(1, 6, 3, stride=2),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.BatchNorm2d(8),
            nn.Flatten(),
        )
        backbone.dim = 8
        model = models.Classifier(backbone, WAY).double()
    return replace_all_batch_norm_modules_(model)


def tasks(seed: int = 0) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)

    def examples(each: int) -> tuple[Tensor, Tensor]:
        pictures = torch.randn(TASKS, WAY * each, 1, 8, 8, generator=generator, dtype=torch.float64)
        return pictures, torch.arange(WAY).repeat_interleave(each).expand(TASKS, -1)

    return examples(1), examples(QUERIES)


def plain_network() -> nn.Module:
    """No batch norm, so that the tasks go through `vmap`."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.Tanh(), nn.Flatten(), nn.Linear(36, WAY)).double()


def gradient(model: nn.Module, inner: InnerLoop) -> list[Tensor]:
    loss = meta_loss(model, *tasks(), inner=inner)
    return list(torch.autograd.grad(loss, list(model.parameters())))


def gradient_of_higher(model: nn.Module, inner: InnerLoop) -> list[Tensor]:
    import higher

    support, query = tasks()
    model.zero_grad()
    for x, y, u, v in zip(*support, *query, strict=True):
        inner_optimizer = torch.optim.SGD(model.parameters(), lr=inner.lr)
        context = higher.innerloop_ctx(
            model, inner_optimizer, copy_initial_weights=False, track_higher_grads=not inner.first_order
        )
        with context as (fast, steps):
            for _ in range(inner.steps):
                steps.step(F.cross_entropy(fast(x), y))
            loss = F.cross_entropy(fast(u), v) / TASKS
            if inner.first_order:
                ends = torch.autograd.grad(loss, list(fast.parameters()))
                for parameter, part in zip(model.parameters(), ends, strict=True):
                    parameter.grad = part if parameter.grad is None else parameter.grad + part
            else:
                loss.backward()
    return [parameter.grad for parameter in model.parameters()]


@pytest.mark.parametrize("make", [network, plain_network])
@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize("first_order", [False, True])
def test_the_meta_gradient_is_that_of_higher(make, steps, first_order):
    inner = InnerLoop(0.4, steps=steps, first_order=first_order)
    ours, theirs = gradient(make(), inner), gradient_of_higher(make(), inner)
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)


def test_first_order_is_the_plain_gradient_at_the_adapted_weights():
    model, inner = network(), InnerLoop(0.4, steps=2, first_order=True)
    support, query = tasks()
    total = [torch.zeros_like(p) for p in model.parameters()]
    for x, y, u, v in zip(*support, *query, strict=True):
        fast = {name: p.detach().requires_grad_() for name, p in adapt(model, x, y, inner=inner).items()}
        loss = F.cross_entropy(functional_call(model, fast, (u,)), v)
        for part, found in zip(total, torch.autograd.grad(loss, list(fast.values())), strict=True):
            part += found / TASKS
    for mine, other in zip(gradient(model, inner), total, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-8, atol=1e-10)


def test_the_second_order_term_is_minus_alpha_times_hessian_times_gradient():
    matrix, centre = torch.tensor([[3.0, 1.0], [1.0, 2.0]]), torch.tensor([1.0, -1.0])
    theta, wanted, alpha = torch.tensor([0.5, 2.0]), torch.tensor([2.0, 0.0]), 0.1

    class Point(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.at = nn.Parameter(theta.clone())

        def forward(self, inputs: Tensor) -> Tensor:
            return self.at + 0 * inputs

    def loss(at: Tensor, goal: Tensor) -> Tensor:
        gap = at - goal
        return (0.5 * gap @ matrix @ gap.T).squeeze()

    model, found = Point(), {}
    for first_order in (False, True):
        inner = InnerLoop(alpha, loss=loss, first_order=first_order)
        zeros = torch.zeros(1, 1, 2)
        of_queries = meta_loss(model, (zeros, centre.expand(1, 1, 2)), (zeros, wanted.expand(1, 1, 2)), inner=inner)
        (found[first_order],) = torch.autograd.grad(of_queries, [model.at])
    adapted = theta - alpha * matrix @ (theta - centre)
    end = matrix @ (adapted - wanted)
    torch.testing.assert_close(found[True], end)
    torch.testing.assert_close(found[False] - found[True], -alpha * matrix @ end)


@pytest.mark.parametrize("settings", [{}, {"first_order": True}, {"only": "head."}])
def test_every_parameter_learns(settings):
    for found in gradient(network(), InnerLoop(0.4, **settings)):
        assert float(found.abs().max()) > 1e-6 or found.ndim == 1  # a bias before batch norm has no effect
    names = [name for name, _ in network().named_parameters()]
    still = [
        name
        for name, found in zip(names, gradient(network(), InnerLoop(0.4, **settings)), strict=True)
        if float(found.abs().max()) < 1e-12
    ]
    assert set(still) <= {"backbone.0.bias", "backbone.3.bias"}


def test_anil_moves_the_head_alone():
    model = network()
    (x, y), _ = tasks()
    fast = adapt(model, x[0], y[0], inner=InnerLoop(0.4, steps=2, only="head."))
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, fast[name])}
    assert moved == {"head.weight", "head.bias"}


def test_a_task_knows_nothing_of_the_others_and_the_model_stays():
    model, inner = network(), InnerLoop(0.4, steps=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    support, query = tasks()
    together = meta_loss(model, support, query, inner=inner)
    alone = [
        meta_loss(model, (x[None], y[None]), (u[None], v[None]), inner=inner)
        for x, y, u, v in zip(*support, *query, strict=True)
    ]
    torch.testing.assert_close(together, torch.stack(alone).mean())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_outputs_by_step_are_those_of_the_adapted_networks():
    model, inner = network(), InnerLoop(0.4, steps=3)
    (x, y), (u, _) = tasks()
    found = outputs_by_step(model, (x, y), u, inner=inner, chunk=2)
    assert found.shape == (4, TASKS, WAY * QUERIES, WAY)
    assert not found.requires_grad
    for steps in range(4):
        fast = adapt(model, x[1], y[1], inner=InnerLoop(0.4, steps=steps))
        torch.testing.assert_close(found[steps, 1], functional_call(model, fast, (u[1],)))


def test_no_step_is_the_plain_loss_and_a_step_is_plain_descent():
    model = network()
    (x, y), (u, v) = tasks()
    loss = meta_loss(model, (x, y), (u, v), inner=InnerLoop(0.4, steps=0))
    plain = torch.stack([F.cross_entropy(model(u[i]), v[i]) for i in range(TASKS)]).mean()
    torch.testing.assert_close(loss, plain)
    fast = inner_step(model, dict(model.named_parameters()), x[0], y[0], inner=InnerLoop(0.1))
    gradients = torch.autograd.grad(F.cross_entropy(model(x[0]), y[0]), list(model.parameters()))
    for (name, p), g in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(fast[name], p - 0.1 * g)


def test_running_statistics_are_refused():
    model = models.Classifier(models.Conv4(1, 4), WAY)
    support, query = tasks()
    with pytest.raises(ValueError, match=r"backbone.blocks.0.1 keeps running statistics.*replace_all_batch_norm"):
        meta_loss(model, support, query, inner=InnerLoop(0.4))
    with pytest.raises(ValueError, match="running statistics"):
        outputs_by_step(model, support, query[0], inner=InnerLoop(0.4))


@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused():
    support, query = tasks()
    with pytest.raises(ValueError, match="lr is 0; give a step length above 0"):
        InnerLoop(0)
    with pytest.raises(ValueError, match="steps is -1; give 0 or more"):
        InnerLoop(0.1, steps=-1)
    with pytest.raises(ValueError, match=r"only='heads.' begins no parameter's name; the model has backbone., head."):
        adapt(network(), support[0][0], support[1][0], inner=InnerLoop(0.1, only="heads."))
    with pytest.raises(ValueError, match=r"hold \[3, 3, 2, 2\] tasks"):
        meta_loss(network(), support, (query[0][:2], query[1][:2]), inner=InnerLoop(0.1))


@pytest.mark.usefixtures("unchecked")
def test_there_must_be_a_task():
    (x, y), (u, v) = tasks()
    with pytest.raises(ValueError, match=r"hold \[0, 0, 0, 0\] tasks; .* one or more"):
        meta_loss(plain_network(), (x[:0], y[:0]), (u[:0], v[:0]), inner=InnerLoop(0.1))


def test_by_default_it_is_one_step_of_all_parameters_with_second_derivatives():
    (x, y), _ = tasks()
    model, start = plain_network(), dict(plain_network().named_parameters())
    gradients = torch.autograd.grad(F.cross_entropy(model(x[0]), y[0]), list(model.parameters()))
    found = adapt(model, x[0], y[0], inner=InnerLoop(0.3))
    for (name, before), part in zip(start.items(), gradients, strict=True):
        torch.testing.assert_close(found[name], before - 0.3 * part)
    default, second, first = (gradient(plain_network(), InnerLoop(0.3, **s)) for s in ({}, *ORDERS))
    assert all(torch.equal(a, b) for a, b in zip(default, second, strict=True))
    assert not all(torch.allclose(a, b) for a, b in zip(default, first, strict=True))


def test_running_statistics_that_nobody_writes_are_no_trouble():
    """In evaluation mode batch norm is a fixed linear map, and tasks cannot meet in it."""
    model = models.Classifier(models.Conv4(1, 4), WAY).eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    pictures, labels = torch.rand(1, WAY, 1, 16, 16), torch.arange(WAY)[None]
    assert torch.isfinite(meta_loss(model, (pictures, labels), (pictures, labels), inner=InnerLoop(0.1)))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_chunks_of_tasks_change_no_output():
    (x, y), (u, _) = tasks()
    whole, chunks = (outputs_by_step(plain_network(), (x, y), u, inner=InnerLoop(0.3), chunk=n) for n in (None, 2))
    torch.testing.assert_close(whole, chunks)
    assert not whole.requires_grad
