"""Full batches without an end: two domains of other sizes are walked through side by side."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def endless(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of `size` of n examples, a new permutation each time round; the rest of a round is left out.

    A batch of one example has no covariance, and no statistics for BatchNorm. Fewer than `size` examples come whole.
    """
    while True:
        order = torch.randperm(n, generator=generator)
        yield from order.split(size)[: max(1, n // size)]
