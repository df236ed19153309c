"""Intervals and bootstrap against scipy and against what they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from tlcourse import training

numbers = st.floats(-1e6, 1e6)


@given(st.lists(numbers, min_size=2, max_size=20), st.floats(0.5, 0.99))
def test_interval_is_students(values: list[float], confidence: float):
    ours = training.interval(values, confidence=confidence)
    spread = float(np.std(values, ddof=1))
    assert ours.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert ours.sd == pytest.approx(spread)
    if spread > 1e-6:
        low, high = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
        assert (ours.low, ours.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)
    assert ours.low <= ours.mean <= ours.high
    assert ours.n == len(values)


def test_interval_covers_as_often_as_it_says():
    draws = np.random.default_rng(0).normal(3.0, 2.0, size=(2000, 5))
    covered = np.mean([not training.interval(row).excludes(3.0) for row in draws])
    assert covered == pytest.approx(0.95, abs=0.02)


def test_excludes():
    found = training.interval([0.5, 0.6, 0.7])
    assert found.excludes(0.0)
    assert found.excludes(0.9)
    assert not found.excludes(0.6)


def test_reads_as_text():
    found = training.interval(torch.tensor([0.50, 0.51, 0.52]))
    assert str(found) == "0.510 ± 0.025"
    assert f"{found:.1%}" == "51.0% ± 2.5%"
    assert f"{found:+.1%}" == "+51.0% ± 2.5%"
    skewed = training.Interval(mean=0.5, low=0.1, high=0.6, n=3, sd=0.1)
    assert f"{skewed:.2f}" == "0.50 [0.10, 0.60]"


def test_bootstrap_of_a_mean_agrees_with_students_interval():
    values = np.random.default_rng(1).normal(size=200)
    ours, exact = training.bootstrap(values, np.mean), training.interval(values)
    assert ours.mean == pytest.approx(exact.mean)
    assert (ours.low, ours.high) == pytest.approx((exact.low, exact.high), abs=0.02)


def test_bootstrap_resamples_rows_together():
    x = np.random.default_rng(2).normal(size=60)
    pairs = np.stack([x, x**3], axis=1)
    found = training.bootstrap(pairs, lambda rows: stats.spearmanr(rows[:, 0], rows[:, 1]).statistic, draws=200)
    assert (found.low, found.high) == pytest.approx((1.0, 1.0))


def test_bootstrap_repeats_by_seed():
    values = list(range(10))
    again = [training.bootstrap(values, np.median, seed=seed, draws=200) for seed in (0, 0, 1)]
    assert again[0] == again[1] != again[2]


def test_bootstrap_leaves_undefined_draws_out_and_says_when_most_are():
    few = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 5.0]])

    def correlation(rows: np.ndarray) -> float:
        return float(np.corrcoef(rows.T)[0, 1]) if len(np.unique(rows[:, 0])) > 1 else float("nan")

    assert np.isfinite(training.bootstrap(few, correlation).low)
    with pytest.raises(ValueError, match="undefined"):
        training.bootstrap(few, lambda rows: float("nan"))


@pytest.mark.parametrize(
    ("values", "message"),
    [([0.5], "at least two"), ([], "at least two"), ([[1, 2], [3, 4]], "flat"), ([0.1, float("nan")], "NaN")],
)
def test_interval_refuses(values: list, message: str):
    with pytest.raises(ValueError, match=message):
        training.interval(values)


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_confidence_is_a_share(confidence: float):
    with pytest.raises(ValueError, match="confidence"):
        training.interval([1, 2], confidence=confidence)
    with pytest.raises(ValueError, match="confidence"):
        training.bootstrap([1, 2], np.mean, confidence=confidence)


def test_bootstrap_needs_draws():
    with pytest.raises(ValueError, match="draws"):
        training.bootstrap([1, 2], np.mean, draws=5)
