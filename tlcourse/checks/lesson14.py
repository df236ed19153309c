"""Checks of lesson 14: the Fisher by example, forgetting, a fair memory, and an alarm that starts anew."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlcourse.checks.base import check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number, tensor

Answer = Callable[..., Any]


@check
def fisher(answer: Answer) -> None:
    """the gradient of each example squared by itself, then the mean"""
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
    inputs, labels = torch.randn(12, 6), torch.randint(3, (12,))
    gradients = _gradients(model, inputs, labels)
    tried = "fisher(model, inputs, labels) on 12 examples and a network of 4 parameters"
    found = answer(model, inputs, labels)
    listed = isinstance(found, (list, tuple)) and len(found) == 4
    shape = "Return a list with one tensor for each of model.parameters()."
    expect(listed, tried=tried, got=type(found).__name__, misconception=shape)
    parts = [tensor(f, tuple(g.shape[1:]), tried=tried) for f, g in zip(found, gradients, strict=True)]
    cases = (
        (
            [g.mean(dim=0).square() for g in gradients],
            "This is the square of the batch's mean gradient, in which the examples cancel. Square each one first.",
        ),
        (
            [g.square().sum(dim=0) for g in gradients],
            "This is the sum over the examples: divide by how many there are.",
        ),
        ([g.abs().mean(dim=0) for g in gradients], "These are absolute values: square the gradients."),
        ([g.mean(dim=0) for g in gradients], "This is the mean gradient: square each example's before the mean."),
    )
    for wrong, reason in cases:
        same = all(torch.allclose(p, w, atol=1e-6) for p, w in zip(parts, wrong, strict=True))
        expect(not same, tried=tried, got="another number", misconception=reason)
    for part, each in zip(parts, gradients, strict=True):
        close(part, each.square().mean(dim=0), tried=tried, misconception="Use the gradient of log p(label | input).")


def _gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> list[Tensor]:
    """Gradients of each example's loss: for each parameter, one row an example."""
    parameters = list(model.parameters())
    each = [
        torch.autograd.grad(F.cross_entropy(model(x[None]), y[None]), parameters)
        for x, y in zip(inputs, labels, strict=True)
    ]
    return [torch.stack(rows) for rows in zip(*each, strict=True)]


@check
def forgetting(answer: Answer) -> None:
    """each task but the last: its best before the end, minus the end"""
    diagnose(lambda: _forgetting_case(answer), otherwise="Mean over the first four columns of best minus last.")


def _forgetting_case(answer: Answer) -> Case:
    matrix = torch.rand(5, 5) * 0.5 + 0.4
    matrix = matrix.tril() + torch.rand(5, 5).triu(1) * 0.2
    matrix[2, 0] = 0.95  # task 0 is at its best some time after its own training
    matrix[4, 1] = 0.99  # and task 1 at the end
    tried = "forgetting(matrix) of 5 tasks"
    best, last = matrix[:-1].max(dim=0).values, matrix[-1]
    falls = (best - last)[:-1]
    exchanged = "Rows and columns are exchanged: a task is a column."
    new = "The last task counts as well: it has had no time to be forgotten."
    known = (
        (
            (matrix.diagonal() - last)[:-1].mean(),
            "You compare with the accuracy right after the task's own training. Its best may come later.",
        ),
        (
            (matrix.max(dim=0).values - last)[:-1].mean(),
            "The last row is among those in which you look for the best, so that no task can have gained.",
        ),
        ((matrix.max(dim=0).values - last).mean(), new),
        ((best - last).mean(), new),
        (falls.sum() / 5, "There are four falls here: divide by the number of tasks minus 1."),
        (-falls.mean(), "The sign is turned round: forgetting is positive when the end is worse."),
        ((matrix[:, :-1].max(dim=1).values[:-1] - matrix[:-1, -1]).mean(), exchanged),
        ((matrix.T[:-1].max(dim=0).values - matrix[:, -1])[:-1].mean(), exchanged),
    )
    found = number(answer(matrix), tried=tried)
    return Case(tried, found, float(falls.mean()), [(float(value), why) for value, why in known])


@check
def reservoir(answer: Answer) -> None:
    """every item of the stream is kept with the same probability"""
    length, capacity, runs = 20, 5, 2000
    tried = f"reservoir(iter(range({length})), {capacity})"
    counts = torch.zeros(length)
    for _ in range(runs):
        kept = answer(iter(range(length)), capacity)
        listed = isinstance(kept, list)
        expect(listed, tried=tried, got=type(kept).__name__, misconception="Return the list of the kept items.")
        size = f"Keep exactly {capacity} items once so many have come."
        expect(len(kept) == capacity, tried=tried, got=f"{len(kept)} items", misconception=size)
        different = "An item is in the list twice: put the new one in the place of an old one."
        expect(len(set(kept)) == capacity, tried=tried, got=f"{kept}", misconception=different)
        counts[kept] += 1
    share = counts / runs
    first, middle, last = (float(part.mean()) for part in (share[:5], share[5:15], share[15:]))
    tried = f"{tried}, {runs} times"
    got = f"{first:.2f} of the first five items were kept, {middle:.2f} of the next ten, {last:.2f} of the last five"
    expect(
        first < 0.99, tried=tried, got=got, misconception="The first items stay for ever: later ones must replace them."
    )
    late = "Late items are kept too often: the k-th item should be kept with probability capacity / k, ever less."
    expect(last < 0.4, tried=tried, got=got, misconception=late)
    early = "Late items are kept too seldom: every item of the stream should have the same chance."
    expect(last > 0.22, tried=tried, got=got, misconception=early)
    fair = (
        "Nearly fair, but not quite: does k count the item itself? The k-th item is kept with probability capacity / k."
    )
    expect(abs(first - 0.25) < 0.02 and abs(last - 0.25) < 0.025, tried=tried, got=got, misconception=fair)
    short = answer(iter(range(3)), capacity)
    few = "A stream that is shorter than the memory is kept as a whole."
    expect(sorted(short) == [0, 1, 2], tried="a stream of 3 items", got=f"{short}", misconception=few)


@check
def alarms(answer: Answer) -> None:
    """an alarm when errors become more, and then everything starts anew"""
    for _ in range(2):
        errors, threshold, delta = _stream()
        tried = f"alarms(errors, {threshold:.2f}, {delta:.3f}) on a stream whose share of errors is 0.1, 0.5, 0.9, 0.1"
        found = answer(errors, threshold, delta)
        expect(
            isinstance(found, list), tried=tried, got=type(found).__name__, misconception="Return a list of positions."
        )
        got = f"alarms at {found[:6]}{' …' if len(found) > 6 else ''}"
        for change, reason in _ALARM_MISTAKES:
            wrong = _page_hinkley(errors, threshold, delta, **change)
            expect(list(found) != wrong, tried=tried, got=got, misconception=reason)
        right = _page_hinkley(errors, threshold, delta)
        steps = f"Expected alarms at {right}. Follow the four steps in their order."
        expect(list(found) == right, tried=tried, got=got, misconception=steps)


_ALARM_MISTAKES: tuple[tuple[dict[str, bool], str], ...] = (
    ({"restart": False}, "After an alarm nothing starts anew, so that every further item is an alarm too."),
    (
        {"keep_mean": True},
        "The old mean survives the alarm, so that the new rate of errors looks like a rise for ever.",
    ),
    ({"keep_total": True}, "The old sum survives the alarm, so that the next one comes too early."),
    ({"keep_low": True}, "The old lowest value survives the alarm, and the new sum is far above it at once."),
    ({"late_mean": True}, "The mean leaves out the present item: update it first, then subtract it."),
    ({"lowest": False}, "The sum is compared with 0. It falls while all is well: compare with its lowest value."),
    ({"falls": True}, "Fewer errors give an alarm as well: only a rise above the lowest value counts."),
    ({"delta": False}, "delta is not subtracted, so that a rise too small to matter adds up."),
)


def _stream() -> tuple[list[int], float, float]:
    """Errors, threshold and delta with which no two of the mistakes look alike, and none looks right."""
    rates = torch.tensor([0.1] * 30 + [0.5] * 150 + [0.9] * 150 + [0.1] * 150)
    ways: list[dict[str, bool]] = [{}, *(change for change, _ in _ALARM_MISTAKES)]
    while True:  # five times on average
        errors = [0, *(int(e) for e in torch.rand(len(rates) - 1) < rates[1:])]
        threshold, delta = 6 + 4 * float(torch.rand(())), 0.04 + 0.03 * float(torch.rand(()))
        if len({tuple(_page_hinkley(errors, threshold, delta, **way)) for way in ways}) == len(ways):
            return errors, threshold, delta


def _page_hinkley(
    errors: list[int],
    threshold: float,
    slack: float,
    *,
    restart: bool = True,
    keep_mean: bool = False,
    keep_total: bool = False,
    keep_low: bool = False,
    late_mean: bool = False,
    lowest: bool = True,
    falls: bool = False,
    delta: bool = True,
) -> list[int]:
    """Positions of alarms; the switches make the typical mistakes."""
    found = []
    count, mean, total, low, high = 0, 0.0, 0.0, 0.0, 0.0
    for position, error in enumerate(errors):
        count += 1
        before, mean = mean, mean + (error - mean) / count
        total += error - (before if late_mean else mean) - (slack if delta else 0.0)
        low, high = (min(low, total), max(high, total)) if lowest else (0.0, 0.0)
        if total - low > threshold or (falls and high - total > threshold):
            found.append(position)
            if restart:
                total, low, high = total if keep_total else 0.0, low if keep_low else 0.0, 0.0
                if not keep_mean:
                    count, mean = 0, 0.0
    return found
