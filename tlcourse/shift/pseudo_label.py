"""Self-training: believe the sure guesses, learn from them, guess again (Lee 2013, "Pseudo-label: the simple and
efficient semi-supervised learning method"; class by class as Zou, Yu, Kumar and Wang 2018, arXiv:1810.07911)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor

from tlcourse import training
from tlcourse.shift.inputs import domains, whole_numbers


def surest(probabilities: Float[Tensor, "n classes"], share: float) -> Bool[Tensor, " n"]:
    """Of the rows guessed as each class, the `share` with the highest probability, at least one.

    The surest of the whole would mostly be of the easiest class, and push out the others.
    Raises ValueError unless 0 < share ≤ 1.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share is {share}; give the part of each class to believe, above 0 and at most 1")
    confidence, guesses = probabilities.max(dim=1)
    kept = torch.zeros_like(guesses, dtype=torch.bool)
    for c in guesses.unique():
        rows = (guesses == c).nonzero().flatten()
        order = confidence[rows].argsort(descending=True, stable=True)
        kept[rows[order[: max(1, round(share * len(rows)))]]] = True
    return kept


@dataclass(frozen=True, eq=False)
class SelfTraining:
    """The last `probe`; its guesses `labels` of the target, and which of them were believed (`kept`)."""

    probe: training.Probe
    labels: Int64[Tensor, " m"]
    kept: Bool[Tensor, " m"]


def self_train(
    source: Float[Tensor, "n dim"],
    labels: Int[Tensor, " n"],
    target: Float[Tensor, "m dim"],
    *,
    rounds: int = 5,
    l2: float = 1.0,
    scaling: str = "each",
) -> SelfTraining:
    """Linear probes on the source and the believed part of the target, which grows round by round to all of it.

    In round k of r the k/r surest guesses of each class are believed. Wrong guesses are learned as well as right ones,
    so that this sharpens what the first probe already thinks, for better or worse.
    Raises ValueError for domains of different widths, or fewer than one round.
    """
    x, t = domains(source, target)
    y = whole_numbers(labels, len(x), "labels")
    if rounds < 1:
        raise ValueError(f"rounds is {rounds}; give 1 or more")
    probe = training.probe(x, y, l2=l2, scaling=scaling)
    kept = torch.zeros(len(t), dtype=torch.bool)
    for round_ in range(1, rounds + 1):
        guesses = probe.predict(t)
        kept = surest(probe.scores(t).softmax(dim=1), round_ / rounds)
        both = torch.cat([x, t[kept]]), torch.cat([y, guesses[kept]])
        probe = training.probe(*both, l2=l2, scaling=scaling)
    return SelfTraining(probe, probe.predict(t), kept)
