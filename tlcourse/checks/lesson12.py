"""Checks of lesson 12: a density ratio from a classifier, BBSE, a permutation test of MMD, and the name of a shift."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, number, tensor

Answer = Callable[..., Any]
LEVEL = 0.05


@check
def ratio(answer: Answer) -> None:
    """the odds of the classifier, without the part that only counts rows"""
    p = torch.rand(20).double() * 0.9 + 0.05
    n_source = int(torch.randint(100, 200, ()))
    n_target = int(torch.randint(250, 400, ()))
    tried = f"ratio(probability, {n_source}, {n_target})"
    found = tensor(answer(p, n_source, n_target), (20,), tried=tried).double()
    odds, counts = p / (1 - p), n_source / n_target
    cases = (
        (p, "That is the probability itself. Divide it by that of the source, 1 − p."),
        (odds, "The odds count rows: a larger target makes every row look like it. Multiply by n_source / n_target."),
        (odds / counts, "The counts are turned round: multiply by n_source / n_target. Try hint 2."),
        (1 / (odds * counts), "That is p_S / p_T, turned round: rows that are rare in the target would weigh most."),
        (counts / odds, "The odds are turned round: p(T | x) stands above, p(S | x) below."),
        (
            odds / odds.mean(),
            "You bring the weights to mean 1. The ratio has a size of its own: odds · n_source / n_target.",
        ),
    )
    rule = "w = p / (1 − p) · n_source / n_target, row by row."
    close(found, odds * counts, tried=tried, misconception=rule, known=cases)


@check
def bbse(answer: Answer) -> None:
    """the shares that explain what is predicted in the target, from the confusion of the source"""
    n_classes = 3
    labels, guesses, target = _confused(n_classes)
    pairs = torch.bincount(guesses * n_classes + labels, minlength=n_classes**2).reshape(n_classes, -1).double()
    c = pairs / len(labels)
    mu = torch.bincount(target, minlength=n_classes).double() / len(target)
    before = c.sum(dim=0)
    weights = torch.linalg.solve(c, mu)
    right = weights * before
    tried = "bbse(predictions, labels, target_predictions, 3) on 2,000 rows"
    found = tensor(answer(guesses, labels, target, n_classes), (n_classes,), tried=tried).double()
    transposed = torch.linalg.solve(c.T, mu)
    cases = (
        (mu, "You count the predictions. The classifier errs; its confusion in the source says how."),
        (weights, "These are the weights p_T / p_S. Multiply by the source's shares, the column sums of C."),
        (weights / weights.sum(), "You divide the weights by their sum. Multiply them by the source's shares first."),
        (
            transposed * c.sum(dim=1),
            "The confusion matrix is transposed: rows are predictions, columns are true classes.",
        ),
        (transposed * before, "The confusion matrix lies on its side: C[i, j] counts rows predicted i that are j."),
        (c @ mu, "You multiply by C. What is predicted is C w, so w comes from solving for it."),
    )
    by_row = torch.linalg.solve(c / c.sum(dim=1, keepdim=True), mu)
    conditional = "Each row of your matrix adds up to 1. Divide the counts by the number of all rows."
    known = [(value, why) for wrong, why in cases for value in (wrong, wrong / wrong.sum())]
    known += [(value, conditional) for value in (by_row, by_row / by_row.sum(), by_row * before)]
    rule = "Solve C w = μ; the shares are w times the source's."
    close(found, right, tried=tried, misconception=rule, known=known, tolerance=1e-4)


def _confused(n_classes: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Labels and predictions of a source, and predictions of a target with other shares; 70 % are right.

    The mistakes are not symmetric: a class is taken for the next one.
    """
    before, after = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.3, 0.45])
    rates = torch.tensor([0.1, 0.2, 0.35]) + 0.1 * torch.rand(n_classes)

    def guess(labels: torch.Tensor) -> torch.Tensor:
        missed = torch.rand(len(labels)) < rates[labels]
        return torch.where(missed, (labels + 1) % n_classes, labels)

    labels, there = (torch.multinomial(shares, 2000, replacement=True) for shares in (before, after))
    return labels, guess(labels), guess(there)


@check
def mmd_test(answer: Answer) -> None:
    """the unbiased MMD², and a p-value that counts the true division and holds its level"""
    n, m = 12, 9
    kernel = _kernel(n, m, gap=0.5)
    tried = f"mmd_test(kernel, {n}, 19) on {n} source and {m} target rows"
    found = answer(kernel, n, 19)
    pair = isinstance(found, tuple) and len(found) == 2
    expect(pair, tried=tried, got=f"{type(found).__name__}", misconception="Return the pair (statistic, p_value).")
    statistic = number(found[0], tried=tried)
    parts = [kernel[:n, :n], kernel[n:, n:]]
    between = float(kernel[:n, n:].mean())
    biased = sum(float(block.mean()) for block in parts)
    unbiased = sum(float((block.sum() - block.trace()) / (len(block) * (len(block) - 1))) for block in parts)
    removed = sum(float((block.sum() - block.trace()) / len(block) ** 2) for block in parts)
    cases = (
        (biased - 2 * between, "Rows are compared with themselves, which always gives 1. Leave the diagonal out."),
        (removed - 2 * between, "The diagonal is left out of the sum, but not of the count: divide by n (n − 1)."),
        (unbiased - between, "What lies between the two counts twice: take away 2 times its mean."),
        (unbiased + 2 * between, "The part between the two is taken away, not added."),
        (max(unbiased - 2 * between, 0) ** 0.5, "That is MMD, the root. An unbiased MMD² may be negative, so keep it."),
    )
    rule = "Not the unbiased MMD² of the first n rows."
    close(statistic, unbiased - 2 * between, tried=tried, misconception=rule, known=cases)
    _p_values(answer)


def _p_values(answer: Answer) -> None:
    """Far apart the p-value is the smallest possible; without a shift it is uniform."""
    tried = "mmd_test(kernel, 15, 39) on two clouds far apart"
    p = number(answer(_kernel(15, 15, gap=8.0), 15, 39)[1], tried=tried)
    got = f"p = {p:.4f}"
    expect(p > 0, tried=tried, got=got, misconception="A p-value of 0. Count the true division among the others.")
    if p > 0.9:
        alike = [number(answer(_kernel(8, 6, gap=0.0), 8, 19)[1], tried=tried) for _ in range(10)]
        still = "The division never changes: shuffle all rows together, not each domain by itself."
        expect(min(alike) < 0.99, tried=tried, got=got, misconception=still)
    expect(p < 0.9, tried=tried, got=got, misconception="Large p for a large shift: count values at least as large.")
    least = "Far apart no random division comes near, so p should be 1 / (1 + permutations)."
    close(p, 1 / 40, tried=tried, misconception=least)
    tried = "mmd_test(kernel, 6, 19) where any two different rows are equally alike"
    p = number(answer(torch.full((12, 12), 0.5).double().fill_diagonal_(1), 6, 19)[1], tried=tried)
    got = f"p = {p:.4f}, not 1"
    strict = "Every division has the same MMD² here. Equal values count as well: at least as large."
    expect(p > 0.051, tried=tried, got=got, misconception=strict)
    order = "Every division has the same MMD² here. Put rows and columns into the same new order, each row once."
    close(p, 1.0, tried=tried, misconception=order)
    tried = "mmd_test(kernel, 8, 19) on 120 pairs from one distribution"
    values = torch.tensor([number(answer(_kernel(8, 6, gap=0.0), 8, 19)[1], tried=tried) for _ in range(120)])
    alarms = float((values <= 0.2).double().mean())
    got = f"{alarms:.0%} of the p-values are 0.2 or less"
    often = "Too many. Is each row in one of the two parts, once?"
    expect(alarms < 0.38, tried=tried, got=got, misconception=often)
    seldom = "Too few. Are the rows divided anew, with n in the source, for each permutation?"
    expect(alarms > 0.05, tried=tried, got=got, misconception=seldom)


def _kernel(n: int, m: int, *, gap: float) -> torch.Tensor:
    """A Gaussian kernel between n rows around 0 and m rows around `gap`, in two dimensions."""
    rows = torch.randn(n + m, 2).double()
    rows[n:] += gap
    return torch.exp(-torch.cdist(rows, rows).square() / 4)


@check
def name_shift(answer: Answer) -> None:
    """one of six names, from p-values that are read in an order"""

    def draw(small: bool) -> float:
        return float(torch.rand(())) * 0.04 + 0.001 if small else float(torch.rand(())) * 0.8 + 0.1

    cases = [(draw(a), draw(b), draw(c), None if e is None else draw(e)) for a, b, c, e in _patterns()]
    cases.append((LEVEL, 0.6, LEVEL, None))
    for p_values in cases:
        right = _named(*p_values)
        tried = "name_shift(" + ", ".join("None" if p is None else f"{p:.3f}" for p in p_values) + ")"
        said = answer(*p_values)
        reason = f"Here the answer is {right!r}. Begin with the inputs, then ask within, predictions or errors."
        if right == "none seen":
            reason = "Without labels the rule may have changed unseen. Say 'none seen'."
        elif right == "prior" and said == "covariate":
            reason = "Within a predicted class nothing differs: only the shares have changed, which is prior shift."
        elif right == "covariate" and said == "prior":
            reason = (
                "Under covariate shift predictions can change too. If inputs differ within a class, it is covariate."
            )
        elif said == "concept" and p_values[0] <= LEVEL:
            reason = "The inputs differ, so other errors prove no concept shift: covariate shift alone can bring them."
        elif right == "concept":
            reason = "The inputs are alike and the errors are not: the rule has changed."
        elif right == "unclear":
            reason = "The inputs differ, and no test says how: that is 'unclear'."
        expect(isinstance(said, str) and said == right, tried=tried, got=repr(said), misconception=reason)


def _patterns() -> list[tuple[bool, bool, bool, bool | None]]:
    """Which p-values are small: every pattern that can occur, in random order."""
    every = list(product((True, False), (True, False), (True, False), (True, False, None)))
    alike = [p for p in every if p[0] or not (p[1] or p[2])]
    return [alike[i] for i in torch.randperm(len(alike)).tolist()]


def _named(inputs: float, predictions: float, within: float, errors: float | None) -> str:
    if inputs > LEVEL:
        return "none seen" if errors is None else "concept" if errors <= LEVEL else "none"
    return "covariate" if within <= LEVEL else "prior" if predictions <= LEVEL else "unclear"
