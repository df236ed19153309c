"""Checks of lesson 16: a step that keeps its graph, FOMAML's gradient, Reptile, and which set is for what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]
Loss = Callable[[Tensor], Tensor]


def bowl(d: int = 3) -> tuple[Loss, Tensor, Tensor]:
    """A quadratic loss with its Hessian and its lowest point."""
    root = torch.randn(d, d, dtype=torch.float64)
    hessian, centre = root @ root.T / d + torch.eye(d, dtype=torch.float64), torch.randn(d, dtype=torch.float64)

    def loss(theta: Tensor) -> Tensor:
        return 0.5 * (theta - centre) @ hessian @ (theta - centre)

    return loss, hessian, centre


def start(d: int = 3) -> Tensor:
    """Where to begin, with a gradient wanted."""
    return torch.randn(d, dtype=torch.float64).requires_grad_()


@check
def inner_step(answer: Answer) -> None:
    """one step downhill, which can be differentiated again"""
    (loss, hessian, centre), theta, alpha = bowl(), start(), 0.1 + 0.2 * float(torch.rand(()))
    kept = theta.detach().clone()
    tried = f"inner_step(loss, theta, {alpha:.2f})"
    found = answer(loss, theta, alpha)
    value = tensor(found, (3,), tried=tried, misconception="Return the new parameters, as many as theta has.")
    place = "theta itself has changed. The start must stay: the outer loop wants the gradient there."
    expect(torch.equal(theta.detach(), kept), tried=tried, got="another theta", misconception=place)
    gradient = hessian @ (kept - centre)
    cases = (
        (kept + alpha * gradient, "This step goes uphill: subtract the gradient."),
        (kept - gradient, "The step length is not used: multiply the gradient by alpha."),
        (kept, "Nothing has moved."),
        (alpha * gradient, "That is the step alone. Take it off theta."),
    )
    rule = "theta − alpha · gradient of the loss at theta."
    close(value, kept - alpha * gradient, tried=tried, misconception=rule, known=cases)
    tried = f"the gradient through inner_step(loss, theta, {alpha:.2f})"
    severed = "The result does not depend on theta any more. Something like detach, no_grad or .data has cut the graph."
    expect(found.requires_grad, tried=tried, got="no graph", misconception=severed)
    upstream = torch.randn(3, dtype=torch.float64)
    try:
        (through,) = torch.autograd.grad(found, theta, upstream)
    except RuntimeError:
        leaf = "You have made a new leaf: it takes a gradient of its own, and theta gets none."
        expect(False, tried=tried, got="no way back to theta", misconception=leaf)
    constant = (
        "The gradient inside counts as a constant, so the second derivative is lost (that is FOMAML). "
        "Give torch.autograd.grad the argument create_graph=True."
    )
    expect(not torch.allclose(through, upstream), tried=tried, got="first order only", misconception=constant)
    close(
        through, upstream - alpha * hessian @ upstream, tried=tried, misconception="It should be (I − alpha H) times."
    )


@check
def fomaml(answer: Answer) -> None:
    """the gradient of the query loss at the adapted parameters, and nothing else"""
    (support, curved, low), (query, round_, goal) = bowl(), bowl()
    theta, alpha = start(), 0.1 + 0.1 * float(torch.rand(()))
    tried = f"fomaml(support_loss, query_loss, theta, {alpha:.2f})"
    found = tensor(
        answer(support, query, theta, alpha), (3,), tried=tried, misconception="One entry for each of theta."
    )
    at = theta.detach()
    adapted = at - alpha * curved @ (at - low)
    right = round_ @ (adapted - goal)
    cases = (
        (right - alpha * curved @ right, "This is the full gradient of MAML: the step has been differentiated, too."),
        (round_ @ (at - goal), "This is the query gradient at theta: nothing has been adapted."),
        (
            curved @ (adapted - low),
            "This is the support gradient at the adapted parameters. The outer loss is the query's.",
        ),
        (adapted, "These are the adapted parameters. The gradient of the query loss there is wanted."),
        (-alpha * curved @ right, "This is the term that FOMAML leaves out."),
        (alpha * right, "No step length outside: the outer optimiser has its own."),
        (
            round_ @ (at - alpha * round_ @ (at - goal) - goal),
            "You have adapted to the query set. The inner step sees the support set only.",
        ),
    )
    rule = "Adapt with the support loss, then the query's gradient there."
    close(found, right, tried=tried, misconception=rule, known=cases)


@check
def reptile(answer: Answer) -> None:
    """a step of length epsilon towards the mean of where the tasks end"""
    tasks, steps, alpha, epsilon = 3, 4, 0.1, 0.2 + 0.5 * float(torch.rand(()))
    bowls, theta = [bowl() for _ in range(tasks)], start().detach()
    kept = theta.clone()
    tried = f"reptile(losses of {tasks} tasks, theta, alpha={alpha}, epsilon={epsilon:.2f}, steps={steps})"
    found = tensor(answer([loss for loss, _, _ in bowls], theta, alpha, epsilon, steps), (3,), tried=tried)
    place = "theta itself has changed, so the second task began where the first one ended. Work on a copy."
    expect(torch.equal(theta, kept), tried=tried, got="another theta", misconception=place)

    def end(at: Tensor, hessian: Tensor, centre: Tensor, times: int) -> Tensor:
        for _ in range(times):
            at = at - alpha * hessian @ (at - centre)
        return at

    ends = torch.stack([end(theta, h, c, steps) for _, h, c in bowls])
    single = torch.stack([end(theta, h, c, 1) for _, h, c in bowls])
    chain = theta
    chained = []
    for _, h, c in bowls:
        chain = end(chain, h, c, steps)
        chained.append(chain)
    move = ends.mean(0) - theta
    cases = (
        (theta - epsilon * move, "This goes away from where the tasks end. Reptile goes towards it."),
        (ends.mean(0), "This goes all the way: epsilon is not used."),
        (theta + epsilon * (ends.sum(0) - tasks * theta), "The moves of the tasks are added up. Take their mean."),
        (theta + epsilon * (ends[-1] - theta), "Only the last task counts. Take the mean over all."),
        (theta + epsilon * (single.mean(0) - theta), "One step in each task is joint training. Take all the steps."),
        (
            theta + epsilon * (torch.stack(chained).mean(0) - theta),
            "Each task must begin at theta, not where the last ended.",
        ),
        (chain, "Each task must begin at theta, not where the last ended."),
        (
            theta + epsilon * move / alpha,
            "Divided by alpha: that is for an optimiser. Here epsilon alone is the length.",
        ),
        (move, "That is the move alone. Add epsilon times it to theta."),
    )
    rule = "theta + epsilon · (mean of the ends − theta)."
    close(found, theta + epsilon * move, tried=tried, misconception=rule, known=cases)


@check
def outer_loss(answer: Answer) -> None:
    """learned on the support set, judged on the query set, a mean over the tasks"""
    alpha = 0.05 + 0.1 * float(torch.rand(()))
    theta = start(2)

    def loss(at: Tensor, examples: tuple[Tensor, Tensor]) -> Tensor:
        inputs, labels = examples
        return (inputs @ at - labels).square().mean()

    def examples(n: int) -> tuple[Tensor, Tensor]:
        return torch.randn(n, 2, dtype=torch.float64), torch.randn(n, dtype=torch.float64)

    tasks = [(examples(3), examples(5)) for _ in range(3)]
    tried = f"outer_loss(loss, theta, 3 tasks, {alpha:.2f})"
    found = answer(loss, theta, tasks, alpha)
    value = tensor(found, (), tried=tried, misconception="Return one number.")

    def adapted(on: tuple[Tensor, Tensor]) -> Tensor:
        (gradient,) = torch.autograd.grad(loss(theta, on), theta, create_graph=True)
        return theta - alpha * gradient

    def both(one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return torch.cat([one[0], other[0]]), torch.cat([one[1], other[1]])

    def mean(of: Callable[[Any, Any], Tensor]) -> Tensor:
        return torch.stack([of(support, query) for support, query in tasks]).mean()

    right = mean(lambda s, q: loss(adapted(s), q))
    cases = (
        (
            mean(lambda s, q: loss(adapted(s), s)),
            "Judged on the support set: the outer loss rewards learning by heart.",
        ),
        (mean(lambda s, q: loss(adapted(q), s)), "The two sets have changed places."),
        (mean(lambda s, q: loss(adapted(q), q)), "The step has seen the query set. Nothing is left to judge it on."),
        (
            mean(lambda s, q: loss(adapted(s), both(s, q))),
            "The outer loss holds the support set, too. Judge on the query set.",
        ),
        (
            mean(lambda s, q: loss(adapted(both(s, q)), q)),
            "The step has seen support and query. Learn on the support set only.",
        ),
        (mean(lambda s, q: loss(theta, q)), "Nothing has been adapted: this is the query loss at theta."),
        (3 * right, "Added up over the tasks. Take the mean, or the step grows with their number."),
        (loss(adapted(tasks[-1][0]), tasks[-1][1]), "Only the last task counts. Take the mean over all."),
    )
    rule = "Step on the support set, loss on the query set, mean."
    close(value, right.detach(), tried=tried, misconception=rule, known=cases)
    tried = f"the gradient of outer_loss(loss, theta, 3 tasks, {alpha:.2f})"
    severed = "No gradient reaches theta through the steps. Keep the graph: create_graph=True, and no detach."
    expect(found.requires_grad, tried=tried, got="no graph", misconception=severed)
    (wanted,) = torch.autograd.grad(right, theta)
    try:
        (through,) = torch.autograd.grad(found, theta)
    except RuntimeError:
        expect(False, tried=tried, got="no way back to theta", misconception=severed)
    close(through, wanted, tried=tried, misconception="First order only: give torch.autograd.grad create_graph=True.")
