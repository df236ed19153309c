"""Rank correlation over candidates, and its bootstrap."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from tlcourse.concepts import mean_rank_correlation


def test_equals_scipys_spearman_averaged_over_targets():
    rng = np.random.default_rng(0)
    scores = {t: rng.normal(size=9).tolist() for t in "ab"}
    accuracy = {t: np.round(rng.normal(size=9), 1).tolist() for t in "ab"}  # rounded: ties
    expected = np.mean([spearmanr(scores[t], accuracy[t]).statistic for t in "ab"])
    assert mean_rank_correlation(scores, accuracy).mean == pytest.approx(expected, abs=1e-12)


def test_perfect_and_reversed_rankings():
    values = {"t": [0.1, 0.4, 0.2, 0.9, 0.5]}
    assert mean_rank_correlation(values, values).low == pytest.approx(1)
    reversed_scores = {"t": [-v for v in values["t"]]}
    assert mean_rank_correlation(reversed_scores, values).high == pytest.approx(-1)


def test_interval_of_unrelated_numbers_holds_zero_and_is_wide():
    rng = np.random.default_rng(1)
    result = mean_rank_correlation({"t": rng.normal(size=10).tolist()}, {"t": rng.normal(size=10).tolist()})
    assert not result.excludes(0.0)
    assert result.high - result.low > 0.5


@pytest.mark.parametrize(
    ("scores", "accuracy", "message"),
    [
        ({"a": [1.0] * 5}, {"b": [1.0] * 5}, "same targets"),
        ({}, {}, "same targets"),
        ({"a": [1.0, 2.0, 3.0]}, {"a": [1.0, 2.0, 3.0]}, "at least four"),
        ({"a": [1.0, 2.0, 3.0, float("nan")]}, {"a": [1.0, 2.0, 3.0, 4.0]}, "finite"),
    ],
)
def test_bad_input(scores, accuracy, message):
    with pytest.raises(ValueError, match=message):
        mean_rank_correlation(scores, accuracy)
