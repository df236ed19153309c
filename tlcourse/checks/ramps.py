"""Does an answer warm a learning rate up and let it fall, in two straight lines and without a wasted step?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from itertools import pairwise
from typing import Any

from tlcourse.checks.draws import Rules, follow
from tlcourse.checks.expect import expect, number
from tlcourse.checks.friendly import CheckFailed

Curve = list[float]
RISE = "The rise is a straight line from 0 at step −1, which is never taken, to 1 at step `rising`."
FALL = "The fall is a straight line from 1 at step `rising` to 0 at step `steps`, which is never taken."
SLOW = "Several steps share one factor, as if it went by epochs. It changes with every step."


def check_warmup(answer: Callable[..., Any]) -> None:
    """CheckFailed unless answer(step, steps, rising) is on the two lines, whatever the numbers of steps."""
    for _ in range(3):
        rising = random.randint(4, 9)
        _check_curve(answer, rising + random.randint(20, 30), rising)
    try:
        _check_curve(answer, random.randint(10, 20), 0)
    except ZeroDivisionError:
        raise CheckFailed(
            tried="rising = 0, a schedule without a warm-up",
            got="ZeroDivisionError",
            misconception="With rising = 0 no step is on the way up: the first one has the factor 1.",
        ) from None
    for steps, rising in ((7, 1), (6, 5), (1, 0), (300, 30)):
        _check_curve(answer, steps, rising)


def _check_curve(answer: Callable[..., Any], steps: int, rising: int) -> None:
    tried = f"warmup_linear(step, {steps}, {rising}) for the steps 0 to {steps - 1}"
    found = [number(answer(step, steps, rising), tried=tried) for step in range(steps)]
    right = [(step + 1) / (rising + 1) if step < rising else (steps - step) / (steps - rising) for step in range(steps)]
    if _alike(found, right):
        return
    follow(_whole(found, right, steps, rising), tried=tried)
    if rising:
        _check_rise(found[: rising + 1], right[: rising + 1], steps, tried=tried)
    _check_fall(found, right, rising, tried=tried)


def _whole(found: Curve, right: Curve, steps: int, rising: int) -> Rules:
    """What shows in the curve as a whole."""
    factor = found[0] / right[0]
    scaled = abs(factor) > 1e-9 and _alike([value / factor for value in found], right)
    lowest = min(range(steps), key=found.__getitem__)
    times = [(min(step / max(rising, 1), 1) if rising else 1) * (steps - step) / steps for step in range(steps)]
    product = [min((step + 1) / (rising + 1), 1) * (steps - step) / steps for step in range(steps)]
    early = "The fall begins at step 0 and pulls the rise down. It begins at the peak: count from `rising`."
    rate = "A schedule returns a factor from 0 to 1. `fit` multiplies it by the learning rate."
    return [
        (not scaled, f"each factor {factor:.3g} times what it should be, for a peak of {max(found):.3g}", rate),
        (
            found[lowest] > -1e-9,
            f"{found[lowest]:.3g} at step {lowest}",
            "A factor below 0 climbs the loss instead of descending. Does the fall end at step `steps`?",
        ),
        (
            max(found) < 1 + 1e-6,
            f"{max(found):.3g} at step {found.index(max(found))}",
            "The factor never exceeds 1: the learning rate is the peak. Is `rising` taken for a share or an epoch?",
        ),
        (not (_alike(found, product) or _alike(found, times)), f"{found[rising]:.3g} at step {rising}, not 1", early),
    ]


def _check_rise(found: Curve, right: Curve, steps: int, *, tried: str) -> None:
    """The steps from 0 to `rising`."""
    rising = len(found) - 1
    all_the_way = [[(step + 1) / (n + 1) for step in range(rising + 1)] for n in (steps, steps - 1, rising * steps)]
    rules: Rules = [
        (
            found[0] > 1e-9,
            f"{found[0]:.3g} at step 0",
            "The first step is wasted: at rate 0 it moves nothing, at full cost. The line starts at step −1.",
        ),
        (
            min(found) < 1 - 1e-6,
            "1 from the first step on",
            "There is no rise: the first step has the whole learning rate.",
        ),
        (
            abs(found[rising - 1] - 1) > 1e-6,
            f"1 at step {rising - 1} already",
            "Off by one: the peak is at step `rising`, so step `rising` − 1 is still on its way up.",
        ),
        (
            not any(_alike(found, curve) for curve in all_the_way),
            f"{found[rising]:.3g} at step {rising}, not 1",
            "The rise takes all of the training, or more. It takes `rising` steps, a number and not a share.",
        ),
        (
            abs(found[rising] - (steps - rising) / steps) > 1e-6 or rising == 0,
            f"{found[rising]:.3g} at the peak, step {rising}",
            "At its peak the factor is 1. Your fall has begun at step 0: subtract `rising` from both counts.",
        ),
        (all(abs(a - b) > 1e-9 for a, b in pairwise(found[:-1])), "one factor for several steps of the rise", SLOW),
        (_alike(found, right), f"{_short(found)}, not {_short(right)}", RISE),
    ]
    follow(rules, tried=tried)


def _check_fall(found: Curve, right: Curve, rising: int, *, tried: str) -> None:
    """The steps from `rising` to the last."""
    fall, wanted, left = found[rising:], right[rising:], len(found) - rising
    expect(
        max(fall) - min(fall) > 1e-9 or left == 1,
        tried=tried,
        got=f"{fall[-1]:.3g} until the end",
        misconception="It never falls. Small steps at the end let the weights settle.",
    )
    zeros = sum(abs(value) < 1e-9 for value in fall)
    cosine = [0.5 * (1 + math.cos(math.pi * i / left)) for i in range(left)]
    rules: Rules = [
        (
            zeros == 0,
            f"0 for the last {zeros} of {len(found)} steps" if zeros > 1 else f"0 at step {len(found) - 1}, the last",
            "Wasted at the end: a step at rate 0 moves nothing. The line meets 0 at step `steps`, after the last one.",
        ),
        (not _alike(fall, cosine), _short(fall), "This is half a cosine. Asked is a straight line."),
        (
            not _alike(fall, [(left + 1 - i) / (left + 1) for i in range(left)]),
            f"{fall[-1]:.3g} at the last step, not {wanted[-1]:.3g}",
            "It ends one step late. Counted from 0, the last step is `steps` − 1, and the line meets 0 at `steps`.",
        ),
        (all(abs(a - b) > 1e-9 for a, b in pairwise(fall)), "one factor for several steps of the fall", SLOW),
        (_alike(fall, wanted), f"{_short(fall)}, not {_short(wanted)}, from step {rising} on", FALL),
    ]
    follow(rules, tried=tried)


def _alike(one: Curve, other: Curve) -> bool:
    return all(abs(a - b) < 1e-6 for a, b in zip(one, other, strict=True))


def _short(curve: Curve) -> str:
    return ", ".join(f"{value:.3f}" for value in curve[:3]) + (", …" if len(curve) > 3 else "")
