"""What a sequence of tasks left behind, from one matrix (Lopez-Paz and Ranzato 2017, arXiv:1706.08840).

R[i, j] is the accuracy on task j after training on tasks 0 … i.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def average_accuracy(matrix: Float[Tensor, "tasks tasks"]) -> float:
    """Mean accuracy on all tasks at the end: 1/T Σ_j R[T−1, j] (Eq. 2)."""
    return float(_checked(matrix)[-1].mean())


def average_forgetting(matrix: Float[Tensor, "tasks tasks"]) -> float:
    """How much worse than at its best each task but the last has become: 1/(T−1) Σ_j max_{i<T−1} R[i, j] − R[T−1, j]
    (Chaudhry, Dokania, Ajanthan and Torr 2018, arXiv:1801.10112, Eqs. 3 and 4).

    The best is looked for among the moments from task j's own training on.
    """
    r = _checked(matrix)
    return float(torch.stack([r[j:-1, j].max() - r[-1, j] for j in range(len(r) - 1)]).mean())


def backward_transfer(matrix: Float[Tensor, "tasks tasks"]) -> float:
    """1/(T−1) Σ_j R[T−1, j] − R[j, j] (Eq. 3): below 0 when later tasks hurt the earlier ones, above when they help."""
    r = _checked(matrix)
    return float((r[-1] - r.diagonal())[:-1].mean())


def forward_transfer(matrix: Float[Tensor, "tasks tasks"], start: Float[Tensor, " tasks"]) -> float:
    """1/(T−1) Σ_{j>0} R[j−1, j] − b_j (Eq. 4): what earlier tasks are worth for one that has not been trained yet.

    `start`: b, the accuracy of the network before any training. Where new classes come with a task it cannot be
    predicted beforehand, and this number says nothing. Raises ValueError for counts that differ.
    """
    r = _checked(matrix)
    if start.shape != (len(r),):
        raise ValueError(f"start has shape {tuple(start.shape)}; give one accuracy for each of the {len(r)} tasks")
    return float((r.diagonal(offset=1) - start.detach().cpu().double()[1:]).mean())


def _checked(matrix: Tensor) -> Tensor:
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or len(matrix) < 2:
        raise ValueError(f"matrix has shape {tuple(matrix.shape)}; expected (tasks, tasks), two tasks or more")
    return matrix.detach().cpu().double()
