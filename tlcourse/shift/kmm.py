"""Kernel mean matching (Huang, Smola, Gretton, Borgwardt and Schölkopf 2006, NeurIPS, "Correcting sample selection bias
by unlabeled data")."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.shift.inputs import domains
from tlcourse.shift.kernels import gaussian_kernel, median_bandwidth


def kmm(
    source: Float[Tensor, "n dim"],
    target: Float[Tensor, "m dim"],
    *,
    largest: float = 10.0,
    bandwidth: float | None = None,
    ridge: float = 1e-3,
    steps: int = 2000,
) -> Float[Tensor, " n"]:
    """Weights of the source rows, such that their weighted mean in the kernel's space is that of the target.

    min ½ βᵀKβ − κᵀβ with κ_i = n/m · Σ_j k(x_i, y_j), 0 ≤ β ≤ `largest` and |mean β − 1| ≤ (√n − 1)/√n: the authors'
    quadratic program, with their choice of the slack. It never estimates a density, so it gives weights at these rows
    only, and 0 is one of them. `ridge` · I is added to K, which is otherwise nearly singular. Projected gradients with
    Nesterov's momentum.
    Raises ValueError for domains of different widths, or limits that leave no room.
    """
    x, y = domains(source, target)
    if largest < 1 or not ridge >= 0:
        raise ValueError(
            f"largest is {largest} and ridge {ridge}; the mean weight is 1, so give largest ≥ 1, ridge ≥ 0"
        )
    n = len(x)
    sigma = bandwidth or median_bandwidth(torch.cat([x, y]))
    kernel = gaussian_kernel(x, x, sigma) + ridge * torch.eye(n, dtype=x.dtype)
    kappa = gaussian_kernel(x, y, sigma).mean(dim=1) * n
    rate = 1 / float(torch.linalg.matrix_norm(kernel, ord=2))
    slack = (math.sqrt(n) - 1) / math.sqrt(n)
    beta = ahead = torch.ones_like(kappa)
    for step in range(steps):
        before = beta
        beta = _project(ahead - rate * (kernel @ ahead - kappa), largest, slack)
        ahead = beta + step / (step + 3) * (beta - before)
        if (beta - before).abs().max() < 1e-7:
            break
    return beta


def _project(beta: Tensor, largest: float, slack: float) -> Tensor:
    """The nearest weights in 0 … largest whose mean is within `slack` of 1: all move by one number, by halving."""
    inside = beta.clamp(0, largest)
    mean = inside.mean().clamp(1 - slack, 1 + slack)
    if mean == inside.mean():
        return inside
    low, high = float(-beta.max()), float(largest - beta.min())
    for _ in range(60):
        middle = (low + high) / 2
        if (beta + middle).clamp(0, largest).mean() < mean:
            low = middle
        else:
            high = middle
    return (beta + high).clamp(0, largest)
