"""Intervals: one number is not a result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

Values = Sequence[Any] | np.ndarray | Tensor


@dataclass(frozen=True)
class Interval:
    """A mean (or another statistic) with the ends of its confidence interval, from `n` values; `sd` is their spread.

    str() gives "0.512 ± 0.014", format(interval, "+.1%") "+51.2% ± 1.4%", and "0.512 [0.480, 0.530]" where the interval
    is not symmetric.
    """

    mean: float
    low: float
    high: float
    n: int
    sd: float

    def excludes(self, value: float) -> bool:
        """Whether `value` lies outside the interval."""
        return not self.low <= value <= self.high

    def __format__(self, spec: str) -> str:
        spec = spec or ".3f"
        half = self.high - self.mean
        if abs(half - (self.mean - self.low)) > 1e-9 * max(1.0, abs(half)):
            return f"{self.mean:{spec}} [{self.low:{spec}}, {self.high:{spec}}]"
        return f"{self.mean:{spec}} ± {half:{spec.replace('+', '')}}"

    def __str__(self) -> str:
        return format(self)


def interval(values: Values, *, confidence: float = 0.95) -> Interval:
    """Mean with Student's t interval: mean ± t(n - 1) · sd / √n.

    The values are those of independent repeats, for example one accuracy for each seed. For the difference between two
    methods give the differences seed by seed: their interval is narrower than the two apart suggest.

    Raises ValueError for fewer than two values, values that are not finite, or a confidence outside 0…1.
    """
    from scipy import stats

    numbers = _numbers(values, dims=1)
    _check_confidence(confidence)
    mean, sd = float(numbers.mean()), float(numbers.std(ddof=1))
    half = float(stats.t.ppf((1 + confidence) / 2, len(numbers) - 1)) * sd / len(numbers) ** 0.5
    return Interval(mean, mean - half, mean + half, len(numbers), sd)


def bootstrap(
    values: Values,
    statistic: Callable[[np.ndarray], float],
    *,
    draws: int = 2000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Percentile interval of any statistic (Efron 1979): resample the rows with replacement, `draws` times.

    `values`: n numbers, or n rows when the statistic needs several numbers of each example (x and y of a correlation).
    Draws for which the statistic is undefined (NaN) are left out. `mean` is the statistic of all the values.

    Raises ValueError for fewer than two values, values that are not finite, or a statistic that is mostly undefined.
    """
    numbers = _numbers(values, dims=2)
    _check_confidence(confidence)
    if draws < 100:
        raise ValueError(f"draws is {draws}; percentiles need at least 100")
    picks = np.random.default_rng(seed).integers(len(numbers), size=(draws, len(numbers)))
    results = np.array([float(statistic(numbers[pick])) for pick in picks])
    defined = results[np.isfinite(results)]
    if len(defined) < draws / 2:
        raise ValueError("statistic is undefined (NaN) for most resamples; give more values, or another statistic")
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(statistic(numbers)), float(low), float(high), len(numbers), float(defined.std(ddof=1)))


def _numbers(values: Values, *, dims: int) -> np.ndarray:
    numbers = values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if not 1 <= numbers.ndim <= dims or len(numbers) < 2:
        raise ValueError(
            f"values have shape {numbers.shape}; one value says nothing about its spread, so give at least two"
            + (" in a flat list" if dims == 1 else "")
        )
    numbers = numbers.astype(float)
    if not np.isfinite(numbers).all():
        raise ValueError("values hold NaN or infinity; find the run that failed before averaging")
    return numbers


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}; give a share between 0 and 1, for example 0.95")
