"""A smooth metric and a sharp one on the same answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tlcourse.foundation import (
    answers,
    emergence_score,
    exact_match,
    expected_exact_match,
    largest_step,
    token_accuracy,
)

HITS = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 1, 1], [0, 0, 0, 0]], dtype=torch.bool)


def test_both_metrics_by_hand() -> None:
    assert token_accuracy(HITS) == 11 / 16
    assert exact_match(HITS) == 2 / 4


def test_exact_match_is_the_power_of_accuracy_when_errors_are_independent() -> None:
    generator = torch.Generator().manual_seed(0)
    for p in (0.5, 0.8, 0.95):
        hits = torch.rand(20_000, 5, generator=generator) < p
        wanted = expected_exact_match([p], 5)[0]
        assert wanted == pytest.approx(p**5)
        assert abs(exact_match(hits) - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 20_000)


def test_errors_that_come_together_leave_more_answers_right() -> None:
    together = (torch.rand(20_000, 1, generator=torch.Generator().manual_seed(0)) < 0.8).expand(-1, 5)
    assert token_accuracy(together) == pytest.approx(0.8, abs=0.02)
    assert exact_match(together) > 2 * expected_exact_match([0.8], 5)[0]


def test_a_smooth_rise_looks_like_a_jump_under_exact_match() -> None:
    accuracy = np.linspace(0.1, 1.0, 10)
    sharp = expected_exact_match(accuracy, 20)
    assert largest_step(accuracy) == pytest.approx(1 / 9)
    assert largest_step(sharp) > 0.8
    assert emergence_score(accuracy) == pytest.approx(9.0)
    assert emergence_score(sharp) > 1000


def test_scores_by_hand() -> None:
    # steps 1, 1, 4: median of the squares 1, range 6
    assert emergence_score([0.0, 1.0, 2.0, 6.0]) == pytest.approx(6.0)
    assert emergence_score([6.0, 2.0, 1.0, 0.0]) == pytest.approx(-6.0)
    assert emergence_score([0.0, 0.0, 0.0, 1.0]) == math.inf
    assert emergence_score([1.0, 0.0, 0.0, 0.0]) == -math.inf
    assert emergence_score([2.0, 2.0, 2.0]) == 0
    assert largest_step([0.0, 1.0, 2.0, 6.0]) == pytest.approx(4 / 6)
    assert largest_step([2.0, 2.0, 2.0]) == 0


def test_a_text_is_cut_into_answers() -> None:
    hits = torch.tensor([1, 1, 0, 1, 1, 1, 0], dtype=torch.bool)
    assert answers(hits, 3).tolist() == [[True, True, False], [True, True, True]]
    assert exact_match(answers(hits, 3)) == 0.5
    with pytest.raises(ValueError, match="give 1 to that"):
        answers(hits, 8)


def test_errors() -> None:
    with pytest.raises(ValueError, match="shares of 0 to 1"):
        expected_exact_match([1.2], 3)
    with pytest.raises(ValueError, match="length of 1 or more"):
        expected_exact_match([0.2], 0)
    with pytest.raises(ValueError, match="at least three sizes"):
        emergence_score([0.1, 0.2])
    with pytest.raises(ValueError, match="at least one of each"):
        exact_match(torch.zeros(0, 4, dtype=torch.bool))
