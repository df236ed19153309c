"""Zero-shot classification: the names of the classes are the classifier (Radford et al. 2021, arXiv:2103.00020,
Section 3.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from tlcourse.foundation.contrastive import ranks

Embed = Callable[[Sequence[str]], Tensor]
"""embed(texts) is their place in the common space, one row a text."""


def prompts(name: str, templates: Sequence[str]) -> list[str]:
    """The name in each template: "a drawing of {}" makes "a drawing of a cat" of "a cat".

    Raises ValueError for an empty name, no templates, and a template without {}.
    """
    if not name.strip() or not templates or isinstance(templates, str):
        raise ValueError(f"name={name!r}, templates={templates!r}: give a name, and a list of at least one template")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"template {template!r} has no place for the name; write {{}} where it goes")
    return [template.replace("{}", name) for template in templates]


@torch.no_grad()
def zero_shot_weights(
    names: Sequence[str], embed: Embed, *, templates: Sequence[str] = ("{}",)
) -> Float[Tensor, "classes dim"]:
    """One direction for each class: the mean of its prompts' directions, brought back to length 1 (Section 3.1.4).

    Every prompt is brought to length 1 before the mean, so that none counts more than another; and the mean after it,
    or classes whose prompts agree would win too often.
    """
    texts = [text for name in names for text in prompts(name, templates)]
    directions = F.normalize(embed(texts), dim=1).unflatten(0, (len(names), len(templates)))
    return F.normalize(directions.mean(dim=1), dim=1)


def zero_shot_scores(
    pictures: Float[Tensor, "n dim"],
    weights: Float[Tensor, "classes dim"],
    *,
    scale: Float[Tensor, ""] | float | int = 1.0,
) -> Float[Tensor, "n classes"]:
    """Cosine of each picture with each class, times `scale`: with the learned one these are logits.

    Raises ValueError when the two are not of one space.
    """
    if pictures.shape[1] != weights.shape[1]:
        raise ValueError(f"pictures are {pictures.shape[1]} wide and classes {weights.shape[1]}; project both first")
    return scale * F.normalize(pictures, dim=1) @ F.normalize(weights, dim=1).T


def top_k(scores: Float[Tensor, "n classes"], labels: Int64[Tensor, " n"], k: int = 1) -> float:
    """Share of pictures whose class is among the k with the highest scores; of equals the right one comes last.

    Raises ValueError for a k that is not 1 … classes.
    """
    if not 1 <= k <= scores.shape[1]:
        raise ValueError(f"k is {k}; give 1 to {scores.shape[1]}, the number of classes")
    return float((ranks(scores, labels) <= k).double().mean())


def crossing(zero_shot: float, shots: Sequence[int], few_shot: Sequence[float]) -> float | None:
    """How many labels a class are worth as much as the names alone: where few-shot accuracy reaches zero-shot's.

    Between two numbers of shots the accuracy is taken as a line in log shots. The first number, when that is as good
    already; None, when none is. Raises ValueError for lists that do not match, or shots that do not rise.
    """
    if len(shots) != len(few_shot) or not shots or min(shots) < 1 or sorted(set(shots)) != list(shots):
        raise ValueError(f"shots={shots}, few_shot={few_shot}: give rising numbers of shots, and an accuracy for each")
    if few_shot[0] >= zero_shot:
        return float(shots[0])
    for i in range(1, len(shots)):
        if few_shot[i] >= zero_shot:
            part = (zero_shot - few_shot[i - 1]) / (few_shot[i] - few_shot[i - 1])
            return float(shots[i - 1] * (shots[i] / shots[i - 1]) ** part)
    return None
