"""Typical wrong answers to the exercises of lesson 16, each with the message that it should get."""

from __future__ import annotations

import torch


def slope(loss, theta, graph=True):
    return torch.autograd.grad(loss(theta), theta, create_graph=graph)[0]


def in_place(loss, theta, alpha):
    step = alpha * slope(loss, theta, graph=False)
    with torch.no_grad():
        theta -= step
    return theta


def detached(loss, theta, alpha):
    return theta.detach() - alpha * slope(loss, theta).detach()


def adapted_leaf(loss, theta, alpha):
    return (theta - alpha * slope(loss, theta, graph=False)).detach().requires_grad_()


def stepped(loss, theta, alpha):
    return theta - alpha * slope(loss, theta)


def first(support, query, theta, alpha):
    return slope(query, adapted_leaf(support, theta, alpha))


def ended(loss, theta, alpha, steps):
    at = theta
    for _ in range(steps):
        at = at - alpha * slope(loss, at.detach().requires_grad_(), graph=False)
    return at


def ends(losses, theta, alpha, steps):
    return torch.stack([ended(loss, theta, alpha, steps) for loss in losses])


def chained(losses, theta, alpha, epsilon, steps):
    at, found = theta, []
    for loss in losses:
        at = ended(loss, at, alpha, steps)
        found.append(at)
    return theta + epsilon * (torch.stack(found).mean(0) - theta)


def writes(losses, theta, alpha, epsilon, steps):
    for loss in losses:
        theta.copy_(ended(loss, theta, alpha, steps))
    return theta


def moved(rule):
    return lambda losses, theta, a, e, n: rule(theta, ends(losses, theta, a, n), e)


def joined(one, other):
    return tuple(torch.cat(parts) for parts in zip(one, other, strict=True))


def outer(
    learn=lambda s, q: s, judge=lambda s, q: q, end=lambda found: torch.stack(found).mean(), graph=True, cut=False
):
    def outer_loss(loss, theta, tasks, alpha):
        found = []
        for support, query in tasks:
            learned = learn(support, query)
            at = theta
            if learned is not None:
                at = theta - alpha * slope(lambda t, on=learned: loss(t, on), theta, graph=graph)
            found.append(loss(at.detach().requires_grad_() if cut else at, judge(support, query)))
        return end(found)

    return outer_loss


WRONG = {
    "inner_step": [
        ("detached", detached, "does not depend on theta any more"),
        ("a new leaf", adapted_leaf, "made a new leaf"),
        ("no second order", lambda f, t, a: t - a * slope(f, t, graph=False), "create_graph=True"),
        ("uphill", lambda f, t, a: t + a * slope(f, t), "goes uphill"),
        ("no length", lambda f, t, a: t - slope(f, t), "step length is not used"),
        ("in place", in_place, "theta itself has changed"),
        ("the step", lambda f, t, a: a * slope(f, t), "the step alone"),
    ],
    "fomaml": [
        ("full", lambda s, q, t, a: slope(lambda at: q(stepped(s, at, a)), t), "full gradient of MAML"),
        ("not adapted", lambda s, q, t, a: slope(q, t), "nothing has been adapted"),
        ("support twice", lambda s, q, t, a: first(s, s, t, a), "This is the support gradient"),
        ("query twice", lambda s, q, t, a: first(q, q, t, a), "adapted to the query set"),
        ("parameters", lambda s, q, t, a: stepped(s, t, a), "These are the adapted parameters"),
        ("length", lambda s, q, t, a: a * first(s, q, t, a), "No step length outside"),
    ],
    "reptile": [
        ("away", moved(lambda t, ends, e: t - e * (ends.mean(0) - t)), "goes away"),
        ("all the way", moved(lambda t, ends, e: ends.mean(0)), "epsilon is not used"),
        ("sum", moved(lambda t, ends, e: t + e * (ends - t).sum(0)), "added up"),
        ("last", moved(lambda t, ends, e: t + e * (ends[-1] - t)), "Only the last task"),
        ("one step", lambda f, t, a, e, n: t + e * (ends(f, t, a, 1).mean(0) - t), "joint training"),
        ("chained", chained, "must begin at theta"),
        ("in place", writes, "theta itself has changed"),
    ],
    "outer_loss": [
        ("support twice", outer(judge=lambda s, q: s), "by heart"),
        ("swapped", outer(lambda s, q: q, lambda s, q: s), "changed places"),
        ("query twice", outer(lambda s, q: q), "step has seen the query set"),
        ("judged on both", outer(judge=joined), "holds the support set, too"),
        ("learned on both", outer(joined), "has seen support and query"),
        ("not adapted", outer(lambda s, q: None), "Nothing has been adapted"),
        ("sum", outer(end=sum), "Added up over the tasks"),
        ("last", outer(end=lambda found: found[-1]), "Only the last task"),
        ("first order", outer(graph=False), "First order only"),
        ("cut", outer(cut=True), "No gradient reaches theta"),
    ],
}
