"""Checks of lesson 13: a reversed gradient, CORAL's loss, batch norm's statistics, and what peeking gains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]


@check
def reverse(answer: Answer) -> None:
    """unchanged on the way forward, times −strength on the way back"""
    strength = float(torch.rand(())) + 0.5
    features = torch.randn(5, 3, requires_grad=True)
    tried = f"reverse(features, {strength:.2f})"
    out = answer(features, strength)
    value = tensor(out, (5, 3), tried=tried)
    forward = "The value has changed. Only the gradient should: what comes after sees the features as they are."
    close(value, features.detach(), tried=tried, misconception=forward)
    cut = "No gradient comes back at all, so the features do not learn from the adversary."
    expect(out.requires_grad, tried=tried, got="a tensor without a gradient", misconception=cut)
    upstream = torch.randn(5, 3)
    (gradient,) = torch.autograd.grad(out, features, upstream)
    tried = f"the gradient of reverse(features, {strength:.2f})"
    cases = (
        (strength * upstream, "The sign is missing: now the features help the adversary to tell the domains apart."),
        (-upstream, "Turned round, but the strength is not used: the ramp of DANN could not act."),
        (upstream, "The gradient passes as it is. Multiply it by −strength."),
    )
    rule = "Value x and gradient −strength: a + b = 1."
    close(gradient, -strength * upstream, tried=tried, misconception=rule, known=cases)


@check
def coral_loss(answer: Answer) -> None:
    """the squared distance of the covariances over 4 d², blind to means"""
    n, m, d = 40, 25, 4
    source = torch.randn(n, d, dtype=torch.float64) @ torch.randn(d, d, dtype=torch.float64)
    target = torch.randn(m, d, dtype=torch.float64) + 3
    tried = f"coral_loss of {n} and {m} rows with {d} features"
    found = tensor(answer(source, target), (), tried=tried, misconception="Return one number.")
    a, b = torch.cov(source.T), torch.cov(target.T)
    right = (a - b).square().sum() / (4 * d**2)
    biased = (a * (n - 1) / n - b * (m - 1) / m).square().sum() / (4 * d**2)
    raw = (source.T @ source / (n - 1) - target.T @ target / (m - 1)).square().sum() / (4 * d**2)
    cases = (
        ((a - b).square().sum(), "The factor 1 / (4 d²) is missing: the loss would grow with the number of features."),
        ((a - b).square().sum() / (4 * d), "Divide by 4 d², not by 4 d."),
        ((a - b).square().mean() / (4 * d**2), "You take the mean of the squares and divide once more. Sum them."),
        ((a - b).square().sum().sqrt() / (4 * d**2), "The norm is squared: no root."),
        (biased, "The covariance divides by the number of rows minus 1."),
        (raw, "Take off the mean first: these are second moments, not covariances."),
        ((source.mean(0) - target.mean(0)).square().sum(), "These are the means. CORAL compares covariances."),
    )
    close(found, right, tried=tried, misconception="‖C_S − C_T‖² / (4 d²), the sum over all entries.", known=cases)


@check
def adapt_norm(answer: Answer) -> None:
    """mean and variance of the target, nothing else"""
    d = 5
    norm = nn.BatchNorm1d(d)
    with torch.no_grad():
        norm.weight.uniform_(0.5, 2)
        norm.bias.uniform_(-1, 1)
    kept = norm.weight.detach().clone(), norm.bias.detach().clone()
    features = torch.randn(12, d) * 3 + 2
    was = norm.training, norm.momentum, norm.weight.requires_grad, norm.bias.requires_grad
    answer(norm, features)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    tried = "adapt_norm(norm, features) on 12 rows"
    still = bool(norm.running_mean.eq(0).all())
    untouched = "Nothing has changed. Write into running_mean and running_var, with copy_."
    expect(not still, tried=tried, got="a running_mean of zeros", misconception=untouched)
    same = torch.equal(norm.weight, kept[0]) and torch.equal(norm.bias, kept[1])
    expect(
        same, tried=tried, got="another weight or bias", misconception="The learned scale and shift stay as they are."
    )
    now = norm.training, norm.momentum, norm.weight.requires_grad, norm.bias.requires_grad
    more = "Write the two statistics, and leave the layer as it was."
    part = 0.1 * features.mean(0)
    momentum = "One pass in training mode moves the statistics a tenth of the way only. Set them."
    rule = "running_mean is the mean over the rows."
    close(norm.running_mean, features.mean(0), tried=tried, misconception=rule, known=[(part, momentum)])
    spread = "This is the standard deviation. The layer takes the root by itself: give the variance."
    less = "Divided by n − 1. Batch norm normalises with the variance that divides by n."
    known = [(features.std(0, correction=0), spread), (features.var(0), less)]
    right = features.var(0, correction=0)
    close(norm.running_var, right, tried=tried, misconception="The variance over the rows.", known=known)
    expect(now == was, tried=tried, got="another mode, momentum or requires_grad", misconception=more)


@check
def honest_and_peeked(answer: Answer) -> None:
    """accuracy of the weight that needs no label, and of the one that labels would choose"""
    # `seen` chooses `mean` by its mean, `one` by its highest value, `first` by one seed, the first or last, `worst` by
    # the worst of its seeds. The mean accuracy is best for `best`, that of the first seed for `worst`.
    one, best, mean, first, worst = torch.randperm(5).tolist()
    seen, accuracy = torch.empty(5, 3), torch.empty(5, 3)
    seen[one], seen[best], seen[mean] = torch.tensor([[1.2, 1.9, 1.1], [1.3, 1.5, 1.2], [1.3, 1.8, 1.7]])
    seen[first], seen[worst] = torch.tensor([[1.7, 1.0, 1.75], [1.4, 1.5, 1.4]])
    accuracy[one], accuracy[best], accuracy[mean] = torch.tensor(
        [[0.50, 0.54, 0.52], [0.66, 0.68, 0.67], [0.61, 0.63, 0.59]]
    )
    accuracy[first], accuracy[worst] = torch.tensor([[0.55, 0.57, 0.59], [0.72, 0.58, 0.60]])
    accuracy += 0.05 * torch.rand(())
    tried = "honest_and_peeked(seen, accuracy) for 5 weights and 3 seeds"
    found = answer(seen, accuracy)
    pair = isinstance(found, tuple | list) and len(found) == 2
    expect(pair, tried=tried, got=type(found).__name__, misconception="Return the pair (honest, peeked).")
    honest, peeked = (float(value) for value in found)
    means = accuracy.mean(dim=1)
    right = float(means[mean]), float(means[best])
    got = f"honest {honest:.3f}, peeked {peeked:.3f}"

    def is_(value: float, other: torch.Tensor) -> bool:
        return abs(value - float(other)) < 1e-5

    swapped = is_(honest, means[best]) and is_(peeked, means[mean])
    expect(not swapped, tried=tried, got=got, misconception="The two have changed places: honest comes first.")
    measure = "That is the measure itself. Both numbers are accuracies of the weight that was chosen."
    expect(not is_(honest, seen.mean(1).max()), tried=tried, got=got, misconception=measure)
    both = "Both numbers are the best accuracy: the honest choice may look at `seen` only."
    expect(not (is_(honest, means[best]) and is_(peeked, means[best])), tried=tried, got=got, misconception=both)
    single = "You choose by the highest single value of `seen`. Take the mean over the seeds first."
    expect(not is_(honest, means[one]), tried=tried, got=got, misconception=single)
    few = "You choose by one seed. Take the mean of `seen` over all seeds."
    expect(not is_(honest, means[first]), tried=tried, got=got, misconception=few)
    least = "You choose by the worst seed of each weight. Take the mean over the seeds."
    expect(not is_(honest, means[worst]), tried=tried, got=got, misconception=least)
    close(honest, right[0], tried=tried, misconception="The mean accuracy of the weight with the highest mean of seen.")
    each = "The best accuracy of each seed, or of one: that is several weights. Choose one for all the seeds."
    highest = is_(peeked, accuracy.max()) or is_(peeked, accuracy.max(0).values.mean())
    expect(not highest, tried=tried, got=got, misconception=each)
    close(peeked, right[1], tried=tried, misconception="The highest mean accuracy over the seeds.")
