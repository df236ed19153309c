"""Does source data help? The same target labels, with and without it (Rosenstein et al. 2005; Wang et al. 2019,
arXiv:1811.09751, Definition 1: the transfer gap)."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from tlcourse import training

PROBE_L2 = 10.0


def pooled_accuracy(
    source: tuple[Float[Tensor, "n1 dim"], Int[Tensor, " n1"]],
    target: tuple[Float[Tensor, "n2 dim"], Int[Tensor, " n2"]],
    test: tuple[Float[Tensor, "n3 dim"], Int[Tensor, " n3"]],
    *,
    source_weight: float = 1.0,
) -> float:
    """Balanced accuracy on `test` of one classifier trained on source and target together.

    Each part is (features, labels). `source_weight` is what one source example counts when a target example counts 1;
    with 0 the source is left out, which is the control.

    Raises ValueError for a negative weight.
    """
    if source_weight < 0:
        raise ValueError(f"source_weight is {source_weight}; give 0 (leave the source out) or more")
    if source_weight == 0.0:
        fitted = training.probe(*target, l2=PROBE_L2)
    else:
        weights = torch.cat([torch.full((len(source[1]),), source_weight), torch.ones(len(target[1]))])
        features, labels = (torch.cat([s, t]) for s, t in zip(source, target, strict=True))
        fitted = training.probe(features, labels, l2=PROBE_L2, weights=weights)
    return fitted.balanced_accuracy(*test)


def transfer_gain(with_source: Sequence[float], alone: Sequence[float]) -> training.Interval:
    """Mean gain of the source, run by run, with its 95 % interval; negative transfer is an interval below zero.

    The two lists are paired: run i of both used the same target labels.
    """
    if len(with_source) != len(alone):
        raise ValueError(f"{len(with_source)} runs with the source and {len(alone)} without; pair them run by run")
    return training.interval([a - b for a, b in zip(with_source, alone, strict=True)])
