"""Which misconception is named for wrong numbers, and when none is."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from tlcourse.checks.base import CheckFailed
from tlcourse.checks.diagnosis import Case, diagnose


def ask(answer: Callable[[float], float]) -> Callable[[], Case]:
    """Questions whose right answer is 2 x; twice too much and the square are known misconceptions."""
    numbers = iter([3.0, 4.0, 2.0])

    def case() -> Case:
        x = next(numbers)
        return Case(f"x = {x}", answer(x), 2 * x, [(4 * x, "Doubled twice."), (x * x, "Squared.")])

    return case


def test_a_right_answer_passes_though_a_misconception_gives_the_same_once():
    diagnose(ask(lambda x: 2 * x), otherwise="Wrong.")  # 2 · 2 = 2²


def test_the_misconception_that_explains_every_wrong_result_is_named():
    with pytest.raises(CheckFailed, match="Squared") as failure:
        diagnose(ask(lambda x: x * x))
    assert (failure.value.tried, failure.value.got) == ("x = 3.0", "9, not 6")
    with pytest.raises(CheckFailed, match="Doubled twice"):
        diagnose(ask(lambda x: 4 * x))


def test_one_match_by_chance_does_not_count():
    chance = ask(lambda x: 16.0 if x == 4 else random.random())  # 4 · 4 and 4², once
    with pytest.raises(CheckFailed, match="Neither"):
        diagnose(chance, otherwise="Neither.")
    diagnose(ask(lambda x: -x))  # unknown, and the check goes on to test properties


def test_a_mistake_that_shows_only_sometimes_is_seen():
    with pytest.raises(CheckFailed, match="Squared"):
        diagnose(ask(lambda x: x * x if x == 3 else 2 * x))
