"""Typical wrong answers to the exercises of lesson 09, each with the message that it should get."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def unit(rows):
    return F.normalize(rows, dim=1)


def loss(*, forward=1.0, backward=1.0, share=0.5, length=unit, scaled=lambda cosines, scale: scale * cosines):
    def info_nce(pictures, texts, scale):
        logits = scaled(length(pictures) @ length(texts).T, scale)
        target = torch.arange(len(logits))
        there, back = F.cross_entropy(logits, target), F.cross_entropy(logits.T, target)
        return share * (forward * there + backward * back)

    return info_nce


def recall(*, change=lambda s: s, count=lambda k: k, end=lambda hit, k: hit.any(dim=1).float().mean()):
    def recall_at_k(similarity, k):
        best = change(similarity).topk(count(k), dim=1).indices
        return end(best == torch.arange(len(similarity))[:, None], k)

    return recall_at_k


WRONG = {
    "info_nce": [
        ("pictures only", loss(backward=0.0, share=1.0), "only ask which text"),
        ("texts only", loss(forward=0.0, share=1.0), "only ask which picture"),
        ("sum of both", loss(share=1.0), "sum of both directions"),
        ("not normalised", loss(length=lambda rows: rows), "have their own lengths"),
        ("divided", loss(scaled=lambda cosines, scale: cosines / scale), "You divide by the scale"),
        ("no scale", loss(scaled=lambda cosines, scale: cosines), "The scale is not used"),
    ],
    "zero_shot": [
        ("not normalised", lambda p, names: (p @ names.T).argmax(dim=1), "Long names win"),
        ("columns", lambda p, names: (unit(p) @ F.normalize(names, dim=0).T).argmax(dim=1), "normalised the columns"),
        ("least", lambda p, names: (unit(p) @ unit(names).T).argmin(dim=1), "least similar"),
        ("along the pictures", lambda p, names: (unit(p) @ unit(names).T).argmax(dim=0), "look along the names"),
        ("scores", lambda p, names: unit(p) @ unit(names).T, "argmax along each row"),
        ("distance", lambda p, names: torch.cdist(p, names).argmin(dim=1), "by distance"),
    ],
    "class_direction": [
        ("mean first", lambda prompts: F.normalize(prompts.mean(dim=0), dim=0), "long prompts count more"),
        ("not at the end", lambda prompts: unit(prompts).mean(dim=0), "mean is shorter than 1"),
        ("not at all", lambda prompts: prompts.mean(dim=0), "Nothing has length 1"),
        ("columns", lambda p: F.normalize(F.normalize(p, dim=0).mean(dim=0), dim=0), "normalised the columns"),
        ("mean over features", lambda prompts: unit(prompts).mean(dim=1), "One vector for the class"),
    ],
    "recall_at_k": [
        ("first only", recall(count=lambda k: 1), "only look at the first"),
        ("other way", recall(change=lambda s: s.T), "along the columns"),
        ("one too few", recall(count=lambda k: k - 1), "k − 1"),
        ("of all answers", recall(end=lambda hit, k: hit.float().mean()), "share of all the k answers"),
        ("a number", recall(end=lambda hit, k: hit.any(dim=1).sum()), "Divide by their number"),
    ],
}
