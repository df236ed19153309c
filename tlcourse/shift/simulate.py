"""Shifts whose truth is known, made by deciding who of one pool of examples goes to which of two domains.

The names follow Moreno-Torres, Raeder, Alaiz-Rodríguez, Chawla and Herrera 2012, "A unifying view on dataset shift in
classification". No row is in both domains, and none is there twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from tlcourse.shift.inputs import shares, whole_numbers


@dataclass(frozen=True, eq=False)
class Shifted:
    """`source`, `target`: rows of the pool; the labels of both, the target's by the target's own rule; `weights`: the
    true p_T / p_S of each source row (1 where only the rule changed), and `target_weights` that of each target row."""

    kind: str
    source: Int64[Tensor, " source"]
    target: Int64[Tensor, " target"]
    source_labels: Int64[Tensor, " source"]
    target_labels: Int64[Tensor, " target"]
    weights: Float[Tensor, " source"]
    target_weights: Float[Tensor, " target"]


def covariate_shift(
    score: Float[Tensor, " n"], labels: Int[Tensor, " n"], *, strength: float, seed: int = 0
) -> Shifted:
    """p(x) differs, p(y | x) does not: who has a high score tends to be seen in the target.

    `score` is any function of x, such as a column; it is standardised to z here. Each row goes to the target with
    probability σ(strength · z), to the source otherwise, whatever its label. So p_T(x) / p_S(x) = exp(strength · z) ·
    P(source) / P(target). strength 0: no shift.
    Raises ValueError for a score that never varies, or when one domain stays empty.
    """
    y, z = _checked(score, labels)
    generator = torch.Generator().manual_seed(seed)
    chance = torch.sigmoid(strength * z)
    to_target = torch.rand(len(z), generator=generator, dtype=torch.float64) < chance
    if to_target.all() or not to_target.any():
        raise ValueError(f"strength {strength} leaves one domain empty; take a weaker one, or more rows")
    weights = torch.exp(strength * z) * (1 - chance).mean() / chance.mean()
    return _shifted("covariate", to_target, y, y, weights)


def prior_shift(labels: Int[Tensor, " n"], *, priors: Sequence[float] | Tensor, seed: int = 0) -> Shifted:
    """p(y) differs, p(x | y) does not: a random half of the pool, and of the other half as many rows of each class as
    make the shares `priors`; rows are left out, never repeated. The ratio of a row is that of its class.

    Raises ValueError for shares that are not above 0, do not add up to 1, or need a class that the pool lacks.
    """
    y = whole_numbers(labels, len(labels), "labels")
    wanted = shares(torch.as_tensor(priors), "priors")
    if len(y) == 0 or len(wanted) != int(y.max()) + 1:
        raise ValueError(f"priors are {len(wanted)} shares; give one for each class of labels, in the order of numbers")
    to_target = _half(y, seed)
    there = torch.bincount(y[to_target], minlength=len(wanted))
    counts = (wanted * (there / wanted).min()).round().long().clamp(max=there)
    if (counts == 0).any():
        short = int(counts.argmin())
        raise ValueError(f"class {short} has too few rows for a share of {float(wanted[short]):g}; give more rows")
    order = to_target.nonzero().flatten()  # already in random order within a class
    order = order[torch.randperm(len(order), generator=torch.Generator().manual_seed(seed + 1))]
    target = torch.cat([order[y[order] == c][:k] for c, k in enumerate(counts.tolist())]).sort().values
    source = (~to_target).nonzero().flatten()
    ratio = (counts / counts.sum()) / (torch.bincount(y[source], minlength=len(wanted)) / len(source))
    return Shifted("prior", source, target, y[source], y[target], ratio.double()[y[source]], ratio.double()[y[target]])


def concept_shift(
    score: Float[Tensor, " n"], labels: Int[Tensor, " n"], *, share: float, n_classes: int, seed: int = 0
) -> Shifted:
    """p(y | x) differs, p(x) does not: the pool is halved at random, and in the target the `share` of rows with the
    highest score gets the next class (the last class the first). share 0: no shift.

    Raises ValueError for a share outside 0 … 1.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; give the part of the target whose rule changes, 0 to 1")
    y, z = _checked(score, labels)
    count = len(z) if share == 1 else math.ceil(share * (len(z) - 1))  # as many as lie above the quantile 1 - share
    changed = torch.zeros(len(z), dtype=torch.bool)
    changed[z.argsort(descending=True, stable=True)[:count]] = True
    return _shifted("concept", _half(y, seed), y, torch.where(changed, (y + 1) % n_classes, y), torch.ones_like(z))


def _checked(score: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    if score.ndim != 1 or len(score) < 4 or not torch.isfinite(score).all():
        raise ValueError(f"score has shape {tuple(score.shape)}; give one finite number a row, four rows or more")
    values = score.detach().cpu().double()
    spread = values.std(correction=0)
    if not spread > 0:
        raise ValueError("score is the same for every row; choose a function of x that varies")
    return whole_numbers(labels, len(score), "labels"), (values - values.mean()) / spread


def _half(labels: Tensor, seed: int) -> Tensor:
    """A random half, with half of each class."""
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = order[labels[order].argsort(stable=True)]
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    chosen[by_class[::2]] = True
    return chosen


def _shifted(kind: str, to_target: Tensor, old: Tensor, new: Tensor, weights: Tensor) -> Shifted:
    source, target = (~to_target).nonzero().flatten(), to_target.nonzero().flatten()
    return Shifted(kind, source, target, old[source], new[target], weights[source], weights[target])
