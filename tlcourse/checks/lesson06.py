"""Checks of lesson 06: a soft prompt, (IA)³, DoRA, and the choice of a method for a budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tlcourse.checks import budgets, magnitudes, prompts, scalings
from tlcourse.checks.base import check

Answer = Callable[..., Any]


@check
def with_prompt(answer: Answer) -> None:
    """the prompt stands before every text and is seen, the padding is not, and the text's outputs come back"""
    prompts.check_prompt(answer)


@check
def ia3(answer: Answer) -> None:
    """starts as its base, scales outputs with their bias or inputs, and learns nothing but the scales"""
    scalings.check_ia3(answer)


@check
def dora(answer: Answer) -> None:
    """starts as its base, one length for each output, and a norm that is a constant of the backward pass"""
    magnitudes.check_dora(answer)


@check
def choose(answer: Answer) -> None:
    """within every budget, by the means, and the smallest of those that these seeds cannot tell from the best"""
    budgets.check_choice(answer)
