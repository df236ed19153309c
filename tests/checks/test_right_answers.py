"""Right answers that look like wrong ones pass."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

import check_harness as harness
import pytest
import torch

from tlcourse.checks import budgets, lesson11, lesson13, lesson14

CARD = harness.load(Path(__file__).parent / "wrong" / "lesson11.py").CARD


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("mean of 4 runs", "95 % interval [0.58 to 0.66]"),
        ("Measure it", "We did not show that there is no bias. Measure it"),
        ("Measure it", "Nobody claims that it is unbiased. Measure it"),
        ("Measure it", "No bias test was made on this model so far. Measure it"),
        ("Measure it", "No bias was measured. Measure it"),
        ("Measure it", "Whether it is unbiased was not measured. Measure it"),
    ],
)
def test_model_card(old: str, new: str) -> None:
    assert old in CARD
    lesson11.model_card(CARD.replace(old, new))


def test_exposure_where_size_is_the_square_of_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = iter([torch.tensor(400), torch.tensor([20, 20, 50])])
    monkeypatch.setattr(torch, "randint", lambda *_: next(draws))
    lesson11.exposure(lambda losses, i: float(torch.log2(len(losses) / (losses <= losses[i]).sum())))


def test_forgetting_that_is_zero_on_average(monkeypatch: pytest.MonkeyPatch) -> None:
    lower = torch.full((5, 5), 0.5)
    lower[4, 2] = 0.42  # so that the falls are 0.30, -0.34, 0.04 and 0
    draws = cycle([lower, torch.zeros(5, 5)])
    monkeypatch.setattr(torch, "rand", lambda *_: next(draws).clone())
    lesson14.forgetting(lambda matrix: float((matrix[:-1].max(dim=0).values - matrix[-1])[:-1].mean()))


def test_a_strength_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand", lambda *_: torch.tensor(0.5))
    lesson13.reverse(lambda features, strength: features.detach() * (1 + strength) - strength * features)


def test_a_message_of_ones_own_may_say_empty() -> None:
    def answer(*_: object, **__: object) -> None:
        raise ValueError("No method fits: the list is empty.")

    budgets._check_none_fits(answer)
