"""Typical wrong answers to the exercises of lesson 08, each with the message that it should get."""

from __future__ import annotations

import numpy as np
import torch


def triangle(diagonal):
    return lambda n: torch.ones(n, n, dtype=torch.bool).tril(diagonal)


def corrupter(*, rate=0.15, hidden=0.8, random=0.9, everyone=False, target_after=False, words=None, places=None):
    def corrupt(ids, vocabulary):
        chosen = torch.rand(ids.shape, generator=places() if places else None) < rate
        fate = torch.rand(ids.shape)
        inputs = torch.where(chosen & (fate < hidden), 2, ids)
        inputs = torch.where(chosen & (fate >= random), other(ids, vocabulary), inputs)
        targets = inputs if target_after else ids
        return inputs, targets if everyone else targets.masked_fill(~chosen, -100)

    other = words or (lambda ids, vocabulary: torch.randint(3, vocabulary, ids.shape))
    return corrupt


def law(*, x=np.log, y=np.log, end=lambda slope, start: (np.exp(start), -slope)):
    def power_law(sizes, losses):
        return end(*np.polyfit(x(sizes), y(losses), 1))

    return power_law


def two_points(sizes, losses):
    b = -np.log(losses[-1] / losses[0]) / np.log(sizes[-1] / sizes[0])
    return losses[0] * sizes[0] ** b, b


def share(hits):
    return hits.float().mean()


WRONG = {
    "causal_mask": [
        ("sees the next", triangle(1), "Off by one"),
        ("not itself", triangle(-1), "does not see itself"),
        ("transposed", lambda n: torch.ones(n, n, dtype=torch.bool).triu(), "changed places"),
        ("all", lambda n: torch.ones(n, n, dtype=torch.bool), "as in BERT"),
        ("to be added", lambda n: torch.full((n, n), -torch.inf).triu(1), "added to the scores"),
    ],
    "corrupt": [
        ("all hidden", corrupter(hidden=1.0, random=2.0), "All the chosen are hidden"),
        ("none random", corrupter(random=2.0), "None is a random token"),
        ("half hidden", corrupter(hidden=0.5), "should be 80, 10 and 10"),
        ("every token asked", corrupter(everyone=True), "Every token is asked about"),
        ("80 % chosen", corrupter(rate=0.8), "with probability 0.15"),
        ("special tokens too", corrupter(words=lambda ids, v: torch.randint(v, ids.shape)), "Random tokens are 3 to"),
        ("the same places", corrupter(places=lambda: torch.Generator().manual_seed(0)), "Draw them anew"),
        ("targets afterwards", corrupter(target_after=True), "not the tokens that stood there"),
    ],
    "power_law": [
        ("not in logarithms", law(x=np.asarray, y=np.asarray), "through the numbers themselves"),
        ("sign", law(end=lambda slope, start: (np.exp(start), slope)), "sign is turned"),
        ("log of a", law(end=lambda slope, start: (start, -slope)), "That is the logarithm of a"),
        ("two points", two_points, "not two of them"),
    ],
    "metrics": [
        ("any", lambda h: (share(h), share(h.any(dim=1))), "One right digit is enough"),
        ("swapped", lambda h: (share(h.all(dim=1)), share(h)), "smooth comes first"),
        ("power", lambda h: (share(h), share(h) ** 6), "This is p\\^6"),
        ("wrong axis", lambda h: (share(h), share(h.all(dim=0))), "wrong axis"),
    ],
}
