"""Scaling laws: the loss falls as a power of the size (Kaplan et al. 2020, arXiv:2001.08361), and for a given amount of
compute one size is best (Hoffmann et al. 2022, arXiv:2203.15556)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tlcourse.foundation.footprint import FLOPS_PER_PARAMETER_AND_TOKEN
from tlcourse.training.statistics import Interval

Numbers = Sequence[float] | Sequence[int] | np.ndarray


@dataclass(frozen=True)
class PowerLaw:
    """L(N) = a · N^−b + c. `r2`: share of the variance of log(L − c) that the line explains."""

    a: float
    b: float
    c: float
    r2: float

    def __call__(self, sizes: Numbers) -> np.ndarray:
        """The loss at these sizes."""
        return self.a * np.asarray(sizes, dtype=float) ** -self.b + self.c


def fit_power_law(sizes: Numbers, losses: Numbers, *, floor: bool = False) -> PowerLaw:
    """The law that goes through the points: in logarithms, log(L − c) = log a − b log N is a line (least squares).

    floor: also find c ≥ 0, the loss that no size gets rid of. It needs four sizes or more, and points that bend in the
    log-log plot; otherwise c is 0.
    Raises ValueError for lists that do not match, numbers that are not above 0, or fewer than three sizes.
    """
    n, loss = _checked(sizes, losses, least=4 if floor else 3)
    c = _best_floor(n, loss) if floor else 0.0
    slope, intercept, residual = _line(np.log(n), np.log(loss - c))
    spread = np.log(loss - c) - np.log(loss - c).mean()
    return PowerLaw(float(np.exp(intercept)), float(-slope), c, float(1 - (residual**2).sum() / (spread**2).sum()))


@dataclass(frozen=True)
class PowerLawIntervals:
    """The law, an interval for each of its numbers, and the laws of the resamples, for a band in a plot."""

    law: PowerLaw
    a: Interval
    b: Interval
    c: Interval
    laws: tuple[PowerLaw, ...]

    def band(self, sizes: Numbers, *, confidence: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper end of the loss at these sizes."""
        curves = np.stack([law(sizes) for law in self.laws])
        low, high = np.quantile(curves, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
        return low, high


def power_law_intervals(
    sizes: Numbers, losses: Numbers, *, floor: bool = False, draws: int = 500, confidence: float = 0.95, seed: int = 0
) -> PowerLawIntervals:
    """`fit_power_law` with percentile intervals from resampled residuals (Efron 1979, Section 7).

    The points keep their sizes, and each gets the distance from the line that some point has; distances are made
    √(n / (n − fitted numbers)) larger, because a fitted line is too close to its points. The intervals speak of the
    scatter around the law and not of whether it is one: look at the points as well.
    Raises ValueError as `fit_power_law` does, and for fewer than 100 draws.
    """
    if draws < 100:
        raise ValueError(f"draws is {draws}; percentiles need at least 100")
    n, loss = _checked(sizes, losses, least=4 if floor else 3)
    law = fit_power_law(n, loss, floor=floor)
    above = law(n) - law.c
    residual = np.log(loss - law.c) - np.log(above)
    residual = residual * np.sqrt(len(n) / (len(n) - (3 if floor else 2)))
    rng = np.random.default_rng(seed)
    laws = []
    for _ in range(draws):
        again = above * np.exp(rng.choice(residual, len(n))) + law.c
        laws.append(fit_power_law(n, again, floor=floor))

    def ends(values: list[float], middle: float) -> Interval:
        low, high = np.quantile(values, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Interval(middle, float(low), float(high), len(n), float(np.std(values, ddof=1)))

    return PowerLawIntervals(
        law,
        ends([each.a for each in laws], law.a),
        ends([each.b for each in laws], law.b),
        ends([each.c for each in laws], law.c),
        tuple(laws),
    )


def tokens_for(flops: float | int, parameters: int) -> int:
    """Tokens that a model of this size can be trained on for so much compute: D = C / 6N."""
    if flops <= 0 or parameters < 1:
        raise ValueError(f"flops={flops}, parameters={parameters}: both must be above 0")
    return round(flops / (FLOPS_PER_PARAMETER_AND_TOKEN * parameters))


def best_size(sizes: Numbers, losses: Numbers) -> float:
    """The size at the bottom of a parabola through loss against log size, at equal compute (Hoffmann et al., Section
    3.2).

    Raises ValueError when the points do not curve upwards: then the best size lies outside of those that were tried.
    """
    n, loss = _checked(sizes, losses, least=3)
    square, line, _ = np.polyfit(np.log(n), loss, 2)
    bottom = float(np.exp(-line / (2 * square))) if square > 0 else float("nan")
    if not n.min() <= bottom <= n.max():
        raise ValueError(
            "the losses have no lowest point between the sizes; try smaller or larger ones at this compute"
        )
    return bottom


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Slope, intercept and residuals of least squares."""
    centred = x - x.mean()
    slope = float((centred * y).sum() / (centred**2).sum())
    intercept = float(y.mean() - slope * x.mean())
    return slope, intercept, y - (slope * x + intercept)


def _best_floor(n: np.ndarray, loss: np.ndarray) -> float:
    """The c in 0 … smallest loss whose curve is closest to the losses themselves (in logarithms)."""
    from scipy.optimize import minimize_scalar

    def error(c: float) -> float:
        slope, intercept, _ = _line(np.log(n), np.log(loss - c))
        return float(((np.log(np.exp(intercept) * n**slope + c) - np.log(loss)) ** 2).sum())

    found = minimize_scalar(error, bounds=(0.0, float(loss.min()) * 0.999), method="bounded", options={"xatol": 1e-6})
    return float(found.x) if error(float(found.x)) < error(0.0) else 0.0


def _checked(sizes: Numbers, losses: Numbers, *, least: int) -> tuple[np.ndarray, np.ndarray]:
    n, loss = np.asarray(sizes, dtype=float), np.asarray(losses, dtype=float)
    if n.ndim != 1 or n.shape != loss.shape:
        raise ValueError(f"sizes have shape {n.shape} and losses {loss.shape}; give one loss for each size")
    if not (np.isfinite(n) & np.isfinite(loss) & (n > 0) & (loss > 0)).all():
        raise ValueError("sizes and losses must be finite and above 0; leave out the runs that diverged")
    if len(np.unique(n)) < least:
        raise ValueError(f"there are {len(np.unique(n))} sizes; a law with so many numbers needs at least {least}")
    return n, loss
