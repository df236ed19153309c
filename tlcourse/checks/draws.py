"""Was a draw of few labels fair: of every class, without test items, and repeatable?"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tlcourse.checks.expect import expect, tensor

Rules = list[tuple[bool, str, str]]  # what should hold, what came out, the likely misconception


def follow(rules: Rules, *, tried: str) -> None:
    """CheckFailed in the words of the first rule that does not hold."""
    for holds, got, misconception in rules:
        expect(holds, tried=tried, got=got, misconception=misconception)


def grouped_items(sizes: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Labels and groups of shuffled items, and the test groups.

    Of class c, sizes[c] items are outside the test groups and half as many in them, so that a draw from which the test
    items are thrown out still holds most of its items.
    """
    group = torch.randperm(100)[:24]
    train, test = group[:16], group[16:]
    labels = torch.cat([torch.full((size + size // 2,), c) for c, size in enumerate(sizes)])
    parts = [(side, n) for size in sizes for side, n in ((train, size), (test, size // 2))]
    groups = torch.cat([side[torch.randint(len(side), (n,))] for side, n in parts])
    order = torch.randperm(len(labels))
    return labels[order], groups[order], test


def check_draw(value: object, labels: Tensor, allowed: Tensor, *, k: int, tried: str) -> None:
    """CheckFailed unless `value` holds k positions of every class, each once, all of them `allowed`."""
    chosen = tensor(value, tried=tried)
    whole = not chosen.is_floating_point() and chosen.dtype != torch.bool and chosen.ndim == 1
    fits = whole and bool(((chosen >= 0) & (chosen < len(labels))).all())
    got = f"{chosen.dtype} of shape {tuple(chosen.shape)}"
    row = f"Return positions in `labels`: whole numbers from 0 to {len(labels) - 1}, in one row."
    follow([(fits, got, row)], tried=tried)
    once = len(chosen.unique())
    again = "Drawn twice, an item is still one label. Draw without replacement: shuffle, then take k."
    follow([(once == len(chosen), f"{len(chosen)} positions, but {once} different items", again)], tried=tried)
    follow(_leak_rules(chosen, labels, allowed, k) + _count_rules(chosen, labels, k), tried=tried)


def _leak_rules(chosen: Tensor, labels: Tensor, allowed: Tensor, k: int) -> Rules:
    kept = allowed.nonzero().flatten()
    leaks = int((~allowed[chosen]).sum())
    inside = len(chosen) > 0 and int(chosen.max()) < len(kept)
    shifted = inside and leaks > 0 and bool((torch.bincount(labels[kept[chosen]]) == k).all())
    back = (
        "After `labels[allowed]`, position 0 is the first item that is left, not the first of all. "
        "Translate back: `allowed.nonzero().flatten()[chosen]`."
    )
    alike = (
        "They look like test items, and a model that remembers them seems to generalise. "
        "Leave out every item whose group is in `test_groups`."
    )
    return [
        (not shifted, "positions that count only the items outside the test groups", back),
        (leaks == 0, f"{leaks} of {len(chosen)} items belong to a test group", alike),
    ]


def _count_rules(chosen: Tensor, labels: Tensor, k: int) -> Rules:
    classes = int(labels.max()) + 1
    counts = torch.bincount(labels[chosen], minlength=classes).tolist()
    late = sum(counts) < classes * k and max(counts) <= k
    chance = "One draw over all items gives a class what its size and chance give it. Draw within each class."
    return [
        (sum(counts) != k, f"{k} items in all, {counts} of the classes", "k is the number of labels of each class."),
        (
            not late,
            f"too few: {counts} items of the classes, not {k} each",
            "Were test items drawn first and thrown out afterwards? Leave them out before you draw.",
        ),
        (counts == [k] * classes, f"{counts} items of the classes, not {k} each", chance),
    ]


def check_seed(draw: Callable[[int], Tensor], *, name: str) -> None:
    """CheckFailed unless `seed`, and nothing else, decides what `draw(seed)` returns."""
    shared = "The draw comes from the global random state, so it cannot be repeated. Use torch.Generator() and `seed`."
    unused = "`seed` has no effect. Repeats with the same labels show nothing of the luck of the draw."
    reset = (
        "`torch.manual_seed` makes every later draw of the whole program start again from here. "
        "Seed a generator of your own, and pass it on as `generator=`."
    )
    same = draw(0).tolist() == draw(0).tolist()
    follow([(same, "two different results", shared)], tried=f"{name}(…, seed=0), twice")
    several = len({tuple(draw(seed).tolist()) for seed in range(5)}) > 1
    follow([(several, "the same items each time", unused)], tried=f"{name}(…) with the seeds 0 to 4")
    before = _global_states()
    draw(1)
    kept = _global_states() == before
    follow(
        [(kept, "the global random state has changed", reset)], tried=f"{name}(…, seed=1), and what it leaves behind"
    )


def _global_states() -> object:  # a container's type would be checked at a random item, with Python's random numbers
    return [str(state) for state in (torch.get_rng_state().tolist(), np.random.get_state(), random.getstate())]
