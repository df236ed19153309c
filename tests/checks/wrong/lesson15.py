"""Typical wrong answers to the exercises of lesson 15, each with the message that it should get."""

from __future__ import annotations

import torch
import torch.nn.functional as F


def sampler(own=False, leak=False, fixed=False, replace=False, swapped=False, unseeded=False, ordered=False):
    def sample_episode(labels, n_way, k_shot, n_query, generator):
        generator = None if unseeded else generator
        classes = labels.unique()
        chosen = classes[:n_way] if fixed else classes[torch.randperm(len(classes), generator=generator)[:n_way]]
        support, query, mine, theirs = [], [], [], []
        for number, c in enumerate(chosen.tolist()):
            members = (labels == c).nonzero().flatten()
            order = torch.randperm(len(members), generator=generator)
            if ordered:
                order = torch.arange(len(members))
            if replace:
                order = torch.zeros(len(members), dtype=torch.int64)
            support.append(members[order[:k_shot]])
            query.append(members[order[:n_query] if leak else order[k_shot : k_shot + n_query]])
            mine += [c if own else number] * k_shot
            theirs += [n_way - 1 - number if swapped else c if own else number] * n_query
        if replace:
            query = [q + 1000 for q in query]
        return torch.cat(support), torch.tensor(mine), torch.cat(query), torch.tensor(theirs)

    return sample_episode


def uneven(labels, n_way, k_shot, n_query, generator):
    support, mine, _, _ = sampler()(labels, n_way, k_shot, n_query, generator)
    chosen = labels[support[::k_shot]].tolist()
    rest = torch.tensor([i for i, c in enumerate(labels.tolist()) if c in chosen and i not in support.tolist()])
    query = rest[torch.randperm(len(rest), generator=generator)[: n_way * n_query]]
    return support, mine, query, torch.tensor([chosen.index(c) for c in labels[query].tolist()])


def table(end):
    def prototypes(support, labels, n_way):
        return torch.stack([end(support, labels, c, n_way) for c in range(n_way)])

    return prototypes


def cosine(q, s):
    return F.normalize(q, dim=1) @ F.normalize(s, dim=1).T


def onehot(y, n):
    return F.one_hot(y, n).float()


def pair(of):
    def entity_pair(hidden, spans, head, tail):
        return torch.cat([of(hidden, spans, *head), of(hidden, spans, *tail)])

    return entity_pair


def overlap(spans, a, b):
    return (spans[:, 0] < b) & (spans[:, 1] > a)


def mean(hidden, spans, a, b):
    return hidden[overlap(spans, a, b)].mean(0)


WRONG = {
    "sample_episode": [
        ("own numbers", sampler(own=True), "The data's own numbers"),
        ("leak", sampler(leak=True), "queries are in the support"),
        ("fixed classes", sampler(fixed=True), "same in every episode"),
        ("with replacement", sampler(replace=True), "without replacement"),
        ("no generator", sampler(unseeded=True), "same seed gave two episodes"),
        ("first rows", sampler(ordered=True), "Shuffle the rows"),
        ("uneven queries", uneven, "Draw them class by class"),
        ("numbers differ", sampler(swapped=True), "do not number the classes alike"),
    ],
    "prototypes": [
        ("sums", table(lambda s, y, c, n: s[y == c].sum(0)), "These are sums"),
        ("average count", table(lambda s, y, c, n: s[y == c].sum(0) / (len(y) / n)), "average number"),
        ("order", lambda s, y, n: s.view(n, -1, s.shape[1]).mean(1), "in their order"),
        ("all", table(lambda s, y, c, n: s.mean(0)), "mean of all examples"),
        ("length 1", table(lambda s, y, c, n: F.normalize(s[y == c].mean(0), dim=0)), "Brought to length 1"),
    ],
    "attention": [
        ("weights", lambda q, s, y, n: cosine(q, s).softmax(1), "Add them up for each class"),
        ("products", lambda q, s, y, n: (q @ s.T).softmax(1) @ onehot(y, n), "no cosine"),
        ("over queries", lambda q, s, y, n: cosine(q, s).softmax(0) @ onehot(y, n), "goes over the queries"),
        ("after", lambda q, s, y, n: (cosine(q, s) @ onehot(y, n)).softmax(1), "comes after the sum"),
        ("mean", lambda q, s, y, n: cosine(q, s).softmax(1) @ onehot(y, n) / onehot(y, n).sum(0), "is the mean"),
        ("no softmax", lambda q, s, y, n: cosine(q, s) @ onehot(y, n), "softmax is missing"),
    ],
    "entity_pair": [
        ("tail first", lambda h, p, head, tail: pair(mean)(h, p, tail, head), "The tail comes first"),
        ("special", pair(lambda h, p, a, b: h[(p[:, 0] >= a) & (p[:, 1] <= b)].mean(0)), "Special tokens"),
        ("first token", pair(lambda h, p, a, b: h[overlap(p, a, b)][0]), "Only the first token"),
        ("sums", pair(lambda h, p, a, b: h[overlap(p, a, b)].sum(0)), "long names would weigh more"),
        (
            "inside",
            pair(lambda h, p, a, b: h[(p[:, 0] >= a) & (p[:, 1] <= b) & (p[:, 1] > 0)].mean(0)),
            "ask for an overlap",
        ),
        (
            "touching",
            pair(lambda h, p, a, b: h[(p[:, 0] <= b) & (p[:, 1] >= a) & (p[:, 1] > 0)].mean(0)),
            "only touches",
        ),
        ("sentence", pair(lambda h, p, a, b: h.mean(0)), "whole sentence"),
    ],
}
