"""Does an answer find where one curve of errors stays near another, and which of two is lower at one entry?"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from tlcourse.checks.expect import expect, number


def check_start(start: Callable[[Tensor], Any], longest: int) -> None:
    """CheckFailed unless start(times) is right for a network whose error is `times` that of ridge."""
    dip = random.randint(1, 3)
    right = dip + random.randint(3, 4)
    times = 1.6 + torch.rand(longest, dtype=torch.float64)
    times[dip] = 1.2
    times[right:] = 1.05 + 0.4 * torch.rand(longest - right, dtype=torch.float64)
    tried = f"read_curve where network / ridge is {[round(value, 2) for value in times.tolist()]}"
    found = start(times)
    number_wanted = "Near from some number of examples on, so there is a start: return that number."
    expect(found is not None, tried=tried, got="None", misconception=number_wanted)
    k = int(number(found, tried=tried))
    cases = (
        (dip, "This is the first time. Afterwards the error rises above the line again: it must stay below."),
        (right + 1, "One too many: entry k is already the error after k examples."),
        (right - 1, "This is the last number of examples with too large an error. The next one is the start."),
        (longest - right, "This is how many entries are near. The number of examples where it begins is wanted."),
        (0, "The error is above 1.5 times ridge's there. Is it the quotient, and the right way round?"),
    )
    for wrong, reason in cases:
        expect(k != wrong or k == right, tried=tried, got=f"start {k}", misconception=reason)
    expect(k == right, tried=tried, got=f"start {k}", misconception=f"From {right} examples on it is near ridge.")
    never = times.flip(0)
    never[-1] = 1.8
    tried = "read_curve where the last error is above 1.5 times ridge's"
    late = "The network does not stay near: after the most examples it is not. Return None."
    found = start(never)
    expect(found is None, tried=tried, got=f"start {found}", misconception=late)
    tried = "read_curve where every error is near ridge's"
    found = start(torch.full((longest,), 1.2, dtype=torch.float64))
    always = "Near from the beginning: the start is 0, which is not the same as None."
    expect(found is not None and int(found) == 0, tried=tried, got=f"start {found}", misconception=always)


def check_beats(beats: Callable[[Tensor, Tensor], Any], ridge: Tensor, dim: int) -> None:
    """CheckFailed unless beats(network, least_squares) compares the two after `dim` examples, and nothing else."""

    def but(at: int, inside: float, outside: float) -> Tensor:
        factors = torch.full_like(ridge, outside)
        factors[at] = inside
        return factors * ridge

    low, high = 0.9, 3.0
    cases = (
        (low * ridge, True, "The network's error is the smaller one there, so it wins."),
        (1.2 * ridge, True, "Compared with ridge? The question is whether it beats least squares."),
        (but(dim - 1, high, low), True, "Entry dim − 1 decides, the error after one example fewer."),
        (but(dim + 1, high, low), True, "Entry dim + 1 decides, the error after one example more."),
        (but(dim, low, high), True, "All entries, or their mean, decide. Only that after dim examples should."),
        (but(dim, high, low), False, "The network loses there. It may win elsewhere: that does not count."),
    )
    for network, right, reason in cases:
        tried = f"read_curve(…, dim={dim}), its second result"
        found = bool(beats(network, 2 * ridge))
        expect(found is right, tried=tried, got=str(found), misconception=reason)
