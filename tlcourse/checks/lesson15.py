"""Checks of lesson 15: an episode, prototypes, attention over a support set, and features at two entities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tlcourse.checks.base import check
from tlcourse.checks.expect import close, expect, tensor

Answer = Callable[..., Any]


@check
def sample_episode(answer: Answer) -> None:
    """new classes each time, numbered within the episode, and no query in the support"""
    way, shot, queries = 3, 2, 4
    labels = (torch.arange(72) % 8)[torch.randperm(72)] + 10
    tried = f"sample_episode(labels, {way}, {shot}, {queries}, generator) from 8 classes, 10 to 17"
    seen: set[int] = set()
    shown: set[int] = set()
    for seed in range(12):
        found = answer(labels, way, shot, queries, torch.Generator().manual_seed(seed))
        four = isinstance(found, tuple) and len(found) == 4
        wanted = "Return support rows, support labels, query rows and query labels."
        expect(four, tried=tried, got=type(found).__name__, misconception=wanted)
        n, m = way * shot, way * queries
        sizes = (n,), (n,), (m,), (m,)
        support, mine, query, theirs = (tensor(x, s, tried=tried) for x, s in zip(found, sizes, strict=True))
        own = "Number the classes 0, 1, 2 in each episode. The data's own numbers would tell which class it is."
        original = torch.equal(labels[support.long()], mine.long())
        expect(not original, tried=tried, got=f"labels {mine.tolist()}", misconception=own)
        both = set(support.tolist()) & set(query.tolist())
        leak = "Some queries are in the support set: the network has seen the answer. Draw both together, then cut."
        expect(not both, tried=tried, got=f"rows {sorted(both)[:3]} in both", misconception=leak)
        twice = "A row occurs twice. Draw without replacement, for example with torch.randperm."
        once = len(set(support.tolist())) == n and len(set(query.tolist())) == m
        expect(once, tried=tried, got="a row twice", misconception=twice)
        classes = labels[support.long()].unique()
        few = f"An episode has {way} different classes with {shot} examples each."
        counts = torch.bincount(mine.long(), minlength=way)
        right = len(classes) == way and counts.tolist() == [shot] * way
        expect(right, tried=tried, got=f"{len(classes)} classes", misconception=few)
        asked = torch.bincount(theirs.long().clamp(min=0), minlength=way)
        uneven = f"{queries} queries of each class are asked for. Draw them class by class."
        even = asked.tolist() == [queries] * way
        number = {int(labels[row]): int(label) for row, label in zip(support.long(), mine, strict=True)}
        same = all(number.get(int(labels[row])) == int(n) for row, n in zip(query.long(), theirs, strict=True))
        other = "Support and query do not number the classes alike."
        expect(same, tried=tried, got="other numbers in the query", misconception=other)
        expect(even, tried=tried, got=f"{asked.tolist()} queries of the classes", misconception=uneven)
        torch.rand(1)  # the global state is another one now, the generator's is not
        again = answer(labels, way, shot, queries, torch.Generator().manual_seed(seed))
        same = all(torch.equal(one, other) for one, other in zip(found, again, strict=True))
        drawn = "Two generators with the same seed gave two episodes. Give `generator=` to every torch.randperm."
        expect(same, tried=f"{tried}, twice with the same seed", got="other rows", misconception=drawn)
        seen |= set(classes.tolist())
        shown |= set(support.tolist())
    first = {int(row) for c in labels.unique() for row in (labels == c).nonzero().flatten()[:shot]}
    order = "Shuffle the rows of a class: the same ones are the support every time."
    expect(
        not shown <= first, tried=tried, got="the first rows of each class in every support set", misconception=order
    )
    always = "The classes are the same in every episode. Draw them anew each time, with the generator."
    expect(len(seen) > way, tried=tried, got=f"classes {sorted(seen)} in 12 episodes", misconception=always)


@check
def prototypes(answer: Answer) -> None:
    """the mean of each class, whatever the order and the counts"""
    labels = torch.tensor([2, 0, 1, 2, 2, 0])[torch.randperm(6)]
    support = torch.randn(6, 4)
    tried = "prototypes of 6 examples with labels " + str(labels.tolist())
    found = tensor(answer(support, labels, 3), (3, 4), tried=tried, misconception="One row for each class.")
    sums = torch.stack([support[labels == c].sum(0) for c in range(3)])
    right = torch.stack([support[labels == c].mean(0) for c in range(3)])
    cases = (
        (sums, "These are sums. A class with more examples would lie further out: take the mean."),
        (sums / 2, "You divide by the average number of examples. Each class has its own number."),
        (support.view(3, 2, 4).mean(1), "You take the examples in their order. Look at the labels."),
        (support.mean(0).expand(3, -1), "The mean of all examples, for every class: use the labels."),
        (F.normalize(right, dim=1), "Brought to length 1. The squared distance of the paper needs the plain mean."),
    )
    close(found, right, tried=tried, misconception="Row c is the mean of support[labels == c].", known=cases)


@check
def attention(answer: Answer) -> None:
    """softmax over the support, of cosines, added up for each class"""
    labels = torch.tensor([0, 1, 1, 2, 2, 2])[torch.randperm(6)]
    query, support = 2 * torch.randn(5, 4), 3 * torch.randn(6, 4)
    tried = "attention of 5 queries over 6 examples of 3 classes"
    found = answer(query, support, labels, 3)
    each = "One number for each support example. Add them up for each class."
    weights = isinstance(found, torch.Tensor) and tuple(found.shape) == (5, 6)
    expect(not weights, tried=tried, got="shape (5, 6)", misconception=each)
    found = tensor(found, (5, 3), tried=tried, misconception="One row for each query, one column for each class.")
    onehot = F.one_hot(labels, 3).float()
    cosine = F.normalize(query, dim=1) @ F.normalize(support, dim=1).T
    counts = onehot.sum(0)
    right = cosine.softmax(1) @ onehot
    cases = (
        ((query @ support.T).softmax(1) @ onehot, "Products without the lengths taken off: that is no cosine."),
        (cosine.softmax(0) @ onehot, "The softmax goes over the queries. Each query spreads its own attention."),
        ((cosine @ onehot).softmax(1), "The softmax comes after the sum. First attention, then add up the votes."),
        (right / counts, "This is the mean for each class. The paper adds up, so the rows sum to 1."),
        (cosine @ onehot, "The softmax is missing: these are no probabilities."),
        (right.log(), "Give the probabilities, not their logarithm."),
    )
    rule = "softmax of the cosines over the support, times one-hot labels."
    close(found, right, tried=tried, misconception=rule, known=cases)


@check
def entity_pair(answer: Answer) -> None:
    """mean of the head's tokens, then of the tail's, without special tokens"""
    # [CLS] Marie Cur ie left War saw [SEP]
    spans = torch.tensor([[0, 0], [0, 5], [6, 9], [9, 11], [12, 16], [17, 20], [20, 23], [0, 0]])
    hidden = torch.randn(len(spans), 3)
    head, tail = (0, 11), (17, 23)
    tried = "entity_pair(hidden, spans, head=(0, 11), tail=(17, 23))"
    found = tensor(answer(hidden, spans, head, tail), (6,), tried=tried, misconception="Head and tail, side by side.")
    first, last = hidden[1:4].mean(0), hidden[5:7].mean(0)
    with_special = torch.cat([hidden[[0, 1, 2, 3, 7]].mean(0), last])
    cases = (
        (torch.cat([last, first]), "The tail comes first. Without a fixed order mother and child look the same."),
        (with_special, "Special tokens have the span (0, 0) and slipped into the head. Ask for an overlap above 0."),
        (torch.cat([hidden[1], hidden[5]]), "Only the first token of each entity. Take the mean over all of them."),
        (torch.cat([hidden[1:4].sum(0), hidden[5:7].sum(0)]), "Sums: long names would weigh more. Take the mean."),
        (torch.cat([hidden.mean(0)] * 2), "The mean of the whole sentence, twice. Only the entity's tokens count."),
    )
    rule = "Mean over tokens 1 to 3, then over 5 and 6."
    close(found, torch.cat([first, last]), tried=tried, misconception=rule, known=cases)
    _check_borders(answer)


def _check_borders(answer: Answer) -> None:
    """Tokens without spaces between them, of random lengths; the tail stands first, and cuts two of its tokens."""
    ends = torch.randint(3, 6, (10,)).cumsum(0)
    spans = torch.stack([torch.cat([ends.new_zeros(1), ends[:-1]]), ends], dim=1)
    hidden = torch.randn(10, 3)
    tail, head = (int(spans[1, 0]) + 1, int(spans[3, 1]) - 1), (int(spans[6, 0]), int(spans[7, 1]))
    tried = f"entity_pair(hidden, spans, head={head}, tail={tail}) for the spans {spans.tolist()}"
    found = tensor(answer(hidden, spans, head, tail), (6,), tried=tried)
    first, last = hidden[6:8].mean(0), hidden[1:4].mean(0)
    inside = "A token that lies only partly in the entity belongs to it, too: ask for an overlap, not for start or end."
    touch = "A token that only touches the entity has no letter of it: both signs are strict."
    known = (
        *((torch.cat([first, part]), inside) for part in (hidden[2], hidden[2:4].mean(0), hidden[1:3].mean(0))),
        *((torch.cat([hidden[i:j].mean(0), last]), touch) for i, j in ((5, 8), (6, 9), (5, 9))),
    )
    rule = "Mean over tokens 6 and 7, then over 1 to 3: go by the spans."
    close(found, torch.cat([first, last]), tried=tried, misconception=rule, known=known)
