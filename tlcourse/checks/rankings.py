"""Does an answer judge a transferability score rightly: what it costs to follow it, and how well it ranks?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number

Answer = Callable[..., Any]


def check_regret(answer: Answer) -> None:
    """CheckFailed unless answer(scores, accuracy) is the best accuracy minus that of the best score's network."""
    diagnose(lambda: _regret_case(answer), otherwise="Best accuracy minus the accuracy at the best score.")
    same = (0.5 + 0.4 * torch.rand(6)).tolist()
    misconception = "The best score is the best network: nothing is lost."
    close(answer(same, same), 0.0, tried="scores and accuracies in the same order", misconception=misconception)


def _regret_case(answer: Answer) -> Case:
    """7 networks of rising accuracy: number 4 has the highest score, number 1 the lowest; then they are shuffled.

    All scores are below 0, as those of LEEP are.
    """
    accuracy = 0.3 + (0.02 + 0.05 * torch.rand(7)).cumsum(0)
    scores = -1 - torch.rand(7)
    scores[4], scores[1] = -0.5, -2.5
    best, taken, worst = (float(accuracy[i]) for i in (6, 4, 1))
    tried = f"best score: accuracy {taken:.3f}; worst score: {worst:.3f}; best network: {best:.3f}"
    order = torch.randperm(7)
    found = number(answer(scores[order].tolist(), accuracy[order].tolist()), tried=tried)
    ranks = "This counts ranks. Two places can cost nothing or ten points: return the accuracy lost."
    known = [
        (best - worst, "You took the network with the lowest score. A higher score promises more."),
        (2.0, ranks),
        (3.0, ranks),
        (taken - best, "The sign is wrong: a loss is 0 or more."),
        (taken, "This is the accuracy of the network taken. Subtract it from the best one's."),
        (1 - taken / best, "This is a share of the best accuracy. Return the difference."),
        (
            float(scores[4] - scores[6]),
            "This is a difference of scores. Scores only choose; the loss is in accuracy.",
        ),
    ]
    return Case(tried, found, best - taken, known)


def check_rank_correlation(answer: Answer) -> None:
    """CheckFailed unless answer(scores, accuracy) is Spearman's correlation, with mean ranks for ties."""

    def falling() -> Case:
        accuracy = _nine_accuracies()
        tried = "scores that fall whenever the accuracy rises, but not on a line"
        return _correlation_case(answer, torch.exp(-12 * accuracy), accuracy, tried=tried)

    def mixed() -> Case:
        accuracy, scores = _nine_accuracies(), _nine_accuracies()
        tried = "9 networks whose scores and accuracies partly agree"
        return _correlation_case(answer, torch.exp(10 * (accuracy + scores)), accuracy, tried=tried)

    diagnose(falling, otherwise="Rank both lists, then correlate the ranks.")
    diagnose(mixed, otherwise="Rank both lists, then correlate the ranks.")
    _check_ties(answer)


def _nine_accuracies() -> Tensor:
    return 0.3 + (0.02 + 0.05 * torch.rand(9)).cumsum(0)[torch.randperm(9)]


def _correlation_case(answer: Answer, scores: Tensor, accuracy: Tensor, *, tried: str) -> Case:
    half = "Only one of the two lists was turned into ranks or sorted. Rank both, and keep the networks in their order."
    torn = "Each list was sorted by itself, so a network's score no longer stands beside its accuracy."
    known = [
        (_pearson(scores, accuracy), "This is Pearson's correlation of the values. Take it of their ranks."),
        (_pearson(_ranks(scores), accuracy), half),
        (_pearson(scores, _ranks(accuracy)), half),
        (_pearson(scores.sort()[0], accuracy), half),
        (_pearson(scores, accuracy.sort()[0]), half),
        (_pearson(scores.sort()[0], accuracy.sort()[0]), torn),
        (1.0, torn),
        (_pearson(scores.argsort(), accuracy.argsort()), "`argsort` lists who is first, second …; that is not a rank."),
    ]
    found = number(answer(scores.tolist(), accuracy.tolist()), tried=tried)
    return Case(tried, found, _pearson(_ranks(scores), _ranks(accuracy)), known)


def _check_ties(answer: Answer) -> None:
    """Equal networks share a rank, whatever their places in the list."""
    accuracy = torch.tensor([0.6, 0.6, 0.6, 0.7, 0.7, 0.7, 0.8, 0.8, 0.9, 0.9])
    tried = "10 networks, several with the same accuracy"

    def tied(scores: Tensor) -> Case:
        case = _correlation_case(answer, scores, accuracy, tried=tried)
        short = 1 - 6 * float((_ranks(scores) - _ranks(accuracy)).square().sum()) / (10**3 - 10)
        formula = "The short formula 1 − 6 Σd² / (n³ − n) holds without ties only. Correlate the ranks."
        return Case(tried, case.found, case.right, [(short, formula)])

    scores = accuracy + 0.2 * torch.rand(10)
    orders = [torch.randperm(10) for _ in range(12)]
    found = [number(answer(scores[o].tolist(), accuracy[o].tolist()), tried=tried) for o in orders]
    expect(
        max(found) - min(found) < 1e-4,
        tried=tried + ", listed in another order",
        got=f"from {min(found):.3f} to {max(found):.3f}",
        misconception="Equal networks got other ranks by their place in the list. They share the mean of their ranks.",
    )
    diagnose(
        lambda: tied(accuracy + 0.2 * torch.rand(10)),
        otherwise="Equal networks share the mean of their ranks: 1, 2, 3 becomes 2, 2, 2, not 1, 1, 1.",
    )


def _ranks(values: Tensor) -> Tensor:
    """1 for the smallest; equal values share the mean of their ranks."""
    below, same = values[:, None] > values, values[:, None] == values
    return below.sum(dim=1) + (same.sum(dim=1) + 1) / 2


def _pearson(a: Tensor, b: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1])
