"""What a picture should show: words and a style, and the empty condition that guidance needs."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

NO_STYLE = -1


class Condition(NamedTuple):
    """A sentence embedding and the number of a style for each picture.

    A row of zeros stands for no words, and `NO_STYLE` for no style.
    """

    text: Float[Tensor, "n dim"]
    style: Int[Tensor, " n"]

    def without(self, rows: Bool[Tensor, " n"]) -> Condition:
        """The same, but these rows ask for nothing."""
        return Condition(self.text.masked_fill(rows[:, None], 0), self.style.masked_fill(rows, NO_STYLE))

    def empty(self) -> Condition:
        """As many conditions that ask for nothing."""
        return self.without(torch.ones_like(self.style, dtype=torch.bool))

    def joined(self, other: Condition) -> Condition:
        """These conditions, then the others."""
        return Condition(torch.cat([self.text, other.text]), torch.cat([self.style, other.style]))

    def take(self, rows: Int[Tensor, " k"]) -> Condition:
        """The conditions of these rows."""
        return Condition(self.text[rows], self.style[rows])


def drop(condition: Condition, rate: float | int, *, generator: torch.Generator | None = None) -> Condition:
    """Each row asks for nothing with probability `rate` (Ho and Salimans 2022, arXiv:2207.12598, Algorithm 1, line 3).

    So one network learns the guided and the unguided distribution. Raises ValueError for a rate outside 0 … 1.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate is {rate}; give the share of conditions to drop, 0 to 1")
    chance = torch.rand(len(condition.style), generator=generator)
    return condition.without((chance < rate).to(condition.style.device))
