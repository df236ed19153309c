"""Power laws: the truth is found again, least squares is NumPy's, intervals cover, and the best size is a bottom."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from tlcourse.foundation import best_size, fit_power_law, power_law_intervals, tokens_for, training_flops

SIZES = np.array([2.5e3, 6.4e3, 1.7e4, 4.3e4, 1.06e5, 3e5])


def noisy(b: float, *, c: float = 0.0, sd: float = 0.01, seed: int = 0, repeats: int = 2) -> tuple[np.ndarray, ...]:
    n = np.repeat(SIZES, repeats)
    noise = np.random.default_rng(seed).normal(0, sd, len(n))
    return n, 5.0 * n**-b * np.exp(noise) + c


def test_the_truth_is_found_again() -> None:
    law = fit_power_law(SIZES, 5.0 * SIZES**-0.09)
    assert (law.a, law.b, law.c, law.r2) == pytest.approx((5.0, 0.09, 0.0, 1.0))
    assert law([1e4]) == pytest.approx(5.0 * 1e4**-0.09)


def test_the_fit_is_the_line_of_numpy_and_scipy() -> None:
    n, loss = noisy(0.09, sd=0.03)
    law = fit_power_law(n, loss)
    slope, intercept = np.polyfit(np.log(n), np.log(loss), 1)
    line = linregress(np.log(n), np.log(loss))
    assert (-law.b, np.log(law.a)) == pytest.approx((slope, intercept))
    assert law.r2 == pytest.approx(line.rvalue**2)
    assert law.r2 < 0.999


def test_a_floor_is_found_where_there_is_one() -> None:
    law = fit_power_law(SIZES, 40.0 * SIZES**-0.4 + 1.5, floor=True)
    assert (law.a, law.b, law.c) == pytest.approx((40.0, 0.4, 1.5), rel=1e-2)
    straight = fit_power_law(SIZES, 5.0 * SIZES**-0.09, floor=True)
    assert straight.c == pytest.approx(0.0, abs=0.02)
    assert straight.b == pytest.approx(0.09, abs=2e-3)
    assert fit_power_law(SIZES, 40.0 * SIZES**-0.4 + 1.5).b < 0.2  # without the floor the slope is another one


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    inside, widths = 0, []
    for seed in range(60):
        found = power_law_intervals(*noisy(0.09, seed=seed), draws=100, seed=seed)
        inside += found.b.low <= 0.09 <= found.b.high
        widths.append(found.b.high - found.b.low)
    assert 0.85 <= inside / 60 <= 1.0
    slopes = [fit_power_law(*noisy(0.09, seed=seed)).b for seed in range(60)]
    assert np.mean(widths) == pytest.approx(3.92 * np.std(slopes), rel=0.3)


def test_the_band_is_around_the_law_and_opens_outwards() -> None:
    found = power_law_intervals(*noisy(0.09), draws=200)
    low, high = found.band([2.5e3, 3e4, 1e8])
    assert (low < found.law([2.5e3, 3e4, 1e8])).all()
    assert (high > found.law([2.5e3, 3e4, 1e8])).all()
    assert (np.log(high / low)[2] > 2 * np.log(high / low)[1]).all()
    assert found.c.low == found.c.high == 0
    assert found.b.mean == found.law.b
    assert power_law_intervals(*noisy(0.4, c=1.5), floor=True, draws=100).c.high > 1.0


def test_compute_is_shared_between_size_and_data() -> None:
    assert tokens_for(6e12, 1_000_000) == 1_000_000
    assert training_flops(43_000, tokens_for(1e12, 43_000)) == pytest.approx(1e12, rel=1e-5)


def test_the_best_size_is_the_bottom_of_the_curve() -> None:
    losses = 2.0 + 0.1 * (np.log(SIZES) - np.log(3e4)) ** 2
    assert best_size(SIZES, losses) == pytest.approx(3e4)
    with pytest.raises(ValueError, match="try smaller or larger ones"):
        best_size(SIZES, 5.0 * SIZES**-0.09)
    with pytest.raises(ValueError, match="no lowest point"):
        best_size(SIZES, 4.0 - losses)


def test_errors() -> None:
    for sizes, losses in (([1, 2, 3], [1.0, 2.0]), ([[1.0, 2.0]], [[1.0, 2.0]])):
        with pytest.raises(ValueError, match="one loss for each size"):
            fit_power_law(np.array(sizes), np.array(losses))
    for losses in ([1.0, 0.5, float("nan")], [1.0, 0.5, 0.0]):
        with pytest.raises(ValueError, match="leave out the runs that diverged"):
            fit_power_law([1, 2, 3], losses)
    with pytest.raises(ValueError, match="there are 2 sizes"):
        fit_power_law([1, 2, 2], [1.0, 0.5, 0.4])
    with pytest.raises(ValueError, match="at least 4"):
        fit_power_law([1, 2, 3], [1.0, 0.5, 0.4], floor=True)
    with pytest.raises(ValueError, match="at least 100"):
        power_law_intervals(*noisy(0.09), draws=50)
    with pytest.raises(ValueError, match="must be above 0"):
        tokens_for(0, 5)
