"""Does an answer judge a gain over a few seeds rightly: by the interval of the paired differences?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.expect import expect
from tlcourse.training import interval

SEEDS = 5  # 2.776 / √5 = 1.242: the half-width of the 95 % interval, in standard deviations of the differences
SPREAD = 0.01


def check_verdict(answer: Callable[..., Any]) -> None:
    """CheckFailed unless the answer says what the paired interval of Student's t says.

    Each row is a mean difference in standard deviations, where only the misconception beside it says something else.
    """
    flat, steep = 0.001, 0.08  # how much the control varies from seed to seed
    swapped = "The other way round: the gain is with_source minus alone."
    steady = "That is how far single seeds scatter. Their mean is surer: divide the standard deviation by √n."
    unpaired = "Seeds differ, and both runs of a seed differ alike. Take differences seed by seed, then the interval."
    never_negative = "A source can hurt. An interval below 0 is negative transfer."
    means = "The mean alone decides here. Its interval holds 0, so these seeds do not tell."
    normal = "1.96 is the quantile of the normal distribution, for a known spread. For 5 seeds Student's t gives 2.78."
    wide = "The interval is too wide: 95 % is enough, with the quantile 0.975 of Student's t, n − 1 degrees."
    one_sided = "95 % of one side. Leave 2.5 % on each side: the quantile 0.975."
    degrees = "The spread comes from n − 1: divide by n − 1 for the variance, and take Student's t with n − 1."
    for gain, control, wrong in (
        (2.5, flat, {"negative": swapped, "unclear": steady}),
        (4.0, steep, {"negative": swapped, "unclear": unpaired}),
        (-4.0, steep, {"positive": never_negative, "unclear": never_negative}),
        (0.3, steep, {"positive": means, "negative": means}),
        (-0.3, steep, {"positive": means, "negative": means}),
        (1.3, steep, {"unclear": wide}),
        (0.91, steep, {"positive": normal}),
        (1.0, steep, {"positive": one_sided}),
        (1.18, steep, {"positive": degrees}),
    ):
        _check_case(answer, *_runs(gain * SPREAD, control=control), wrong=wrong)
    for seeds in (3, 4, 8, 12):
        for _ in range(4):
            _check_case(answer, *_runs(2 * SPREAD * float(torch.randn(())), control=steep, seeds=seeds), wrong={})


def _runs(gain: float, *, control: float, seeds: int = SEEDS) -> tuple[Tensor, Tensor]:
    """Accuracies with the source and without, whose differences have this mean and the standard deviation SPREAD."""
    noise = torch.randn(2, seeds).double()
    noise = (noise - noise.mean(dim=1, keepdim=True)) / noise.std(dim=1, keepdim=True)
    alone = 0.6 + control * noise[0]
    return alone + gain + SPREAD * noise[1], alone


def _check_case(answer: Callable[..., Any], with_source: Tensor, alone: Tensor, *, wrong: dict[str, str]) -> None:
    found = answer(with_source.tolist(), alone.tolist())
    truth = interval(with_source - alone)
    right = "positive" if truth.low > 0 else "negative" if truth.high < 0 else "unclear"
    differences = ", ".join(f"{100 * d:+.1f}" for d in (with_source - alone).tolist())
    tried = f"{len(alone)} seeds, control {alone.min():.2f} to {alone.max():.2f}, gains {differences} points"
    expect(
        isinstance(found, str) and found in ("positive", "negative", "unclear"),
        tried=tried,
        got=f"{found!r:.40}",
        misconception='Return one of the words "positive", "negative" and "unclear".',
    )
    expect(
        found == right,
        tried=tried,
        got=f'"{found}", though the interval is {100 * truth.low:+.2f} to {100 * truth.high:+.2f} points',
        misconception=wrong.get(found, "Positive above 0, negative below 0, unclear when the interval holds 0."),
    )
