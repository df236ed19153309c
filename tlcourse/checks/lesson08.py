"""Checks of lesson 08: a causal mask, BERT's corruption, a power law, and two metrics of the same answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]
MASK, NOT_ASKED = 2, -100


@check
def causal_mask(answer: Answer) -> None:
    """each token sees itself and what is before it, and nothing after it"""
    n = int(torch.randint(4, 9, ()))
    tried = f"causal_mask({n})"
    given = answer(n)
    additive = isinstance(given, torch.Tensor) and bool(given.isinf().any())
    kind = "That is what is added to the scores, 0 and −∞. Asked is a boolean mask: true where a may look."
    expect(not additive, tried=tried, got="infinity", misconception=kind)
    seen = tensor(given, (n, n), tried=tried).bool()
    right = torch.ones(n, n, dtype=torch.bool).tril()
    cases = (
        (right.T, "Rows and columns have changed places: row a says what token a may look at."),
        (right.tril(-1), "A token does not see itself, and the first one sees nothing. The diagonal is allowed."),
        (torch.ones(n, n).tril(1).bool(), "Off by one: each token sees the next one, which is the answer."),
        (~right, "Turned round: true should mean that a token may be seen."),
        (torch.ones(n, n).bool(), "Every token sees every other, as in BERT. Hide what comes after."),
    )
    for wrong, reason in cases:
        expect(not seen.equal(wrong), tried=tried, got="a mask of another kind", misconception=reason)
    expect(seen.equal(right), tried=tried, got="another mask", misconception="Token a may look at b when b ≤ a.")


@check
def corrupt(answer: Answer) -> None:
    """15 % are asked about; of these 80 % become the mask, 10 % a random token, 10 % stay"""
    vocabulary = int(torch.randint(500, 900, ()))
    ids = torch.randint(3, vocabulary, (200, 300))
    kept = ids.clone()
    tried = "corrupt(ids, vocabulary) on 60,000 tokens"
    inputs, targets = (tensor(part, (200, 300), tried=tried) for part in answer(ids, vocabulary))
    expect(ids.equal(kept), tried=tried, got="ids has changed", misconception="You write into ids. Work on a copy.")
    asked = targets != NOT_ASKED
    share = float(asked.float().mean())
    all_asked = "Every token is asked about. Put -100 where it was not chosen."
    reason = all_asked if share > 0.99 else "Choose each token with probability 0.15, and ask about all the chosen."
    expect(0.13 < share < 0.17, tried=tried, got=f"{share:.1%} of the tokens are asked about", misconception=reason)
    original = "The targets are not the tokens that stood there. Take them from ids, before anything is hidden."
    expect(targets[asked].equal(ids[asked]), tried=tried, got="other targets", misconception=original)
    outside = "Tokens that were not chosen have changed. Leave them."
    expect(inputs[~asked].equal(ids[~asked]), tried=tried, got="other inputs", misconception=outside)
    masked = float((inputs[asked] == MASK).float().mean())
    same = float((inputs[asked] == ids[asked]).float().mean())
    got = f"of the chosen {masked:.0%} are the mask, {same:.0%} stay, {1 - masked - same:.0%} are another token"
    always = "All the chosen are hidden. In use there is no mask: let 10 % be random and 10 % stay."
    expect(masked < 0.97, tried=tried, got=got, misconception=always)
    never = "None is a random token: the model could trust every token that it sees."
    expect(1 - masked - same > 0.02, tried=tried, got=got, misconception=never)
    shares = "The shares of the chosen should be 80, 10 and 10 %."
    expect(abs(masked - 0.8) < 0.03 and abs(same - 0.1) < 0.02, tried=tried, got=got, misconception=shares)
    few = sorted(int(value) for value in answer(torch.full((200, 300), 5), 8)[0].unique())
    wide = "Random tokens are 3 to vocabulary − 1, each drawn by itself: torch.randint(3, vocabulary, ids.shape)."
    tried_few = "corrupt(ids, 8) on 60,000 times token 5, and which tokens then occur"
    expect(few == [MASK, 3, 4, 5, 6, 7], tried=tried_few, got=str(few), misconception=wide)
    again = tensor(answer(ids.clone(), vocabulary)[1], (200, 300), tried=tried) != NOT_ASKED
    both = float((again & asked).float().mean())
    fresh = "The same places are chosen at every call. Draw them anew: the model should be asked about every place."
    expect(
        both < 0.04,
        tried=f"{tried}, twice",
        got=f"{both:.1%} of the places were chosen both times",
        misconception=fresh,
    )


@check
def power_law(answer: Answer) -> None:
    """finds a and b of L = a · N^−b, by a line through the logarithms"""
    a, b = float(torch.rand(())) * 5 + 3, float(torch.rand(())) * 0.2 + 0.1
    n = np.geomspace(1e3, 1e6, 6)
    tried = f"power_law(sizes, losses) for losses of {a:.2f} · N^-{b:.3f}"
    found = answer(n, a * n**-b)
    pair = isinstance(found, tuple) and len(found) == 2
    expect(pair, tried=tried, got=f"{type(found).__name__}", misconception="Return the pair (a, b).")
    got_a, got_b = map(float, found)
    got = f"a = {got_a:.3f}, b = {got_b:.3f}"
    sign = "The sign is turned: the slope of the line is −b."
    expect(abs(got_b + b) > 1e-6, tried=tried, got=got, misconception=sign)
    straight = "This is a line through the numbers themselves. Take the logarithm of both sizes and losses."
    expect(abs(got_b - b) < 1e-5, tried=tried, got=got, misconception=straight)
    log = "That is the logarithm of a. Take exp of the intercept."
    expect(abs(got_a - np.log(a)) > 1e-6, tried=tried, got=got, misconception=log)
    close(got_a, a, tried=tried, misconception="a is exp of the intercept of the line.", tolerance=1e-4)
    slope = by_ends = 0.0
    while abs(slope - by_ends) < 0.01:  # else the line through two points could not be told from that through all
        noisy = a * n**-b * np.exp(np.random.default_rng().normal(0, 0.1, 6))
        slope, start = np.polyfit(np.log(n), np.log(noisy), 1)
        by_ends = np.log(noisy[-1] / noisy[0]) / np.log(n[-1] / n[0])
    tried = "power_law(sizes, losses) for losses that scatter"
    ends = "Use all points with least squares, not two of them."
    got_a, got_b = map(float, answer(n, noisy))
    close(got_b, -float(slope), tried=tried, misconception=ends, tolerance=1e-4)
    close(got_a, float(np.exp(start)), tried=tried, misconception="Not the a of least squares.", tolerance=1e-3)


@check
def metrics(answer: Answer) -> None:
    """the share of right digits, and the share of numbers in which every digit is right"""
    hits = torch.rand(50, 6) < 0.8
    hits[0], hits[1] = True, False  # some number is right, and no place is right in all
    tried = "metrics(hits) for 50 numbers of 6 digits"
    found = answer(hits)
    pair = isinstance(found, tuple) and len(found) == 2
    expect(pair, tried=tried, got=f"{type(found).__name__}", misconception="Return the pair (smooth, sharp).")
    smooth, sharp = (float(value) for value in found)
    right = float(hits.float().mean()), float(hits.all(dim=1).float().mean())
    got = f"smooth {smooth:.3f}, sharp {sharp:.3f}"
    swapped = abs(smooth - right[1]) < 1e-6 and abs(sharp - right[0]) < 1e-6
    expect(not swapped, tried=tried, got=got, misconception="The two have changed places: smooth comes first.")
    close(smooth, right[0], tried=tried, misconception="Smooth is the share of all digits that are right.")
    known = (
        (hits.any(dim=1).float().mean(), "One right digit is enough here. Every digit must be right: all, not any."),
        (right[0] ** 6, "This is p^6, what one expects of independent errors. Count the numbers instead."),
        (0.0, "You ask whether a place is right in all numbers: that is the wrong axis."),
    )
    close(sharp, right[1], tried=tried, misconception="Sharp is the share of numbers without an error.", known=known)
