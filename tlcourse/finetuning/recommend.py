"""Which strategy for which problem: read off the grid of experiments that the course ran, not from rules of thumb."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from statistics import median
from typing import Any

from tlcourse.training.statistics import Interval, interval

Rows = Sequence[Mapping[str, Any]]
SIMILARITIES = ("near", "far")


@dataclass(frozen=True)
class Arm:
    """What the grid says of one way to learn at one number of labels; `accuracies` are ordered by seed."""

    strategy: str
    steps: int
    accuracies: tuple[float, ...]
    cpu_seconds: float

    @property
    def accuracy(self) -> Interval:
        """Mean balanced accuracy on the target's test part, with its 95 % interval over seeds."""
        return interval(self.accuracies)


@dataclass(frozen=True)
class Recommendation:
    """`best`: the arm with the highest mean. `as_good`: arms that cost no more than the limit and whose paired
    difference from `best` has an interval that holds 0; `cheapest` is the one of all these that costs least.

    `labels`: the number of labels per class in the grid that was nearest to the one asked for; `measured` is False
    where that lies outside what was measured, so that the answer is a guess.
    """

    best: Arm
    as_good: tuple[Arm, ...]
    labels: int
    measured: bool

    @property
    def cheapest(self) -> Arm:
        """Of `best` and those as good, the one that takes the least computing."""
        return min((self.best, *self.as_good), key=lambda arm: arm.cpu_seconds)


def recommend(
    similarity: str, labels: int, compute: float | None = None, *, grid: Rows | None = None
) -> Recommendation:
    """The strategy with the best mean accuracy within the budget, and those that cannot be told from it.

    similarity: "near" (drawings of things, as photographs show them) or "far" (woven texture): the grid's two targets.
    labels: examples per class. The grid's nearest number on a logarithmic axis is used.
    compute: most processor seconds for one training on the machine of the grid (two laptop-like cores); None: any.
    grid: rows of the recipe strategy_grid; by default those that the course ships.

    Raises KeyError for another similarity, ValueError for labels below 1 or a budget that nothing fits into.
    """
    if similarity not in SIMILARITIES:
        raise KeyError(f"similarity {similarity!r} is unknown; choose from: {', '.join(SIMILARITIES)}")
    if labels < 1:
        raise ValueError(f"labels is {labels}; give the number of labelled examples per class, 1 or more")
    rows = [
        row
        for row in (shipped_grid() if grid is None else grid)
        if row["phase"] == "grid" and row["target"] == similarity
    ]
    known = sorted({row["labels"] for row in rows})
    nearest = min(known, key=lambda k: abs(math.log(k / labels)))
    arms = arms_at(rows, nearest)
    affordable = [arm for arm in arms if compute is None or arm.cpu_seconds <= compute]
    if not affordable:
        least = min(arms, key=lambda arm: arm.cpu_seconds)
        raise ValueError(
            f"compute is {compute} processor seconds, and the cheapest way, {least.strategy}, took "
            f"{least.cpu_seconds:.1f}; raise the budget, or use a smaller network or smaller pictures"
        )
    best = max(affordable, key=lambda arm: sum(arm.accuracies))
    as_good = tuple(arm for arm in affordable if arm is not best and not told_apart(best, arm))
    return Recommendation(best, as_good, nearest, known[0] <= labels <= known[-1])


def arms_at(rows: Rows, labels: int) -> list[Arm]:
    """The arms that the rows of one target hold at this number of labels per class, in the grid's order."""
    grouped: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        if row["labels"] == labels:
            grouped.setdefault((row["strategy"], row["steps"]), []).append(row)
    return [
        Arm(
            strategy=strategy,
            steps=steps,
            accuracies=tuple(row["balanced_accuracy"] for row in runs),
            cpu_seconds=median(row["cpu_seconds"] for row in runs),
        )
        for (strategy, steps), runs in grouped.items()
    ]


def told_apart(first: Arm, second: Arm) -> bool:
    """Whether the 95 % interval of the difference, seed by seed, excludes 0."""
    return interval([a - b for a, b in zip(first.accuracies, second.accuracies, strict=True)]).excludes(0.0)


@lru_cache(maxsize=1)
def shipped_grid() -> tuple[Mapping[str, Any], ...]:
    """Rows of the recipe strategy_grid, as the course ships them."""
    table = files("tlcourse").joinpath("recipes", "results", "strategy_grid.json").read_text("utf-8")
    return tuple(json.loads(table)["rows"])
