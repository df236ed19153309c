"""Early stopping when labels are few (Prechelt 1998, "Early stopping - but when?", has the rule for one split).

A validation set of a fifth of 35 labels is 7 pictures: its loss is mostly luck, and the 7 are missing from the
training. Cross-validation uses every label for both: each fold in turn is held out, the validation losses are averaged
step by step, and the best number of steps then serves for one training on all labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from tlcourse import training


@dataclass(frozen=True)
class StepChoice:
    """`steps`: the number of steps with the lowest mean validation loss; `losses`: that loss (nats) by steps."""

    steps: int
    losses: dict[int, float]


def choose_steps(
    make_model: Callable[[int], nn.Module],
    dataset: Any,
    fit: Callable[..., training.History],
    *,
    most: int,
    folds: int = 4,
    seed: int = 0,
) -> StepChoice:
    """Number of steps by cross-validation over `folds` folds, each with its share of every class.

    `make_model(seed)` gives a fresh model; `fit(model, train, steps=…, validation=…, seed=…)` trains it, and must keep
    its learning rate constant after a warm-up: with a schedule that ends at 0, stopping early is another schedule.
    Raises ValueError for fewer than two folds, a class with fewer examples than folds, or a fit without validation.
    """
    fold = _folds(dataset.labels, folds, seed)
    curves = []
    for number in range(folds):
        train, held_out = dataset.where(fold != number), dataset.where(fold == number)
        history = fit(make_model(seed), train, steps=most, validation=held_out, seed=seed)
        curves.append({s: r.loss for s, r in zip(history.validation_steps, history.validation, strict=True)})
    common = sorted(set.intersection(*(set(curve) for curve in curves)))
    if not common:
        raise ValueError("the folds have no step in common; fit must hand validation= on to training.fit, and not stop")
    losses = {step: sum(curve[step] for curve in curves) / folds for step in common}
    return StepChoice(steps=min(losses, key=lambda step: losses[step]), losses=losses)


def _folds(labels: torch.Tensor, folds: int, seed: int) -> torch.Tensor:
    """The fold of each example; the folds take turns within each class, and go on with the next where one ends."""
    fewest = int(torch.bincount(labels)[labels.unique()].min())
    if not 2 <= folds <= fewest:
        raise ValueError(f"folds is {folds}; give 2 or more, and at most {fewest}, the size of the smallest class")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    by_class = order[labels[order].argsort(stable=True)]
    fold = torch.empty(len(labels), dtype=torch.int64)
    fold[by_class] = torch.arange(len(labels)) % folds
    return fold
