"""Checks of lesson 10: noise added at once, one step of DDIM, guidance, and the nearest training picture."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]


@check
def add_noise(answer: Answer) -> None:
    """√ᾱ of the picture and √(1 − ᾱ) of the noise, with an ᾱ for each picture"""
    clean, noise = torch.randn(6, 3, 8, 8), torch.randn(6, 3, 8, 8)
    kept = torch.rand(6) * 0.8 + 0.1
    tried = "add_noise(clean, noise, kept) on 6 pictures with an ᾱ each"
    found = tensor(answer(clean, noise, kept), (6, 3, 8, 8), tried=tried)
    share = kept[:, None, None, None]
    right = share.sqrt() * clean + (1 - share).sqrt() * noise
    cases = (
        (share * clean + (1 - share) * noise, "The roots are missing: variances add up to 1, so take √ᾱ and √(1 − ᾱ)."),
        (share.sqrt() * clean + (1 - share.sqrt()) * noise, "The share of noise is √(1 − ᾱ), not 1 − √ᾱ."),
        ((1 - share).sqrt() * clean + share.sqrt() * noise, "Turned round: ᾱ says how much of the picture is kept."),
        (clean + (1 - share).sqrt() * noise, "The picture has to get weaker too, or the variance grows without end."),
    )
    rule = "x_t = √ᾱ · clean + √(1 − ᾱ) · noise, picture by picture."
    close(found, right, tried=tried, misconception=rule, known=cases)


@check
def ddim_step(answer: Answer) -> None:
    """the picture seen behind the noise, with the same noise put back, but less of it"""
    clean, noise = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8)
    now = float(torch.rand(())) * 0.3 + 0.1
    later = now + 0.4
    noisy = now**0.5 * clean + (1 - now) ** 0.5 * noise
    guess = noise + 0.3 * torch.randn(4, 3, 8, 8)  # a network is not perfect
    seen = (noisy - (1 - now) ** 0.5 * guess) / now**0.5
    tried = f"ddim_step(noisy, noise, {now:.2f}, {later:.2f})"
    found = tensor(answer(noisy, guess, now, later), (4, 3, 8, 8), tried=tried)
    back = (1 - later) ** 0.5 * guess
    cases = (
        (seen, "That is the picture that the network sees behind the noise: one jump to the end. Put noise back."),
        (later**0.5 * seen, "No noise is put back, so the next step is told a level of noise that is not there."),
        (later**0.5 * seen + (1 - now) ** 0.5 * guess, "The noise that is put back has the old level, not the next."),
        (seen + back, "The picture has to be scaled by the root of the next ᾱ."),
        (later**0.5 * (noisy - (1 - now) ** 0.5 * guess) + back, "Divide by the root of this step's ᾱ to get x_0."),
    )
    again = tensor(answer(noisy, guess, now, later), tried=tried)
    fresh = "Two calls differ: fresh noise is DDPM. DDIM puts back the noise that the network saw."
    expect(found.equal(again), tried=f"{tried}, twice", got="two results", misconception=fresh)
    right = later**0.5 * seen + back
    rule = "√ᾱ_next · x_0 + √(1 − ᾱ_next) · noise."
    close(found, right, tried=tried, misconception=rule, known=cases, tolerance=1e-4)
    last = tensor(answer(noisy, guess, now, 1.0), tried=tried)
    close(last, seen, tried="a step to ᾱ = 1", misconception="At ᾱ = 1 only the picture is left.", tolerance=1e-4)


@check
def guided(answer: Answer) -> None:
    """0 ignores the words, 1 is the plain condition, more exaggerates the difference that words make"""
    wanted, plain = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    weight = float(torch.rand(())) * 3 + 1.5
    tried = f"guided(conditional, unconditional, {weight:.2f})"
    found = tensor(answer(wanted, plain, weight), (2, 3, 4, 4), tried=tried)
    cases = (
        (wanted + weight * (plain - wanted), "This moves away from what was asked for: the two have changed places."),
        (
            wanted + weight * (wanted - plain),
            "This is the paper's w, one less: here a weight of 1 must be no guidance.",
        ),
        (weight * wanted + plain, "The unconditional part is not taken off, so the output grows with the weight."),
        (weight * wanted, "The weight scales the difference between the two, not the output."),
    )
    right = plain + weight * (wanted - plain)
    close(found, right, tried=tried, misconception="Begin at the unconditional output.", known=cases)


@check
def nearest(answer: Answer) -> None:
    """for each sample the distance to its nearest training picture, and which one that is"""
    training = torch.rand(30, 3, 8, 8)
    which = torch.randperm(30)[:5]
    samples = (training[which] + 0.05 * torch.randn(5, 3, 8, 8)).clamp(0, 1)
    tried = "nearest(samples, training) for 5 samples and 30 training pictures"
    pair = answer(samples, training)
    two = isinstance(pair, tuple) and len(pair) == 2
    expect(two, tried=tried, got=type(pair).__name__, misconception="Return the pair (distances, places).")
    squares = (samples[:, None] - training[None]).square().mean(dim=(2, 3, 4))
    axis = "One result for each sample: take the minimum over the training pictures, dimension 1."
    found = tensor(pair[0], (5,), tried=tried, misconception=axis)
    places = tensor(pair[1], (5,), tried=tried, misconception=axis)
    cases = (
        (squares.min(dim=1).values, "Take the root of the mean square, so that it is in units of brightness."),
        (
            squares.sqrt().mean(dim=1),
            "This is the mean over all training pictures. A copy hides in it: take the least.",
        ),
        (squares.sqrt().max(dim=1).values, "This is the training picture that is least alike."),
        ((192 * squares).sqrt().min(dim=1).values, "Take the mean over pixels, not the sum."),
    )
    right = squares.sqrt().min(dim=1).values
    close(found, right, tried=tried, misconception="√ of the mean square, the least of all.", known=cases)
    expect(places.long().equal(which), tried=tried, got=f"places {places.tolist()}", misconception="Use argmin.")
