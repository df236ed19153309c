"""Learning and measuring with importance weights, and how much of the sample they leave (Shimodaira 2000, Journal of
Statistical Planning and Inference 90; Kish 1965)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse import training
from tlcourse.shift.inputs import whole_numbers


def effective_sample_size(weights: Float[Tensor, " n"]) -> float:
    """(Σ w)² / Σ w²: so many rows of equal weight know a mean as well (Kish). n if all are equal, 1 if one rules.

    Raises ValueError for weights below 0, not finite, or all 0.
    """
    w = _checked(weights)
    return float(w.sum() ** 2 / w.square().sum())


def flatten(weights: Float[Tensor, " n"], power: float) -> Float[Tensor, " n"]:
    """w^power with mean 1 (Shimodaira): 1 keeps the weights, 0 gives all rows the same.

    In between is some bias for much less variance. Raises ValueError unless 0 ≤ power ≤ 1.
    """
    if not 0 <= power <= 1:
        raise ValueError(f"power is {power}; give 0 (no weights) to 1 (the weights as they are)")
    w = _checked(weights) ** power
    return w / w.mean()


def clip(weights: Float[Tensor, " n"], largest: float) -> Float[Tensor, " n"]:
    """min(w, largest), w having mean 1 before. Raises ValueError unless largest > 0."""
    if not largest > 0:
        raise ValueError(f"largest is {largest}; weights have mean 1, so give a number above 0, for example 10")
    w = _checked(weights)
    return (w / w.mean()).clamp(max=largest)


def weighted_probe(
    features: Float[Tensor, "n dim"],
    labels: Int[Tensor, " n"],
    weights: Float[Tensor, " n"],
    *,
    l2: float = 1.0,
    scaling: str = "each",
) -> training.Probe:
    """A linear probe that minimises the weighted loss; weights are brought to mean 1, and rows of weight 0 left out.

    Raises ValueError for weights that do not fit, or that leave a class without a row.
    """
    y, w = whole_numbers(labels, len(features), "labels"), _checked(weights, len(features))
    w = w / w.mean()
    kept = w > 1e-8
    lost = sorted(set(y.tolist()) - set(y[kept].tolist()))
    if lost:
        raise ValueError(
            f"the weights are 0 for every row of class {lost[0]}; the target may lack it: flatten the weights, or give "
            "rows like those of the target"
        )
    return training.probe(features[kept], y[kept], l2=l2, weights=w[kept], scaling=scaling)


def weighted_accuracy(predictions: Int[Tensor, " n"], labels: Int[Tensor, " n"], weights: Float[Tensor, " n"]) -> float:
    """Accuracy that the target would show, from source rows with labels: Σ w · [right] / Σ w (Sugiyama, Krauledat and
    Müller 2007, JMLR 8, for choosing models; divided by Σ w instead of n, so that it stays in 0 … 1).

    True under covariate shift with the true weights. As noisy as `effective_sample_size` rows make it.
    Raises ValueError for counts that differ, or bad weights.
    """
    guesses, truths = (whole_numbers(v, len(weights), n) for v, n in ((predictions, "predictions"), (labels, "labels")))
    w = _checked(weights)
    return float((w * (guesses == truths)).sum() / w.sum())


def _checked(weights: Tensor, n: int | None = None) -> Tensor:
    """As float64 on the CPU."""
    w = weights.detach().cpu().double()
    if w.ndim != 1 or len(w) != (n or len(w)):
        raise ValueError(f"weights have shape {tuple(w.shape)}; give one for each of the {n or 'n'} rows")
    if not torch.isfinite(w).all() or (w < 0).any() or not (w > 0).any():
        raise ValueError("weights must be finite, 0 or more, and not all 0; look for a density ratio that overflowed")
    return w
