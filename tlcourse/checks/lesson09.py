"""Checks of lesson 09: the contrastive loss, names as a classifier, several prompts for a class, and recall at k."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, number, tensor

Answer = Callable[..., Any]


@check
def info_nce(answer: Answer) -> None:
    """asks in both directions, by cosines times the scale, and takes the mean"""
    n, scale = int(torch.randint(5, 9, ())), float(torch.rand(())) * 4 + 3
    target = torch.arange(n)

    def loss(logits: torch.Tensor) -> float:
        return float(F.cross_entropy(logits, target))

    forward = backward = 0.0
    while abs(forward - backward) < 0.05:  # else one direction alone could not be told from both
        texts = torch.randn(n, 6) * (torch.rand(n, 1) * 3 + 0.5)
        pictures = texts + 2 * torch.randn(n, 6)
        cosines = F.normalize(pictures, dim=1) @ F.normalize(texts, dim=1).T
        forward, backward = loss(scale * cosines), loss(scale * cosines.T)
    tried = f"info_nce(pictures, texts, {scale:.2f}) for {n} pairs"
    found = number(answer(pictures, texts, scale), tried=tried)
    raw = scale * pictures @ texts.T
    turned = "You divide by the scale. It is the inverse of the temperature: multiply by it."
    length = "The rows have their own lengths. Bring each picture and each text to length 1 first, with F.normalize."
    cases = (
        (forward, "You only ask which text belongs to each picture. Ask the other way round too, along the columns."),
        (backward, "You only ask which picture belongs to each text. Ask the other way round too, along the rows."),
        (forward + backward, "That is the sum of both directions. Take their mean."),
        ((loss(raw) + loss(raw.T)) / 2, length),
        ((loss(cosines / scale) + loss(cosines.T / scale)) / 2, turned),
        ((loss(cosines) + loss(cosines.T)) / 2, "The scale is not used. Multiply the cosines by it."),
        (
            n * (forward + backward) / 2,
            "That is the sum over the pairs. Take the mean: F.cross_entropy does it already.",
        ),
    )
    right = (forward + backward) / 2
    rule = "The mean of the two cross-entropies, with i right for row i."
    close(found, right, tried=tried, misconception=rule, known=cases)


@check
def zero_shot(answer: Answer) -> None:
    """the name with the largest cosine, however long the vectors are"""
    n, classes = int(torch.randint(200, 300, ())), int(torch.randint(5, 9, ()))
    directions = torch.linalg.qr(torch.randn(12, classes))[0].T  # at right angles, and not along the axes
    names = directions * (torch.arange(classes)[:, None] * 2.0 + 0.2)
    label = torch.randint(classes, (n,))
    pictures = (directions[label] + 0.25 * torch.randn(n, 12)) * (torch.rand(n, 1) * 4 + 0.5)
    tried = f"zero_shot(pictures, names) for {n} pictures and {classes} names"
    scores = F.normalize(pictures, dim=1) @ F.normalize(names, dim=1).T
    right = scores.argmax(dim=1)
    given = answer(pictures, names)
    expect(
        not (isinstance(given, torch.Tensor) and given.shape == (n, classes)),
        tried=tried,
        got="scores of every name",
        misconception="Return the number of the best name for each picture: argmax along each row.",
    )
    axis = "One number for each picture: look along the names, dim=1, and not along the pictures."
    found = tensor(given, (n,), tried=tried, misconception=axis).long()
    cases = (
        ((pictures @ names.T).argmax(dim=1), "Long names win by their length. Bring every name to length 1."),
        (
            (pictures @ F.normalize(names, dim=0).T).argmax(dim=1),
            "You have normalised the columns, dim=0. Each name is a row: dim=1.",
        ),
        (scores.argmin(dim=1), "This is the least similar name. Take the largest cosine."),
        (
            torch.cdist(pictures, names).argmin(dim=1),
            "This is the nearest name by distance, which depends on lengths. Compare by cosine.",
        ),
    )
    for wrong, reason in cases:
        differ = not wrong.equal(right)
        expect(not (differ and found.equal(wrong)), tried=tried, got="another name for some", misconception=reason)
    got = f"another name for {int((found != right).sum())} of {n} pictures"
    expect(found.equal(right), tried=tried, got=got, misconception="Take the name with the largest cosine.")


@check
def class_direction(answer: Answer) -> None:
    """each prompt to length 1, their mean, and the mean to length 1"""
    count = int(torch.randint(3, 7, ()))
    prompts = torch.randn(count, 8) * (torch.arange(count)[:, None] * 2.0 + 0.3)
    kept = prompts.clone()
    tried = f"class_direction(prompts) for {count} prompts of different lengths"
    shape = "One vector for the class: take the mean over the prompts, dim=0."
    found = tensor(answer(prompts), (8,), tried=tried, misconception=shape)
    expect(prompts.equal(kept), tried=tried, got="prompts has changed", misconception="You write into prompts.")
    unit = F.normalize(kept, dim=1)
    first = "The mean is taken before each prompt has length 1, so that long prompts count more. Do it first."
    last = "The mean is shorter than 1, and shorter for prompts that differ. Bring it to length 1 as well."
    cases = (
        (F.normalize(kept.mean(dim=0), dim=0), first),
        (unit.mean(dim=0), last),
        (unit.sum(dim=0), last),
        (kept.mean(dim=0), "Nothing has length 1: neither the prompts before the mean, nor the mean after it."),
        (
            F.normalize(F.normalize(kept, dim=0).mean(dim=0), dim=0),
            "You have normalised the columns, dim=0. Each prompt is a row: dim=1.",
        ),
    )
    right = F.normalize(unit.mean(dim=0), dim=0)
    close(found, right, tried=tried, misconception="Length 1, mean, length 1.", known=cases)


@check
def recall_at_k(answer: Answer) -> None:
    """the share of queries whose own item is among the k most similar"""
    n, k = 40, int(torch.randint(3, 6, ()))
    similarity = torch.randn(n, n) + 0.4 * torch.randn(1, n) + 1.2 * torch.eye(n)
    tried = f"recall_at_k(similarity, {k}) for {n} queries"
    outcomes = [0.0]
    while len({round(each, 4) for each in outcomes}) < 7:  # each misunderstanding has an outcome of its own
        similarity = similarity + 0.3 * torch.randn(n, n)
        right, other = _recall(similarity, k), _recall(similarity.T, k)
        outcomes = [0.0, right, right / k, other, *(_recall(similarity, each) for each in (1, k - 1, k + 1))]
    found = number(answer(similarity, k), tried=tried)
    cases = (
        (n * right, "That is how many queries have it. Divide by their number."),
        (100 * right, "That is in percent. Return a share from 0 to 1."),
        (right / k, "That is a share of all the k answers. A query counts once: any(dim=1), then the mean."),
        (_recall(similarity, 1), "You only look at the first item. The right one may be among the first k."),
        (other, "You look along the columns, which asks the other way round. Row i is query i: dim=1."),
        (_recall(similarity, k - 1), "Off by one: you count the first k − 1."),
        (_recall(similarity, k + 1), "Off by one: you count the first k + 1."),
        (_recall(-similarity, k), "You take the k least similar. Take the largest."),
    )
    close(found, right, tried=tried, misconception="Item i is the right one for query i.", known=cases)


def _recall(similarity: torch.Tensor, k: int) -> float:
    best = similarity.topk(k, dim=1).indices
    return float((best == torch.arange(len(similarity))[:, None]).any(dim=1).double().mean())
