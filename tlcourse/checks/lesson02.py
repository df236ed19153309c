"""Checks of lesson 02: CKA, H-score, how well a score ranks networks, and the verdict on a source."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse import concepts
from tlcourse.checks import outcomes, rankings
from tlcourse.checks.base import CheckFailed, check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number

Answer = Callable[..., Any]
SIZES = "h_score(features, labels) of 3 classes with 150, 60 and 30 examples"
PART = "Compare with the formula, part by part."


@check
def cka(answer: Answer) -> None:
    """1 for itself, and nothing changes with a shift, a turn or another scale of the features"""
    x, y = _two_views(60, 8, 8)

    def alike(a: Tensor, b: Tensor, tried: str = "cka(x, y) of 60 examples with 8 features each") -> float:
        return number(answer(a, b), tried=tried)

    base = alike(x, y)
    expect(
        base > 1e-9,
        tried="cka(x, y) of two views of the same examples",
        got=f"{base:.3g}",
        misconception="The numerator sums the squares of all entries of YᵀX, so it is above 0.",
    )
    _check_scale(alike, x, y)
    _check_centring(alike, x, y)
    close(
        alike(x, x),
        1.0,
        tried="cka(x, x)",
        misconception="The norms below the line are those of the products XᵀX and YᵀY, not of X and Y themselves.",
        tolerance=1e-3,
    )
    diagnose(lambda: _cka_case(alike))
    for _ in range(3):
        turned = x @ torch.linalg.qr(torch.randn(8, 8))[0]
        close(
            alike(turned, y),
            base,
            tried="cka(x, y), then cka(x Q, y) with a rotation Q of x's features",
            misconception="Feature 3 of x has nothing to do with feature 3 of y. Compare all with all: YᵀX.",
            tolerance=1e-3,
        )
    for n, width, other in ((60, 8, 8), (15, 40, 25)):
        x, y = _two_views(n, width, other)
        tried = f"cka(x, y) of {n} examples with {width} and {other} features"
        close(alike(x, y, tried), concepts.linear_cka(x, y), tried=tried, misconception=PART, tolerance=1e-3)


def _two_views(n: int, width: int, other: int) -> tuple[Tensor, Tensor]:
    """Two feature sets with a common part and noise of their own."""
    common = torch.randn(n, 3)
    x, y = (common @ torch.randn(3, d) + torch.randn(n, d) for d in (width, other))
    return x, y


def _cka_case(alike: Callable[..., float]) -> Case:
    x, y = _two_views(60, 8, 8)
    right = concepts.linear_cka(x, y)
    known = [
        (right**0.5, "This is the root of CKA: ‖YᵀX‖_F above the line is squared, the norms below it are not."),
        (right**2, "This is the square of CKA: only ‖YᵀX‖_F above the line is squared."),
    ]
    return Case("cka(x, y) of 60 examples with 8 features each", alike(x, y), right, known)


def _check_scale(alike: Callable[..., float], x: Tensor, y: Tensor) -> None:
    """Ten times larger features are the same features; which power of 10 comes out tells what is missing."""
    powers = {
        2: "Not divided by anything: ‖XᵀX‖_F · ‖YᵀY‖_F belongs below the line.",
        -1: "‖YᵀX‖_F above the line must be squared, so that it grows as fast as what is below.",
        -2: "The norms below the line are not squared: `.norm()`, without `.square()`.",
    }
    for name, bigger in (("x", (10 * x, y)), ("y", (x, 10 * y))):
        times = alike(*bigger) / alike(x, y)
        known = [text for power, text in powers.items() if abs(times / 10**power - 1) < 0.01]
        expect(
            abs(times - 1) < 0.01,
            tried=f"cka(x, y), then with 10 · {name} in place of {name}",
            got=f"{times:.4g} times the first result",
            misconception=known[0] if known else "Above and below the line, x and y must appear equally often.",
        )


def _check_centring(alike: Callable[..., float], x: Tensor, y: Tensor) -> None:
    """What is added to a feature of every example must not count; what is added to an example must."""
    base = alike(x, y)
    moved = alike(x + 3 * torch.randn(len(x), 1), y)
    expect(
        abs(moved - base) > 1e-4,
        tried="cka(x, y), then a number of its own added to each example (row) of x",
        got=f"{moved:.3f} both times, though the rows now differ in another way",
        misconception="You centred the rows. Centre the columns: each feature has mean 0 over the examples (dim=0).",
    )
    one_mean = "You subtract one mean of the whole matrix. Each feature has its own: mean(dim=0)."
    for width, what in ((1, "the same number"), (8, "a number of its own")):
        for name in ("x", "y"):
            shift = (10 + 10 * torch.rand(width)) * (-1) ** torch.arange(width)
            moved = alike(x + shift, y) if name == "x" else alike(x, y + shift)
            missing = f"`{name}` is not centred: subtract the mean of each feature."
            expect(
                abs(moved - base) < 1e-3,
                tried=f"cka(x, y), then {what} added to each feature of {name}, for every example alike",
                got=f"{base:.3f}, then {moved:.3f}",
                misconception=missing if width == 1 else one_mean,
            )


@check
def h_score(answer: Answer) -> None:
    """variance between classes, by size, in units of all variance: from 0 to classes − 1"""

    def score(features: Tensor, labels: Tensor, tried: str) -> float:
        return number(answer(features, labels), tried=tried)

    def case() -> Case:
        features, labels = _classes((150, 60, 30))
        right = concepts.h_score(features, labels, shrinkage=0.0)
        return Case(SIZES, score(features, labels, SIZES), right, _wrong_h_scores(features, labels, right))

    diagnose(case)
    features, labels = _classes((150, 60, 30))
    found = score(features, labels, SIZES)
    tried = "labels that were shuffled, so that the features say nothing about them"
    nothing = score(features[:, :2], labels[torch.randperm(len(labels))], tried)
    expect(
        abs(nothing) < 10,
        tried=tried,
        got=f"{nothing:.3g}, which should be near 0",
        misconception="Upside down: you divide all variance by that between classes. The inverse belongs to cov(f).",
    )
    tried = "the same number added to all features of all examples"
    moved = score(features + 20, labels, tried)
    expect(
        abs(moved - found) < 0.01,
        tried=tried,
        got=f"{found:.3f}, then {moved:.3f}",
        misconception="A covariance is about deviations from the mean. Centre the features first.",
    )
    tried = "3 classes of 80 examples that lie very far apart"
    apart = score(*_classes((80, 80, 80), distance=30.0), tried)
    expect(
        apart < 2.05,
        tried=tried,
        got=f"{apart:.4g}, above classes − 1 = 2",
        misconception="You divide by the covariance within the classes. The paper divides by that of all examples.",
    )
    _check_silent_feature(answer, features, labels, found)
    _check_label_names(answer, features, labels, found)
    diagnose(case, otherwise=PART)


def _classes(sizes: tuple[int, ...], *, distance: float = 1.5, dim: int = 5) -> tuple[Tensor, Tensor]:
    """Shuffled examples whose class means lie `distance` from a centre; all together average 0."""
    means = distance * torch.linalg.qr(torch.randn(dim, len(sizes)))[0].T
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    labels = labels[torch.randperm(len(labels))]
    features = means[labels] + torch.randn(len(labels), dim)
    return features - features.mean(dim=0), labels


def _wrong_h_scores(features: Tensor, labels: Tensor, right: float) -> list[tuple[float, str]]:
    """Scores that are wrong in a known way, each with its misconception."""
    n = len(labels)
    means = torch.stack([features[labels == c].mean(dim=0) for c in range(3)])
    whole = torch.linalg.pinv(torch.cov(features.T))
    equal = "Each class counts the same, large or small. Weight its mean by its share of the examples."
    divided = "One of the two is divided by the number of examples, the other is not."
    entries = "`*` multiplies entry by entry. The product of two matrices is `@`."
    mixed = "One covariance divides by n, the other by n − 1 (the default of torch.cov). Use the same in both."
    by_entry = float((whole * torch.cov(means[labels].T)).diag().sum())
    return [
        *((by_entry * factor, entries) for factor in (1, n / (n - 1), (n - 1) / n)),
        *((float(torch.trace(whole @ torch.cov(means.T, correction=c))), equal) for c in (0, 1)),
        *((float(torch.trace(whole @ torch.cov(means.T, correction=c))) * n / (n - 1), equal) for c in (0, 1)),
        *((right * factor, divided) for factor in (n, 1 / n, n - 1, 1 / (n - 1))),
        *((right * factor, mixed) for factor in (n / (n - 1), (n - 1) / n)),
    ]


def _check_silent_feature(answer: Answer, features: Tensor, labels: Tensor, found: float) -> None:
    """A unit that never fires makes the covariance singular."""
    tried = "one more feature, which is 0 for every example (a unit that never fires)"
    misconception = "cov(f) has no inverse then. Use the pseudo-inverse, torch.linalg.pinv."
    silent = torch.cat([features, torch.zeros(len(features), 1)], dim=1)
    try:
        value = answer(silent, labels)
    except (torch.linalg.LinAlgError, ValueError) as error:
        got = f"it stopped with {type(error).__name__}"
        raise CheckFailed(tried=tried, got=got, misconception=misconception) from None
    close(float(value), found, tried=tried, misconception=misconception, tolerance=1e-3)


def _check_label_names(answer: Answer, features: Tensor, labels: Tensor, found: float) -> None:
    """Labels are names; no class needs to be number 0."""
    value = float(answer(features, torch.tensor([4, 7, 19])[labels]))
    expect(
        abs(value - found) < 1e-3,
        tried="the same classes with the labels 4, 7 and 19 in place of 0, 1 and 2",
        got=f"{found:.3f}, then {value:.3f}",
        misconception="You count on labels 0, 1, 2 …; go through those that occur, `labels.unique()`.",
    )


@check
def regret(answer: Answer) -> None:
    """accuracy lost by taking the network with the best score; 0 when that is the best network"""
    rankings.check_regret(answer)


@check
def rank_correlation(answer: Answer) -> None:
    """correlation of the ranks, equal values sharing theirs; only the order counts"""
    rankings.check_rank_correlation(answer)


@check
def verdict(answer: Answer) -> None:
    """by the paired 95 % interval of the differences: above 0, below 0, or neither"""
    outcomes.check_verdict(answer)
