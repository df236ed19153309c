"""Typical wrong answers to the exercises of lesson 12, each with the message that it should get."""

from __future__ import annotations

import torch


def shares_of(combine, *, transposed=False, by_row=False):
    def bbse(predictions, labels, target_predictions, n_classes):
        c = torch.bincount(predictions * n_classes + labels, minlength=n_classes**2).reshape(n_classes, -1).double()
        c = c.T if transposed else c
        c = c / c.sum(dim=1, keepdim=True) if by_row else c / len(labels)
        mu = torch.bincount(target_predictions, minlength=n_classes).double() / len(target_predictions)
        return combine(c, mu)

    return bbse


def solved(c, mu):
    return torch.linalg.solve(c, mu) * c.sum(dim=0)


def statistic(k, n, *, diagonal=False, pairs=True, between=2.0):
    total = 0.0
    for block in (k[:n, :n], k[n:, n:]):
        kept = block.sum() if diagonal else block.sum() - block.trace()
        total += kept / (len(block) * (len(block) - (1 if pairs else 0)))
    return total - between * k[:n, n:].mean()


def shuffler(
    *,
    order=lambda k, n: torch.randperm(len(k)),
    larger=lambda values, true: values >= true - 1e-12,
    one=1,
    both=True,
    **options,
):
    def mmd_test(kernel, n, permutations):
        true = statistic(kernel, n, **options)
        values = []
        for _ in range(permutations):
            new = order(kernel, n)
            values.append(statistic(kernel[new][:, new] if both else kernel[new], n, **options))
        count = int(larger(torch.stack(values), true).sum())
        return float(true), (one + count) / (one + permutations)

    return mmd_test


def within_the_domains(k, n):
    return torch.cat([torch.randperm(n), n + torch.randperm(len(k) - n)])


def namer(*, prior_first=False, errors_first=False, unlabelled="none seen", otherwise="unclear"):
    def name_shift(inputs, predictions, within, errors):
        if errors_first and errors is not None and errors <= 0.05:
            return "concept"
        if inputs > 0.05:
            return unlabelled if errors is None else "concept" if errors <= 0.05 else "none"
        if prior_first and predictions <= 0.05:
            return "prior"
        return "covariate" if within <= 0.05 else "prior" if predictions <= 0.05 else otherwise

    return name_shift


def no_within(inputs, predictions, within, errors):
    if inputs > 0.05:
        return namer()(inputs, predictions, within, errors)
    return "covariate" if within <= 0.05 or predictions <= 0.05 else "unclear"


WRONG = {
    "ratio": [
        ("probability", lambda p, n, m: p, "probability itself"),
        ("odds alone", lambda p, n, m: p / (1 - p), "odds count rows"),
        ("counts turned", lambda p, n, m: p / (1 - p) * m / n, "counts are turned round"),
        ("inverse", lambda p, n, m: (1 - p) / p * m / n, "p_S / p_T"),
        ("odds turned", lambda p, n, m: (1 - p) / p * n / m, "odds are turned round"),
        ("mean 1", lambda p, n, m: p / (1 - p) / (p / (1 - p)).mean(), "weights to mean 1"),
    ],
    "bbse": [
        ("counted", shares_of(lambda c, mu: mu), "count the predictions"),
        ("weights", shares_of(torch.linalg.solve), "These are the weights"),
        ("transposed", shares_of(solved, transposed=True), "matrix is transposed"),
        ("rows add up to 1", shares_of(torch.linalg.solve, by_row=True), "Each row of your matrix"),
        ("multiplied", shares_of(lambda c, mu: c @ mu), "You multiply by C"),
    ],
    "mmd_test": [
        ("diagonal", shuffler(diagonal=True, pairs=False), "compared with themselves"),
        ("count of pairs", shuffler(pairs=False), "but not of the count"),
        ("between once", shuffler(between=1.0), "counts twice"),
        ("p of 0", shuffler(one=0), "A p-value of 0"),
        ("smaller", shuffler(larger=lambda values, true: values <= true), "Large p for a large shift"),
        ("shuffled within", shuffler(order=within_the_domains), "division never changes"),
        ("columns kept", shuffler(both=False), "same new order"),
        ("strictly larger", shuffler(larger=lambda values, true: values > true), "Equal values count"),
    ],
    "name_shift": [
        ("predictions first", namer(prior_first=True), "predictions can change too"),
        ("errors first", namer(errors_first=True), "prove no concept shift"),
        ("no labels, no shift", namer(unlabelled="none"), "may have changed unseen"),
        ("no prior shift", no_within, "Within a predicted class nothing differs"),
        ("never unclear", namer(otherwise="prior"), "no test says how"),
    ],
}
