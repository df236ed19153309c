"""Typical wrong answers to the exercises of lesson 14, each with the message that it should get."""

from __future__ import annotations

import random

import torch
import torch.nn.functional as F


def gradients(model, inputs, labels):
    """Gradients of each example."""
    parameters = list(model.parameters())
    each = [
        torch.autograd.grad(F.cross_entropy(model(x[None]), y[None]), parameters)
        for x, y in zip(inputs, labels, strict=True)
    ]
    return [torch.stack(rows) for rows in zip(*each, strict=True)]


def combined(reduce):
    """fisher with another way to put the examples together."""
    return lambda model, inputs, labels: [reduce(g) for g in gradients(model, inputs, labels)]


def batch_wise(model, inputs, labels):
    """The gradient of the whole batch, squared."""
    loss = F.cross_entropy(model(inputs), labels)
    return [g.square() for g in torch.autograd.grad(loss, list(model.parameters()))]


def sampler(accept, *, append=False):
    """reservoir that keeps the k-th item when accept(k, capacity) gives a place."""

    def reservoir(stream, capacity):
        kept = []
        for count, item in enumerate(stream, start=1):
            if append or len(kept) < capacity:
                kept.append(item)
                continue
            place = accept(count, capacity)
            if place < capacity:
                kept[place] = item
        return kept

    return reservoir


def duplicates(stream, capacity):
    """Drawn with repetition."""
    items = list(stream)
    return random.choices(items, k=capacity)


def page_hinkley(*, restart=("count", "mean", "sum", "low"), against_lowest=True, both=False, slack=1.0, late=False):
    """alarms with a mistake."""

    def alarms(errors, threshold, delta):
        found, start = [], {"count": 0, "mean": 0.0, "sum": 0.0, "low": 0.0, "high": 0.0}
        now = dict(start)
        for position, error in enumerate(errors):
            now["count"] += 1
            before = now["mean"]
            now["mean"] += (error - now["mean"]) / now["count"]
            now["sum"] += error - (before if late else now["mean"]) - slack * delta
            if against_lowest:
                now["low"], now["high"] = min(now["low"], now["sum"]), max(now["high"], now["sum"])
            if now["sum"] - now["low"] > threshold or (both and now["high"] - now["sum"] > threshold):
                found.append(position)
                now |= {key: start[key] for key in (*restart, "high") if restart}
        return found

    return alarms


WRONG = {
    "fisher": [
        ("batch mean squared", batch_wise, "square of the batch's mean gradient"),
        ("sum", combined(lambda g: g.square().sum(dim=0)), "divide by how many"),
        ("absolute values", combined(lambda g: g.abs().mean(dim=0)), "square the gradients"),
        ("not squared", combined(lambda g: g.mean(dim=0)), "This is the mean gradient"),
        ("one number", lambda m, x, y: sum(g.square().mean() for g in gradients(m, x, y)), "a list with one tensor"),
    ],
    "forgetting": [
        ("diagonal", lambda m: (m.diagonal() - m[-1])[:-1].mean(), "Its best may come later"),
        ("best of all rows", lambda m: (m.max(dim=0).values - m[-1])[:-1].mean(), "no task can have gained"),
        ("last task too", lambda m: (m.max(dim=0).values - m[-1]).mean(), "no time to be forgotten"),
        ("wrong count", lambda m: (m[:-1].max(dim=0).values - m[-1])[:-1].sum() / len(m), "number of tasks minus 1"),
        ("sign", lambda m: (m[-1] - m[:-1].max(dim=0).values)[:-1].mean(), "sign is turned round"),
        ("transposed", lambda m: (m.T[:-1].max(dim=0).values - m.T[-1])[:-1].mean(), "a task is a column"),
    ],
    "reservoir": [
        ("first items", sampler(lambda count, capacity: capacity), "stay for ever"),
        ("always replaces", sampler(lambda count, capacity: random.randrange(capacity)), "kept too often"),
        ("off by one", sampler(lambda count, capacity: random.randrange(count - 1)), "count the item itself"),
        ("too seldom", sampler(lambda count, capacity: random.randrange(count * 2)), "kept too seldom"),
        ("no limit", sampler(lambda count, capacity: 0, append=True), "Keep exactly 5"),
        ("repeats", duplicates, "twice"),
    ],
    "alarms": [
        ("no reset", page_hinkley(restart=()), "every further item is an alarm"),
        ("old mean", page_hinkley(restart=("sum", "low")), "old mean survives"),
        ("old sum", page_hinkley(restart=("count", "mean", "low")), "old sum survives"),
        ("old lowest", page_hinkley(restart=("count", "mean", "sum")), "old lowest value survives"),
        ("old mean in the sum", page_hinkley(late=True), "leaves out the present item"),
        ("against zero", page_hinkley(against_lowest=False), "compared with 0"),
        ("both directions", page_hinkley(both=True), "Fewer errors give an alarm"),
        ("no delta", page_hinkley(slack=0.0), "delta is not subtracted"),
    ],
}
