"""Typical wrong answers to the exercises of lesson 02, each with the message that it should get."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from scipy import stats
from torch import Tensor

from tlcourse.training import interval

# 2.1 CKA


def formula(x: Tensor, y: Tensor) -> Tensor:
    return (y.T @ x).square().sum() / ((x.T @ x).norm() * (y.T @ y).norm())


def centred(x: Tensor) -> Tensor:
    return x - x.mean(dim=0)


def rows_centred(x: Tensor, y: Tensor) -> Tensor:
    return formula(x - x.mean(dim=1, keepdim=True), y - y.mean(dim=1, keepdim=True))


def one_mean(x: Tensor, y: Tensor) -> Tensor:
    return formula(x - x.mean(), y - y.mean())


def only_x_centred(x: Tensor, y: Tensor) -> Tensor:
    return formula(centred(x), y)


def not_normalised(x: Tensor, y: Tensor) -> Tensor:
    return (centred(y).T @ centred(x)).square().sum()


def no_square_above(x: Tensor, y: Tensor) -> Tensor:
    x, y = centred(x), centred(y)
    return (y.T @ x).norm() / ((x.T @ x).norm() * (y.T @ y).norm())


def squares_below(x: Tensor, y: Tensor) -> Tensor:
    x, y = centred(x), centred(y)
    return (y.T @ x).square().sum() / ((x.T @ x).square().sum() * (y.T @ y).square().sum())


def root_of_all(x: Tensor, y: Tensor) -> Tensor:
    return formula(centred(x), centred(y)).sqrt()


def norms_of_features(x: Tensor, y: Tensor) -> Tensor:
    x, y = centred(x), centred(y)
    return (y.T @ x).square().sum() / (x.norm() * y.norm()) ** 2


def not_squared_sum(x: Tensor, y: Tensor) -> Tensor:
    return -(centred(y).T @ centred(x)).sum().abs()


def column_by_column(x: Tensor, y: Tensor) -> Tensor:
    x, y = centred(x), centred(y)
    return ((x * y).sum(dim=0) / (x.norm(dim=0) * y.norm(dim=0))).square().mean()


# 2.2 H-score


def between_classes(features: Tensor, labels: Tensor) -> Tensor:
    """Covariance of E[f | y], each example counting once."""
    return torch.cov(class_means(features, labels).T, correction=0)


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """The mean of its class for each example."""
    means = torch.zeros_like(features)
    for c in labels.unique():
        means[labels == c] = features[labels == c].mean(dim=0)
    return means


def whole(features: Tensor) -> Tensor:
    return torch.cov(features.T, correction=0)


def within(features: Tensor, labels: Tensor) -> Tensor:
    parts = [torch.cov(features[labels == c].T, correction=0) for c in labels.unique()]
    return torch.trace(torch.linalg.pinv(sum(parts) / len(parts)) @ between_classes(features, labels))


def unweighted(features: Tensor, labels: Tensor) -> Tensor:
    means = torch.stack([features[labels == c].mean(dim=0) for c in labels.unique()])
    return torch.trace(torch.linalg.pinv(torch.cov(features.T)) @ torch.cov(means.T))


def upside_down(features: Tensor, labels: Tensor) -> Tensor:
    return torch.trace(torch.linalg.pinv(between_classes(features, labels)) @ whole(features))


def h_not_centred(features: Tensor, labels: Tensor) -> Tensor:
    means = class_means(features, labels)
    return torch.trace(torch.linalg.pinv(features.T @ features) @ (means.T @ means))


def inverse(features: Tensor, labels: Tensor) -> Tensor:
    return torch.trace(torch.linalg.inv(whole(features)) @ between_classes(features, labels))


def counted_labels(features: Tensor, labels: Tensor) -> Tensor:
    features = centred(features)
    between = torch.zeros(features.shape[1], features.shape[1])
    for c in range(len(labels.unique())):
        mean = features[labels == c].mean(dim=0)
        between += (labels == c).float().mean() * torch.outer(mean, mean)
    return torch.trace(torch.linalg.pinv(whole(features)) @ between)


def n_and_n_minus_1(features: Tensor, labels: Tensor) -> Tensor:
    return torch.trace(torch.linalg.pinv(torch.cov(features.T)) @ between_classes(features, labels))


def not_divided(features: Tensor, labels: Tensor) -> Tensor:
    return len(labels) * torch.trace(torch.linalg.pinv(whole(features)) @ between_classes(features, labels))


def entry_by_entry(features: Tensor, labels: Tensor) -> Tensor:
    return (torch.linalg.pinv(whole(features)) * between_classes(features, labels)).diag().sum()


# 2.3 ranking


def at_best_score(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return accuracy[scores.index(max(scores))]


def worst_score(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return max(accuracy) - accuracy[scores.index(min(scores))]


def absolute_score(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    sizes = [abs(score) for score in scores]
    return max(accuracy) - accuracy[sizes.index(max(sizes))]


def in_ranks(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return sorted(accuracy, reverse=True).index(at_best_score(scores, accuracy))


def negative_loss(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return at_best_score(scores, accuracy) - max(accuracy)


def share_lost(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return 1 - at_best_score(scores, accuracy) / max(accuracy)


def in_scores(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return max(scores) - scores[accuracy.index(max(accuracy))]


def from_the_mean(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return max(accuracy) - sum(accuracy) / len(accuracy)


def pearson(scores: Any, accuracy: Any) -> float:
    return float(stats.pearsonr(scores, accuracy).statistic)


def one_list_ranked(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return pearson(stats.rankdata(scores), accuracy)


def both_lists_sorted(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return pearson(sorted(scores), sorted(accuracy))


def argsort_for_ranks(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return pearson(torch.tensor(scores).argsort(), torch.tensor(accuracy).argsort())


def ranks_by_place(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return pearson(stats.rankdata(scores, method="ordinal"), stats.rankdata(accuracy, method="ordinal"))


def lowest_shared_rank(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return pearson(stats.rankdata(scores, method="min"), stats.rankdata(accuracy, method="min"))


def short_formula(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    n = len(scores)
    return 1 - 6 * ((stats.rankdata(scores) - stats.rankdata(accuracy)) ** 2).sum() / (n**3 - n)


def kendall(scores: Sequence[float], accuracy: Sequence[float]) -> float:
    return float(stats.kendalltau(scores, accuracy).statistic)


# 2.4 verdict


def word(low: float, high: float) -> str:
    return "positive" if low > 0 else "negative" if high < 0 else "unclear"


def differences(with_source: Sequence[float], alone: Sequence[float]) -> Tensor:
    return torch.tensor(with_source).double() - torch.tensor(alone).double()


def means_only(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return "positive" if sum(with_source) > sum(alone) else "negative"


def unpaired(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return word(*stats.ttest_ind(with_source, alone).confidence_interval())


def overlap(with_source: Sequence[float], alone: Sequence[float]) -> str:
    ours, control = interval(with_source), interval(alone)
    return word(ours.low - control.high, ours.high - control.low)


def swapped(with_source: Sequence[float], alone: Sequence[float]) -> str:
    gain = interval(differences(alone, with_source))
    return word(gain.low, gain.high)


def by_hand(with_source: Sequence[float], alone: Sequence[float], quantile: float, correction: int = 1) -> str:
    gains = differences(with_source, alone)
    half = quantile * float(gains.std(correction=correction)) / math.sqrt(len(gains))
    return word(float(gains.mean()) - half, float(gains.mean()) + half)


def normal_quantile(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, 1.96)


def one_sided(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, stats.t.ppf(0.95, len(alone) - 1))


def divided_by_n(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, stats.t.ppf(0.975, len(alone) - 1), correction=0)


def n_degrees(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, stats.t.ppf(0.975, len(alone)))


def scatter_of_seeds(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, math.sqrt(len(alone)) * stats.t.ppf(0.975, len(alone) - 1))


def ninety_nine(with_source: Sequence[float], alone: Sequence[float]) -> str:
    return by_hand(with_source, alone, stats.t.ppf(0.995, len(alone) - 1))


def never_negative(with_source: Sequence[float], alone: Sequence[float]) -> str:
    gain = interval(differences(with_source, alone))
    return "positive" if gain.low > 0 else "unclear"


def true_or_false(with_source: Sequence[float], alone: Sequence[float]) -> bool:
    return interval(differences(with_source, alone)).low > 0


WRONG = {
    "cka": [
        ("not centred", formula, "`x` is not centred"),
        ("one side centred", only_x_centred, "`y` is not centred"),
        ("rows centred", rows_centred, "You centred the rows"),
        ("one mean for all", one_mean, "one mean of the whole matrix"),
        ("not normalised", not_normalised, "Not divided by anything"),
        ("no square above", no_square_above, "above the line must be squared"),
        ("squares below", squares_below, "norms below the line are not squared"),
        ("root of the whole", root_of_all, "This is the root of CKA"),
        ("norms of the features", norms_of_features, "not of X and Y themselves"),
        ("sum without squares", not_squared_sum, "so it is above 0"),
        ("column by column", column_by_column, "Compare all with all"),
    ],
    "h_score": [
        ("within-class covariance", within, "divide by the covariance within the classes"),
        ("classes not weighted", unweighted, "Each class counts the same"),
        ("upside down", upside_down, "Upside down"),
        ("not centred", h_not_centred, "Centre the features first"),
        ("inverse", inverse, "has no inverse then"),
        ("labels counted", counted_labels, "You count on labels 0, 1, 2"),
        ("n and n − 1", n_and_n_minus_1, "the other by n − 1"),
        ("not divided", not_divided, "is divided by the number of examples, the other is not"),
        ("product of entries", entry_by_entry, "multiplies entry by entry"),
    ],
    "regret": [
        ("worst score", worst_score, "network with the lowest score"),
        ("in ranks", in_ranks, "This counts ranks"),
        ("sign", negative_loss, "The sign is wrong"),
        ("accuracy of the pick", at_best_score, "Subtract it from the best"),
        ("share", share_lost, "a share of the best accuracy"),
        ("in scores", in_scores, "a difference of scores"),
        ("from the mean", from_the_mean, "minus the accuracy at the best score"),
    ],
    "rank_correlation": [
        ("Pearson", pearson, "This is Pearson's correlation"),
        ("one list ranked", one_list_ranked, "Only one of the two lists"),
        ("both lists sorted", both_lists_sorted, "sorted by itself"),
        ("argsort", argsort_for_ranks, "that is not a rank"),
        ("ties by place", ranks_by_place, "by their place in the list"),
        ("ties share the lowest", lowest_shared_rank, "1, 2, 3 becomes 2, 2, 2"),
        ("short formula", short_formula, "holds without ties only"),
        ("Kendall", kendall, "then correlate the ranks"),
    ],
    "verdict": [
        ("means only", means_only, "The mean alone decides"),
        ("unpaired", unpaired, "Take differences seed by seed"),
        ("sign swapped", swapped, "The other way round"),
        ("normal quantile", normal_quantile, "the quantile of the normal distribution"),
        ("one-sided", one_sided, "95 % of one side"),
        ("divided by n", divided_by_n, "divide by n − 1 for the variance"),
        ("scatter of seeds", scatter_of_seeds, "divide the standard deviation by √n"),
        ("99 %", ninety_nine, "The interval is too wide"),
        ("never negative", never_negative, "A source can hurt"),
        ("true or false", true_or_false, "Return one of the words"),
    ],
}
