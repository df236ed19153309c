"""Typical wrong answers to the exercises of lesson 01: each has one fault."""

from __future__ import annotations

import math
import statistics

import torch
from scipy import stats


def chooser(*, take=None, excluded=True, refuse=True, seeded=lambda seed: torch.Generator().manual_seed(seed)):
    """The right answer, with one part at a time to be replaced."""

    def few_labels(labels, groups, *, test_groups, k, seed):
        generator = seeded(seed)
        allowed = ~torch.isin(groups, test_groups) if excluded else torch.ones_like(groups, dtype=torch.bool)
        chosen = []
        for label in labels.unique():
            members = ((labels == label) & allowed).nonzero().flatten()
            if refuse and len(members) < k:
                raise ValueError("too few")
            order = torch.randperm(len(members), generator=generator)
            chosen.append(take(members, k, generator) if take else members[order[:k]])
        return torch.cat(chosen)

    return few_labels


def not_stratified(labels, groups, *, test_groups, k, seed):
    members = (~torch.isin(groups, test_groups)).nonzero().flatten()
    order = torch.randperm(len(members), generator=torch.Generator().manual_seed(seed))
    return members[order[: k * len(labels.unique())]]


def k_in_all(labels, groups, *, test_groups, k, seed):
    return not_stratified(labels, groups, test_groups=test_groups, k=k, seed=seed)[:k]


def thrown_out_afterwards(labels, groups, *, test_groups, k, seed):
    chosen = chooser(excluded=False)(labels, groups, test_groups=test_groups, k=k, seed=seed)
    return chosen[~torch.isin(groups[chosen], test_groups)]


def positions_among_the_kept(labels, groups, *, test_groups, k, seed):
    allowed = ~torch.isin(groups, test_groups)
    return chooser()(labels[allowed], groups[allowed], test_groups=test_groups, k=k, seed=seed)


def a_mask(labels, groups, *, test_groups, k, seed):
    mask = torch.zeros(len(labels), dtype=torch.bool)
    mask[chooser()(labels, groups, test_groups=test_groups, k=k, seed=seed)] = True
    return mask


def run(make, train, evaluate, *, steps, seed, train_seed=None, mode=False):
    model = make(seed)
    train(model, steps, seed if train_seed is None else train_seed)
    model.train(mode)
    return evaluate(model)


def fewer_steps(pretrained, scratch, *, train, evaluate, steps, seed):
    a = run(pretrained, train, evaluate, steps=steps, seed=seed)
    b = run(scratch, train, evaluate, steps=steps // 2, seed=seed)
    return a, b, a - b


def control_untrained(pretrained, scratch, *, train, evaluate, steps, seed):
    a = run(pretrained, train, evaluate, steps=steps, seed=seed)
    b = evaluate(scratch(seed).eval())
    return a, b, a - b


def one_model_twice(pretrained, scratch, *, train, evaluate, steps, seed):
    model = pretrained(seed)
    a = run(lambda seed: model, train, evaluate, steps=steps, seed=seed)
    b = run(lambda seed: model, train, evaluate, steps=steps, seed=seed)
    return a, b, a - b


def another_head(pretrained, scratch, *, train, evaluate, steps, seed):
    a = run(pretrained, train, evaluate, steps=steps, seed=seed)
    b = run(scratch, train, evaluate, steps=steps, seed=seed + 1, train_seed=seed)
    return a, b, a - b


def other_labels(pretrained, scratch, *, train, evaluate, steps, seed):
    a = run(pretrained, train, evaluate, steps=steps, seed=seed)
    b = run(scratch, train, evaluate, steps=steps, seed=seed, train_seed=seed + 1)
    return a, b, a - b


def takes_what_train_returns(pretrained, scratch, *, train, evaluate, steps, seed):
    model = train(pretrained(seed), steps, seed)
    return evaluate(model), 0.0, 0.0


def both(end=lambda a, b: (a, b, a - b), *, fixed_steps=None, fixed_seed=None, mode=False):
    """The same run for both models, whose two scores are returned as `end` says."""

    def compare(pretrained, scratch, *, train, evaluate, steps, seed):
        steps = steps if fixed_steps is None else fixed_steps
        seed = seed if fixed_seed is None else fixed_seed
        return end(*(run(make, train, evaluate, steps=steps, seed=seed, mode=mode) for make in (pretrained, scratch)))

    return compare


def interval_with(half, *, smallest=2, center=statistics.mean):
    """An interval whose half-width is half(values, confidence)."""

    def mean_interval(values, confidence=0.95):
        if len(values) < smallest:
            raise ValueError("one value")
        mean = center(values)
        width = half(values, confidence) if len(values) > 1 else 0.0
        return mean, mean - width, mean + width

    return mean_interval


def t(values, confidence=0.95):
    return float(stats.t.ppf((1 + confidence) / 2, len(values) - 1))


def error(values, spread=statistics.stdev):
    return spread(values) / math.sqrt(len(values))


def saved(*, log=True, target=lambda transfer, at: transfer[at], last=None, end=lambda factor, k: factor):
    """The right answer, with one part at a time to be replaced."""

    def labels_saved(labels, *, transfer, scratch, k):
        goal = target(transfer, labels.index(k))
        axis = [math.log2(n) if log else n for n in labels]
        if scratch[0] >= goal:
            return end(labels[0] / k, k)
        for i in range(1, len(labels)):
            if scratch[i] >= goal:
                share = (goal - scratch[i - 1]) / (scratch[i] - scratch[i - 1])
                x = axis[i - 1] + share * (axis[i] - axis[i - 1])
                return end((2**x if log else x) / k, k)
        return last(labels, scratch, goal) / k if last else math.inf

    return labels_saved


def beyond(labels, scratch, goal):
    slope = (scratch[-1] - scratch[-2]) / math.log2(labels[-1] / labels[-2])
    return labels[-1] * 2 ** ((goal - scratch[-1]) / slope)


def next_budget(labels, *, transfer, scratch, k):
    return next((n for n, y in zip(labels, scratch, strict=True) if y >= transfer[labels.index(k)]), math.inf) / k


def changed_places(labels, *, transfer, scratch, k):
    return saved()(labels, transfer=scratch, scratch=transfer, k=k)


def extended_below(labels, *, transfer, scratch, k):
    target = transfer[labels.index(k)]
    if scratch[0] >= target:
        return 2 ** ((target - scratch[0]) / (scratch[1] - scratch[0])) / k
    return saved()(labels, transfer=transfer, scratch=scratch, k=k)


def last_crossing(labels, *, transfer, scratch, k):
    goal = transfer[labels.index(k)]
    below = max((i for i, accuracy in enumerate(scratch) if accuracy < goal), default=0)
    rest, at = labels[below:], labels[below]
    return saved(target=lambda *_: goal)(rest, transfer=transfer, scratch=scratch[below:], k=at) * at / k


WRONG = {
    "few_labels": [
        ("not stratified", not_stratified, "Draw within each class"),
        ("k in all", k_in_all, "k is the number of labels of each class"),
        (
            "with replacement",
            chooser(take=lambda m, k, g: m[torch.randint(len(m), (k,), generator=g)]),
            "different items\n.*Draw without replacement",
        ),
        ("leaks test groups", chooser(excluded=False), r"\d+ of 32 items belong to a test group"),
        ("leaves test items out too late", thrown_out_afterwards, "before you draw"),
        ("positions among the kept", positions_among_the_kept, "Translate back"),
        ("ignores the seed", chooser(seeded=lambda seed: torch.Generator().manual_seed(0)), "seeds 0 to 4"),
        ("global random state", chooser(seeded=lambda seed: torch.default_generator), "two different results"),
        ("resets the global state", chooser(seeded=torch.manual_seed), "torch.manual_seed"),
        ("fewer in silence", chooser(refuse=False), "no error, but Tensor"),
        ("a mask", a_mask, "torch.bool"),
    ],
    "compare": [
        ("fewer steps", fewer_steps, r"\d+ steps before its evaluation, the control [1-9]"),
        ("control untrained", control_untrained, "the control 0"),
        ("own number of steps", both(fixed_steps=100), "after 100 steps"),
        ("one model twice", one_model_twice, "pretrained, pretrained"),
        ("training mode", both(mode=True), "model.training"),
        ("another head", another_head, "is another head"),
        ("other labels", other_labels, "learn from the same ones"),
        ("always seed 0", both(fixed_seed=0), "made with seed 0 and trained"),
        ("model = train(…)", takes_what_train_returns, "given NoneType"),
        ("wrong sign", both(lambda a, b: (a, b, b - a)), "wrong way round"),
        ("absolute value", both(lambda a, b: (a, b, abs(a - b))), "absolute value"),
        ("changed places", both(lambda a, b: (b, a, a - b)), "changed places"),
        ("relative gain", both(lambda a, b: (a, b, a / b - 1)), "gain: hand on"),
        ("two numbers", both(lambda a, b: (a, b)), "Return three numbers"),
    ],
    "mean_interval": [
        (
            "1.96 instead of t",
            interval_with(lambda v, c: float(stats.norm.ppf((1 + c) / 2)) * error(v)),
            "normal quantile",
        ),
        ("population", interval_with(lambda v, c: t(v, c) * error(v, statistics.pstdev)), "whole population"),
        ("√n forgotten", interval_with(lambda v, c: t(v, c) * statistics.stdev(v)), "√n is missing"),
        ("n instead of √n", interval_with(lambda v, c: t(v, c) * statistics.stdev(v) / len(v)), "Divided by n:"),
        ("one tail", interval_with(lambda v, c: float(stats.t.ppf(c, len(v) - 1)) * error(v)), "One tail only"),
        (
            "n degrees of freedom",
            interval_with(lambda v, c: float(stats.t.ppf((1 + c) / 2, len(v))) * error(v)),
            "has used up one",
        ),
        ("always 95 %", interval_with(lambda v, c: t(v) * error(v)), "has no effect"),
        ("standard error", interval_with(lambda v, c: error(v)), "the standard error"),
        ("one seed", interval_with(lambda v, c: t(v, c) * error(v), smallest=1), "the result of one seed"),
        (
            "median",
            interval_with(lambda v, c: t(v, c) * error(v), center=statistics.median),
            "first number is the mean",
        ),
    ],
    "labels_saved": [
        ("linear in the labels", saved(log=False), "along the labels themselves"),
        ("difference", saved(end=lambda factor, k: factor * k - k), "A difference"),
        ("not divided", saved(end=lambda factor, k: factor * k), "Divide by k"),
        ("upside down", saved(end=lambda factor, k: 1 / factor), "upside down"),
        ("doublings", saved(end=lambda factor, k: math.log2(factor)), "number of doublings"),
        ("next budget", next_budget, "next budget that was measured"),
        ("last accuracy", saved(target=lambda transfer, at: transfer[-1]), "transfer's last accuracy"),
        ("first accuracy", saved(target=lambda transfer, at: transfer[0]), "transfer's first accuracy"),
        ("changed places", changed_places, "changed places"),
        ("extends the line", saved(last=beyond), "do not extend the line"),
        ("stops at the last budget", saved(last=lambda labels, scratch, goal: labels[-1]), "stops at its last point"),
        ("extends below", extended_below, "Below the first budget"),
        ("last crossing", last_crossing, "first time counts"),
        ("never", lambda labels, transfer, scratch, k: math.inf, "does reach"),
    ],
}
