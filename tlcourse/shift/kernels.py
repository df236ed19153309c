"""Gaussian kernels: how alike two examples are, from 1 (the same) to 0 (nothing in common)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def squared_distances(x: Float[Tensor, "n dim"], y: Float[Tensor, "m dim"]) -> Float[Tensor, "n m"]:
    """‖x_i − y_j‖² by one matrix product; rounding cannot make it negative."""
    return (x.square().sum(dim=1)[:, None] + y.square().sum(dim=1) - 2 * x @ y.T).clamp(min=0)


def gaussian_kernel(
    x: Float[Tensor, "n dim"], y: Float[Tensor, "m dim"], bandwidth: float | Float[Tensor, ""]
) -> Float[Tensor, "n m"]:
    """exp(−‖x_i − y_j‖² / (2 bandwidth²))."""
    return torch.exp(-squared_distances(x, y) / (2 * bandwidth**2))


def median_bandwidth(x: Float[Tensor, "n dim"]) -> float:
    """The median distance between two different rows (Gretton et al. 2012, JMLR 13, Section 8); at most 1,000 rows.

    Raises ValueError when more than half of the distances are 0.
    """
    rows = x.detach()[:: -(-len(x) // 1000)]
    upper = torch.ones(len(rows), len(rows), dtype=torch.bool, device=rows.device).triu(1)
    median = float(squared_distances(rows, rows)[upper].median().sqrt())
    if not median > 0:
        raise ValueError("most rows are copies of each other, so no bandwidth fits; give bandwidth=, or other features")
    return median
