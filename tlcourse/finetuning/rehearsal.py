"""Rehearsal: keep some old examples in the mix (Robins 1995, "Catastrophic forgetting, rehearsal and
pseudorehearsal")."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse.data import Texts


def mix(new: Texts, old: Texts, *, share: float, seed: int = 0) -> Texts:
    """All texts of `new`, and so many random ones of `old` that these are `share` of the whole.

    One network with one output for each class of both tasks learns from it: labels of `old` come after those of `new`.
    Raises ValueError unless 0 < share < 1, and `old` has that many texts.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share}; give the part of the mix that is old, between 0 and 1")
    count = round(len(new) * share / (1 - share))
    if not 1 <= count <= len(old):
        raise ValueError(
            f"share {share} of the mix means {count} old texts, and there are {len(old)}; change the share"
        )
    picks = torch.randperm(len(old), generator=torch.Generator().manual_seed(seed))[:count]
    drawn = old.take(picks)
    return Texts(
        name=f"{new.name} and {old.name}",
        texts=(*new.texts, *drawn.texts),
        labels=torch.cat([new.labels, drawn.labels + new.n_classes]),
        classes=(*new.classes, *drawn.classes),
    )


def per_task_loss(n_new: int) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy in which an example only competes with the classes of its own task; a `loss` for `training.fit`.

    The first `n_new` outputs belong to the new task, the rest to the old one. Without the split the network would also
    be taught that an old text is of none of the new classes, which nobody asked.
    """

    def loss(outputs: Float[Tensor, "n classes"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        is_new = (labels < n_new)[:, None]
        first = (torch.arange(outputs.shape[1], device=outputs.device) < n_new)[None]
        return F.cross_entropy(outputs.masked_fill(is_new != first, -torch.inf), labels)

    return loss
