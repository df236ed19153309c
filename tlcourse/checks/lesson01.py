"""Checks of lesson 01: labels chosen fairly, a control with the same budget, intervals over seeds, labels saved."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch

from tlcourse.checks import control, draws
from tlcourse.checks.base import check
from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import close, expect, number, raises
from tlcourse.training import interval

Answer = Callable[..., Any]


@check
def few_labels(answer: Answer) -> None:
    """k items of every class, none twice, none from a test group; the seed alone decides which"""
    labels, groups, test_groups = draws.grouped_items([12, 20, 35, 60])
    allowed = ~torch.isin(groups, test_groups)

    def draw(seed: int, k: int = 8) -> Any:
        return answer(labels, groups, test_groups=test_groups, k=k, seed=seed)

    for seed in range(3):
        draws.check_draw(draw(seed), labels, allowed, k=8, tried=f"few_labels(…, k=8, seed={seed}) on 4 classes")
    draws.check_seed(draw, name="few_labels")
    raises(
        ValueError,
        lambda: draw(0, k=13),
        tried="k=13, where one class has 12 items outside the test groups",
        misconception="A slice that is too long gives what there is: this class gets fewer labels than the others, "
        "and nobody is told. Raise ValueError.",
    )


@check
def compare(answer: Answer) -> None:
    """two models of their own, with the same seed, steps and mode; gain = transfer − scratch"""
    for helps in (True, False):
        steps, seed = random.randint(30, 60), random.randint(1, 99)
        low, high = sorted([0.2 + 0.3 * random.random(), 0.6 + 0.3 * random.random()])
        transfer, scratch = (high, low) if helps else (low, high)
        lab = control.Lab({"pretrained": transfer, "random": scratch})
        tried = f"compare(…, steps={steps}, seed={seed}) with models that note what is done to them"
        result = answer(
            lab.make_pretrained, lab.make_random, train=lab.train, evaluate=lab.evaluate, steps=steps, seed=seed
        )
        control.check_runs(lab, steps=steps, seed=seed, tried=tried)
        control.check_scores(result, transfer=transfer, scratch=scratch, tried=tried)


@check
def mean_interval(answer: Answer) -> None:
    """mean ± t · sd / √n with n − 1 degrees of freedom, and no interval from one seed"""
    for n, given in ((5, {}), (3, {"confidence": 0.8})):
        values = (0.6 + 0.1 * torch.randn(n)).tolist()
        confidence = given.get("confidence", 0.95)
        truth = interval(values, confidence=confidence)
        tried = f"mean_interval({[round(v, 3) for v in values]}{', confidence=0.8' if given else ''})"
        result = answer(values, **given)
        fits = isinstance(result, (tuple, list)) and len(result) == 3
        expect(fits, tried=tried, got=type(result).__name__, misconception="Return three numbers: mean, low and high.")
        mean, low, high = (number(value, tried=tried) for value in result)
        close(mean, truth.mean, tried=tried, misconception="The first number is the mean of the values.")
        rule = "The ends are mean − t · sd / √n and mean + t · sd / √n."
        half, right = (high - low) / 2, truth.high - truth.mean
        wrong = _wrong_halves(truth.sd, n, confidence)
        close(half, right, tried=f"{tried}, half its width", misconception=rule, known=wrong)
        for end, wanted in ((low, truth.low), (high, truth.high)):
            close(end, wanted, tried=tried, misconception=rule)
    raises(
        ValueError,
        lambda: answer([0.7]),
        tried="mean_interval([0.7]), the result of one seed",
        misconception="One value says nothing about how far the next one will be from it. Refuse with a ValueError.",
    )


def _wrong_halves(sd: float, n: int, confidence: float) -> list[tuple[float, str]]:
    """Half-widths of intervals that are wrong in a known way, each with its misconception."""
    from scipy import stats

    tail, unit = (1 + confidence) / 2, sd / math.sqrt(n)
    t = float(stats.t.ppf(tail, n - 1))
    population = math.sqrt((n - 1) / n)
    biased = "The standard deviation is that of a whole population: it divides by n. A sample needs n − 1 (ddof=1)."
    normal = (
        "This is the normal quantile, 1.96 for 95 %. It takes the spread for known; from a few seeds it is not. "
        "Use Student's t."
    )
    return [
        (float(stats.norm.ppf(tail)) * unit, normal),
        (t * unit * population, biased),
        (t * sd, "√n is missing: this is where the next seed may fall. A mean of n varies less."),
        (t * sd / n, "Divided by n: the spread of a mean shrinks with √n only."),
        (float(stats.t.ppf(confidence, n - 1)) * unit, "One tail only. Leave (1 − confidence) / 2 on either side."),
        (float(stats.t.ppf(tail, n)) * unit, "n degrees of freedom. The mean has used up one: n − 1 are left."),
        (float(stats.t.ppf(0.975, n - 1)) * unit, "`confidence` has no effect: this is the interval of 95 %."),
        (unit, "This is the standard error. The quantile of Student's t is missing."),
    ]


LABELS = [1, 2, 5, 10, 20, 40]


@check
def labels_saved(answer: Answer) -> None:
    """the control's labels over transfer's, on a log2 axis, and infinity where it never arrives"""

    def saved(transfer: Sequence[float], scratch: Sequence[float], k: int) -> float:
        value = answer(LABELS, transfer=list(transfer), scratch=list(scratch), k=k)
        return math.inf if value == math.inf else number(value, tried=f"labels_saved({LABELS}, …, k={k})")

    for at in (1, 2):
        rule = "Accuracy of transfer at k; labels of the control for it; over k."
        diagnose(lambda at=at: _factor_case(saved, at), otherwise=rule)  # type: ignore[misc]
    transfer, scratch = _curves(1)
    best = max(scratch)
    above = [value + best - transfer[4] + 0.05 for value in transfer]
    found = saved(above, scratch, 20)
    expect(
        found == math.inf,
        tried=f"a control that never gets beyond {best:.3f}, and transfer at {above[4]:.3f} with k=20",
        got=f"{found:.3f}",
        misconception="`np.interp` stops at its last point, and says nothing. Not reached is not reached: math.inf."
        if abs(found - 2) < 1e-6
        else "Beyond the last budget nothing was measured, so do not extend the line. Not reached: math.inf.",
    )
    close(
        saved([0.3, 0.4, 0.5, 0.6, 0.7, 0.8], [0.5, 0.6, 0.65, 0.7, 0.75, 0.8], 2),
        0.5,
        tried="a control that is better than transfer with its first label already, k=2",
        misconception="Below the first budget nothing was measured either: the control needs that budget at most.",
    )
    dip = [0.2, 0.6, 0.4, 0.5, 0.7, 0.8]
    close(
        saved([0.55, 0.6, 0.7, 0.75, 0.8, 0.85], dip, 1),
        _needed(dip, 0.55),
        tried=f"k=1, transfer there 0.55, and a control with a dip: {dip}",
        misconception="The control passes 0.55 twice: the dip is chance, and the first time counts.",
    )


def _factor_case(saved: Callable[[Sequence[float], Sequence[float], int], float], at: int) -> Case:
    transfer, scratch = _curves(at)
    tried = f"labels={LABELS}, transfer={_round(transfer)}, scratch={_round(scratch)}, k={LABELS[at]}"
    found = saved(transfer, scratch, LABELS[at])
    reached = f"The control does reach {transfer[at]:.3f}, between 10 and 20 labels."
    expect(found < math.inf, tried=tried, got="infinity", misconception=reached)
    return Case(tried, found, _needed(scratch, transfer[at]) / LABELS[at], _wrong_factors(transfer, scratch, at))


def _round(curve: Sequence[float]) -> list[float]:
    return [round(value, 3) for value in curve]


def _curves(at: int) -> tuple[list[float], list[float]]:
    """Rising accuracies of transfer and scratch; scratch reaches transfer[at] between LABELS[3] and LABELS[4]."""
    steps = 0.06 + 0.05 * torch.rand(12)
    scratch = (0.1 + steps[:6].cumsum(0)).tolist()
    target = scratch[3] + float(0.3 + 0.4 * torch.rand(())) * (scratch[4] - scratch[3])
    slope = 0.3 * (scratch[5] - target) / (5 - at)
    return [target + (i - at) * slope for i in range(6)], scratch


def _needed(curve: Sequence[float], target: float, *, log: bool = True) -> float:
    """Labels with which the line through (LABELS, curve) first reaches `target`."""
    axis = [math.log2(n) if log else n for n in LABELS]
    if curve[0] >= target:
        return float(LABELS[0])
    for (x0, x1), (y0, y1) in zip(pairwise(axis), pairwise(curve), strict=True):
        if y1 >= target:
            x = x0 + (target - y0) / (y1 - y0) * (x1 - x0)
            return 2**x if log else x
    return math.inf


def _wrong_factors(transfer: Sequence[float], scratch: Sequence[float], at: int) -> list[tuple[float, str]]:
    """Results that are wrong in a known way, each with its misconception."""
    k, target = LABELS[at], transfer[at]
    needed = _needed(scratch, target)
    budgets = [n for n, reached in zip(LABELS, scratch, strict=True) if reached >= target]
    return [
        (
            _needed(scratch, target, log=False) / k,
            "You went along the labels themselves. Go along their log2, then back with 2 ** x.",
        ),
        (needed - k, "A difference depends on the size of k. Return the factor: needed / k."),
        (needed, "These are the labels that the control needs. Divide by k."),
        (k / needed, "The factor is upside down: needed / k."),
        (math.log2(needed / k), "This is the number of doublings. Go back from log2 with 2 ** x."),
        (budgets[0] / k, "This is the next budget that was measured. Interpolate between the two around it."),
        (_needed(scratch, transfer[-1]) / k, "You took transfer's last accuracy. Take the one at k labels."),
        (_needed(scratch, transfer[0]) / k, "You took transfer's first accuracy. Take the one at k labels."),
        (_needed(transfer, scratch[at]) / k, "The curves have changed places: start from transfer at k labels."),
    ]
