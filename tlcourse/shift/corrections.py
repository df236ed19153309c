"""One false alarm in twenty tests is no alarm: p-values of many tests, corrected."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.shift.inputs import domain


def bonferroni(p_values: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """min(1, m · p): the chance of any false alarm among m tests stays at the level, however they hang together."""
    p = _checked(p_values)
    return (p * len(p)).clamp(max=1)


def holm(p_values: Float[Tensor, " m"]) -> Float[Tensor, " m"]:
    """Holm 1979: the k-th smallest is multiplied by m − k + 1, and no value may be below a smaller one's.

    The same guarantee as Bonferroni's, and it never finds less.
    """
    p = _checked(p_values)
    ordered, order = p.sort()
    factors = torch.arange(len(p), 0, -1, dtype=p.dtype)
    corrected = (ordered * factors).clamp(max=1).cummax(dim=0).values
    return torch.empty_like(p).scatter(0, order, corrected)


def _checked(p_values: Tensor) -> Tensor:
    """As float64. Raises ValueError for anything but numbers from 0 to 1."""
    if p_values.ndim != 1 or len(p_values) == 0:
        raise ValueError(f"p_values have shape {tuple(p_values.shape)}; give one for each test, at least one")
    p = domain(p_values[None], "p_values", least=1)[0]
    if (p < 0).any() or (p > 1).any():
        raise ValueError(f"p_values run from {float(p.min()):g} to {float(p.max()):g}; they must be 0 to 1")
    return p
