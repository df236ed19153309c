"""Catastrophic forgetting (McCloskey and Cohen 1989): what a network no longer does once it learned something else."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Int
from torch import Tensor

from tlcourse.training.evaluation import accuracy, balanced_accuracy


@dataclass(frozen=True)
class Forgetting:
    """Balanced accuracy on the old task `before` and `after`; `forgotten` and `gained`: shares of its examples.

    `lost` is before − after. `forgotten` were right before and are wrong now, `gained` the other way round. Two
    examples that change places cancel out in `lost`; `forgotten` counts them (Toneva et al. 2019, arXiv:1812.05159).
    """

    before: float
    after: float
    forgotten: float
    gained: float

    @property
    def lost(self) -> float:
        """before − after: positive when the network has become worse at the old task."""
        return self.before - self.after


def forgetting(
    before: Int[Tensor, " n"], after: Int[Tensor, " n"], labels: Int[Tensor, " n"], *, balanced: bool = True
) -> Forgetting:
    """Compare predictions on the OLD task's test set, made before and after the network learned a new task.

    `balanced`: mean recall of the classes instead of the share of right predictions. Then, with classes of
    unequal size, `lost` can exceed `forgotten`, which counts examples.
    Raises ValueError when the three do not have the same length, or are empty.
    """
    if not len(before) == len(after) == len(labels) or len(labels) == 0:
        raise ValueError(
            f"{len(before)} predictions before, {len(after)} after and {len(labels)} labels; give all three for the "
            "same examples of the old task"
        )
    score = balanced_accuracy if balanced else accuracy
    right_before, right_after = before == labels, after == labels
    return Forgetting(
        before=score(before, labels),
        after=score(after, labels),
        forgotten=float((right_before & ~right_after).double().mean()),
        gained=float((~right_before & right_after).double().mean()),
    )
