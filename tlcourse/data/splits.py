"""Which items go where: few labels per class, random splits that respect groups, fixed splits that never change."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int64
from torch import Tensor


def few(labels: Int64[Tensor, " n"], classes: Sequence[str], k: int, seed: int, *, exact: bool) -> Int64[Tensor, " m"]:
    """Positions of k random items of each class; see `Dataset.few`."""
    if not isinstance(k, int) or k < 1:
        raise ValueError(f"k={k!r}: take a whole number of items per class, 1 or more")
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    chosen = []
    for number, name in enumerate(classes):
        members = order[labels[order] == number]
        if exact and len(members) < k:
            raise ValueError(
                f"k={k} is more than the {len(members)} items of class {name!r}; "
                "lower k, or pass exact=False to take all it has"
            )
        chosen.append(members[:k])
    return torch.cat(chosen)


def split(labels: Int64[Tensor, " n"], groups: Int64[Tensor, " n"], fraction: float, seed: int) -> Bool[Tensor, " n"]:
    """True for the items of the first part; see `Dataset.split`.

    Groups come in random order, large ones first; each goes to the side that keeps the shares of its classes closest
    to the wanted ones.
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction={fraction}: give the share of the first part, between 0 and 1")
    _, group_of = groups.unique(return_inverse=True)
    strata = _strata(labels, group_of)
    share = [_share(n, fraction) for n in torch.bincount(strata).tolist()]
    sizes = torch.bincount(group_of)
    shuffled = torch.randperm(len(sizes), generator=torch.Generator().manual_seed(seed))
    by_size = shuffled[sizes[shuffled].argsort(descending=True, stable=True)].tolist()
    contents = _contents(strata.tolist(), group_of.tolist())

    surplus = [0.0] * len(share)  # items of each stratum given to the first part beyond its share so far
    first = torch.zeros(len(sizes), dtype=torch.bool)
    for group in by_size:
        if_first = {s: surplus[s] + n * (1 - share[s]) for s, n in contents[group].items()}
        if_second = {s: surplus[s] - n * share[s] for s, n in contents[group].items()}
        first[group] = sum(x * x for x in if_first.values()) < sum(x * x for x in if_second.values())
        for s, x in (if_first if first[group] else if_second).items():
            surplus[s] = x
    if first.all() or not first.any():
        raise ValueError(
            f"fraction={fraction} leaves one side empty: {len(labels)} items in {len(sizes)} groups; "
            "use more items or a fraction nearer to 0.5"
        )
    return first[group_of]


def _strata(labels: Int64[Tensor, " n"], group_of: Int64[Tensor, " n"]) -> Int64[Tensor, " n"]:
    """The class of each item, but one stratum for all classes that cannot be divided, those of a single group."""
    classes, _ = torch.stack([labels, group_of]).unique(dim=1)
    groups_per_class = torch.bincount(classes)
    return torch.where(groups_per_class[labels] > 1, labels, len(groups_per_class))


def _share(n: int, fraction: float) -> float:
    """The share of a stratum of n items that goes to the first part: each part gets one where that is possible."""
    return min(max(fraction, 1 / n), 1 - 1 / n) if n > 1 else fraction


def _contents(strata: list[int], groups: list[int]) -> list[dict[int, int]]:
    """For each group, how many items of which stratum it has."""
    contents: list[dict[int, int]] = [{} for _ in range(max(groups) + 1)]
    for stratum, group in zip(strata, groups, strict=True):
        contents[group][stratum] = contents[group].get(stratum, 0) + 1
    return contents


def held_out(keys: Sequence[str], labels: Int64[Tensor, " n"], share: float) -> Bool[Tensor, " n"]:
    """True for a fixed `share` of each class: the items whose keys have the smallest sha256.

    It depends on the keys alone, so it is the same on every machine and with every version of every library.
    """
    rank = [hashlib.sha256(key.encode()).hexdigest() for key in keys]
    test = torch.zeros(len(keys), dtype=torch.bool)
    for label in labels.unique().tolist():
        members = sorted((labels == label).nonzero().flatten().tolist(), key=lambda i: rank[i])
        test[members[: math.floor(share * len(members) + 0.5)]] = True
    return test
