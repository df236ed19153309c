"""Does an answer judge which of two ways has the smaller spread over seeds: by an interval of the ratio of spreads?"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tlcourse.checks.diagnosis import Case, diagnose
from tlcourse.checks.expect import expect, number
from tlcourse.checks.friendly import CheckFailed

Answer = Callable[..., Any]
Array = np.ndarray
WORDS = ("a", "b", "unclear")
DRAWS = 4000
RATIO = "The ratio is the sample standard deviation of b over that of a."


@dataclass(frozen=True)
class Result:
    """What an answer returned."""

    who: str
    ratio: float
    low: float
    high: float

    @property
    def wanted(self) -> str:
        """What the rule makes of the answer's own interval."""
        return "b" if self.high < 1 else "a" if self.low > 1 else "unclear"


def check_steadier(answer: Answer) -> None:
    """CheckFailed unless the answer is (who, ratio, low, high), by the percentile interval of resampled ratios."""
    diagnose(lambda: _ratio_case(answer, 10, 10), otherwise=RATIO)
    diagnose(lambda: _ratio_case(answer, 6, 16), otherwise=RATIO)
    _check_interval(answer)
    _check_word(answer)
    _check_no_spread(answer)


def _ask(answer: Answer, a: Array, b: Array, *, tried: str) -> Result:
    try:
        value = answer(a.tolist(), b.tolist())
    except (IndexError, ValueError):
        if len(a) == len(b):
            raise
        raise CheckFailed(
            tried=tried,
            got="it stopped, though lists of equal length went well",
            misconception="The lists may have different lengths: draw positions for each list, as many as it has.",
        ) from None
    four = "Return four things: who, ratio, low, high."
    fits = isinstance(value, (tuple, list)) and len(value) == 4
    expect(fits, tried=tried, got=f"{type(value).__name__}: {value!r:.30}", misconception=four)
    who, *numbers = value
    words = 'Who is steadier is one of the words "a", "b" and "unclear".'
    expect(isinstance(who, str) and who in WORDS, tried=tried, got=f"{who!r:.30}", misconception=words)
    return Result(who, *(number(item, tried=tried) for item in numbers))


def _standard(n: int) -> Array:
    """n random numbers with mean 0 and sample standard deviation 1."""
    z = np.random.default_rng().normal(size=n)
    return np.asarray((z - z.mean()) / z.std(ddof=1))


def _said(a: Array, b: Array) -> str:
    spreads = (
        f"{name}: {len(x)} seeds, mean {x.mean():.3f}, sd {x.std(ddof=1):.4f}" for name, x in (("a", a), ("b", b))
    )
    return "; ".join(spreads)


def _ratio_case(answer: Answer, seeds_a: int, seeds_b: int) -> Case:
    spread, ratio, mean = np.random.default_rng().uniform([0.03, 1.2, 0.7], [0.05, 1.6, 0.8]).tolist()
    a, b = mean + spread * _standard(seeds_a), 0.6 + spread * ratio * _standard(seeds_b)
    tried = _said(a, b)
    found = _ask(answer, a, b, tried=tried).ratio
    return Case(f"{tried}; `ratio`", found, ratio, _wrong_ratios(a, b, ratio))


def _wrong_ratios(a: Array, b: Array, ratio: float) -> list[tuple[float, str]]:
    """Ratios that are wrong in a known way, each with its misconception."""
    of_means = "These are the means. A steadier way need not be a better one: compare the spreads."
    extremes = "The range looks at two runs alone, and grows with the number of seeds. Take the standard deviation."
    middle = "Quartiles and absolute deviations make little of a run that collapses. Take the standard deviation."
    population = "Divided by n: this takes the seeds for all there are. A sample divides by n − 1 (ddof=1)."
    measures: list[tuple[Callable[[Array], float], str]] = [
        (lambda x: float(x.std()), population),
        (lambda x: float(x.var(ddof=1)), "This is the ratio of the variances. Take the root of both."),
        (lambda x: float(x.max() - x.min()), extremes),
        (lambda x: float(x.mean()), of_means),
        (lambda x: float(np.subtract(*np.percentile(x, [75, 25]))), middle),
        (lambda x: float(np.median(abs(x - np.median(x)))), middle),
        (lambda x: float(abs(x - x.mean()).mean()), middle),
        (
            lambda x: float(x.std(ddof=1)) / math.sqrt(len(x)),
            "Divided by √n: a standard error says how sure a mean is. Here the spread itself is asked.",
        ),
        (
            lambda x: float(x.std(ddof=1) / x.mean()),
            "Divided by the mean as well. Points of accuracy have one scale already: take the spreads alone.",
        ),
    ]
    return [
        (1 / ratio, "Upside down: b over a, so that below 1 speaks for b."),
        (math.log(ratio), "This is the logarithm of the ratio. Go back with exp."),
        (float(b.std(ddof=1) - a.std(ddof=1)), "This is a difference. Divide the spread of b by that of a."),
        (float(b.mean() - a.mean()), of_means),
        *((measure(b) / measure(a), message) for measure, message in measures),
    ]


def _check_interval(answer: Answer) -> None:
    """Two runs of a bootstrap never agree exactly: judge the ends over several pairs of lists together."""
    found, right, others = [], [], []
    tried = ""
    for _ in range(10):
        z, ratio = _standard(12), np.random.default_rng().uniform(0.4, 0.7)
        alike = 0.9 * z + math.sqrt(1 - 0.9**2) * _standard(12)
        a, b = 0.7 + 0.05 * z, 0.75 + 0.05 * ratio * alike / alike.std(ddof=1)
        tried = f"{_said(a, b)}; `low` and `high`"
        result = _ask(answer, a, b, tried=tried)
        found.append((result.low, result.high))
        wanted, known = _ends(a, b)
        right.append(wanted)
        others.append(known)
    ends, truth = np.array(found), np.array(right)
    width = float(np.mean((ends[:, 1] - ends[:, 0]) / (truth[:, 1] - truth[:, 0])))
    if _distance(ends, truth, truth) < 0.2 and 0.92 < width < 1.08:
        return
    wrong_by = _distance(ends, truth, truth)
    near = {name: _distance(ends, np.array([known[name] for known in others]), truth) for name in others[0]}
    likely = min(near, key=near.__getitem__)
    size = "narrower" if width < 0.92 else "wider" if width > 1.08 else "elsewhere"
    generic = (
        f"The interval lies {size} than the quantiles 0.025 and 0.975 of the ratios. Each ratio is one of sample "
        "standard deviations, of one draw from each list."
    )
    raise CheckFailed(
        tried=tried,
        got=f"{ends[-1, 0]:.2f} to {ends[-1, 1]:.2f}; about {truth[-1, 0]:.2f} to {truth[-1, 1]:.2f} was expected",
        misconception=likely if near[likely] < max(0.15, 0.35 * wrong_by) else generic,
    )


def _distance(ends: Array, known: Array, truth: Array) -> float:
    """How far apart two sets of ends are, in half-widths of the right interval."""
    half = (truth[:, 1:] - truth[:, :1]) / 2
    return float(np.sqrt(np.mean(((ends - known) / half) ** 2)))


def _ends(a: Array, b: Array) -> tuple[tuple[float, float], dict[str, tuple[float, float]]]:
    """The right interval of two lists of one length, and those that come of known misconceptions."""
    dice = np.random.default_rng()
    n = len(a)
    first, second = dice.integers(n, size=(2, DRAWS, n))
    both = np.concatenate([a, b])
    pooled = both[dice.integers(2 * n, size=(2, DRAWS, n))].std(axis=2, ddof=1)
    sd_a, sd_b = a.std(ddof=1), b.std(ddof=1)
    drawn_a, drawn_b = a[first].std(axis=1, ddof=1), b[second].std(axis=1, ddof=1)
    ratios = drawn_b / drawn_a
    one = "Only one of the two lists is drawn anew. Both spreads are uncertain: draw from both."
    middle, sd = float(sd_b / sd_a), float(ratios.std())
    return _middle(ratios), {
        "There is no interval. Draw the runs anew, many times and with replacement; without it every draw is the same "
        "list in another order.": (middle, middle),
        "The same positions are drawn from both lists. Their seeds are different ones: draw for each list by itself.": (
            _middle(b[first].std(axis=1, ddof=1) / drawn_a)
        ),
        "Both lists were thrown together and drawn from the mixture. That shows what chance does when the ways are "
        "alike; draw each list from itself.": _middle(pooled[1] / pooled[0]),
        "90 %: 5 % are left out on each side. Leave 2.5 %: the quantiles 0.025 and 0.975.": _middle(ratios, 0.05),
        "This is the ratio plus and minus one standard deviation of the draws, no 95 % interval. Take quantiles.": (
            middle - sd,
            middle + sd,
        ),
        "This is the ratio plus and minus about two standard deviations of the draws. Ratios are lopsided, so take the "
        "quantiles.": (middle - 1.96 * sd, middle + 1.96 * sd),
        "The interval is of means, not of spreads.": _middle(b[second].mean(axis=1) / a[first].mean(axis=1)),
        "The interval is of the logarithm of the ratio. Go back with exp.": _middle(np.log(ratios)),
        "The interval is of a difference. Take the ratio in every draw.": _middle(drawn_b - drawn_a),
        one: _middle(drawn_b / sd_a),
        one + " ": _middle(sd_b / drawn_a),
    }


def _middle(values: Array, tail: float = 0.025) -> tuple[float, float]:
    low, high = np.quantile(values, [tail, 1 - tail])
    return float(low), float(high)


def _check_word(answer: Answer) -> None:
    """Five pairs of lists; what is said of all of them together tells the misconception."""
    swapped = "The other way round: below 1, b has the smaller spread, and is the steadier one."
    zero = "A ratio is never below 0, so an interval without 0 says nothing. Equal spreads have the ratio 1."
    means = "The better mean has decided. A way can be worse and steadier: look at the interval of the ratio."
    alone = "The ratio alone decides here, and its interval holds 1. These seeds cannot tell: unclear."
    never = "Above 1 the interval speaks for a as clearly as below 1 for b."
    cases: list[tuple[float, float, dict[str, str]]] = [  # ratio, mean of b (that of a is 0.7), messages
        (0.12, 0.8, {"a": swapped, "unclear": "The whole interval lies below 1: that is clear."}),
        (0.12, 0.6, {"a": means, "unclear": means}),
        (8.0, 0.8, {"b": means, "unclear": never}),
        (0.85, 0.7, {"a": alone, "b": alone}),
        (1.2, 0.7, {"a": alone, "b": alone}),
    ]
    runs = []
    for ratio, mean, wrong in cases:
        a, b = 0.7 + 0.02 * _standard(15), mean + 0.02 * ratio * _standard(15)
        runs.append((_said(a, b), _ask(answer, a, b, tried=_said(a, b)), wrong))
    same = len({result.who for _, result, _ in runs}) == 1
    for tried, result, wrong in runs:
        expect(
            result.who == result.wanted,
            tried=tried,
            got=f'"{result.who}", with your interval {result.low:.2f} to {result.high:.2f}',
            misconception=zero if same else wrong.get(result.who, "Go by the ends of the interval: is 1 between them?"),
        )


def _check_no_spread(answer: Answer) -> None:
    a, b = np.array([0.5] * 7 + [0.7]), np.linspace(0.6, 0.8, 8) + 0.005 * _standard(8)
    tried = "a: seven runs of 0.500 and one of 0.700, so that many draws of a have no spread at all"
    misconception = "Such a draw has no ratio. Leave it out, and take the quantiles of the others."
    try:
        result = _ask(answer, a, b, tried=tried)
    except (CheckFailed, ZeroDivisionError) as error:
        got = error.got if isinstance(error, CheckFailed) else "ZeroDivisionError"
        raise CheckFailed(tried=tried, got=got, misconception=misconception) from None
    dice = np.random.default_rng()
    drawn_a, drawn_b = (x[dice.integers(8, size=(DRAWS, 8))].std(axis=1, ddof=1) for x in (a, b))
    low, high = _middle((drawn_b / np.maximum(drawn_a, 1e-9))[drawn_a > 1e-9])
    expect(
        result.low > low / 3 and high / 2 < result.high < 2 * high,
        tried=tried,
        got=f"{result.low:.2f} to {result.high:.2f}; about {low:.2f} to {high:.2f} was expected",
        misconception=misconception,
    )
