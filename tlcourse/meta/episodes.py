"""Episodes: small tasks with a support set to learn from and a query set to be judged on (Vinyals, Blundell, Lillicrap,
Kavukcuoglu and Wierstra 2016, arXiv:1606.04080, Section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int, Shaped
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Episodes:
    """`tasks` episodes of `n_way` classes each, class by class within an episode.

    support, query:                 items (tasks, n_way · k_shot, ...) and (tasks, n_way · n_query, ...)
    support_labels, query_labels:   0 … n_way − 1, numbers that mean something within their episode only
    classes:                        which class of the data each of these numbers is, (tasks, n_way)
    """

    support: Shaped[Tensor, "tasks shots ..."]
    support_labels: Int[Tensor, "tasks shots"]
    query: Shaped[Tensor, "tasks queries ..."]
    query_labels: Int[Tensor, "tasks queries"]
    classes: Int[Tensor, "tasks way"]

    @property
    def n_way(self) -> int:
        """Classes in an episode."""
        return self.classes.shape[1]

    def __len__(self) -> int:
        return len(self.classes)

    def take(self, tasks: slice) -> Episodes:
        """Some of the episodes."""
        parts = (self.support, self.support_labels, self.query, self.query_labels, self.classes)
        return Episodes(*(part[tasks] for part in parts))


def sample_episodes(
    items: Shaped[Tensor, "n ..."],
    labels: Int[Tensor, " n"],
    *,
    tasks: int,
    n_way: int,
    k_shot: int,
    n_query: int,
    generator: torch.Generator,
) -> Episodes:
    """Draw episodes: `n_way` different classes each, and of each class k_shot + n_query different items.

    items:      what is drawn from, on any device; `torch.arange(n)` gives positions
    n_query:    queries of each class
    generator:  on the CPU, so that the draw is the same on every machine
    Raises ValueError for more ways than classes, or a class with fewer than k_shot + n_query items.
    """
    labels = _checked(items, labels, tasks=tasks, n_way=n_way, k_shot=k_shot, n_query=n_query)
    present, labels, counts = labels.unique(return_inverse=True, return_counts=True)
    needed = k_shot + n_query
    if n_way > len(present):
        raise ValueError(f"n_way is {n_way}, but the labels have {len(present)} classes; lower n_way")
    if int(counts.min()) < needed:
        smallest = int(present[counts.argmin()])
        raise ValueError(
            f"class {smallest} has {int(counts.min())} items, fewer than k_shot + n_query = {k_shot} + {n_query}; "
            "lower one of them, or leave out small classes"
        )
    chosen = torch.rand(tasks, len(present), generator=generator).topk(n_way, dim=1).indices
    # A random key for each place of a class: the largest keys are the draw. Places that a class lacks get none.
    keys = torch.rand(tasks, n_way, int(counts.max()), generator=generator)
    keys[torch.arange(keys.shape[2]) >= counts[chosen][:, :, None]] = -1.0
    places = keys.topk(needed, dim=2).indices
    first = counts.cumsum(0) - counts  # where each class begins among the items sorted by class
    rows = labels.argsort(stable=True)[first[chosen][:, :, None] + places]

    support, query = (part.flatten(1).to(items.device) for part in rows.split([k_shot, n_query], dim=2))
    way = torch.arange(n_way, device=items.device)
    return Episodes(
        support=items[support],
        support_labels=way.repeat_interleave(k_shot).expand(tasks, -1),
        query=items[query],
        query_labels=way.repeat_interleave(n_query).expand(tasks, -1),
        classes=present[chosen].to(items.device),
    )


def _checked(items: Tensor, labels: Tensor, **numbers: int) -> Tensor:
    """Labels on the CPU, when everything can be drawn from."""
    for name, value in numbers.items():
        least = 2 if name == "n_way" else 1
        if value < least:
            raise ValueError(f"{name} is {value}; give {least} or more")
    if labels.ndim != 1 or len(items) != len(labels) or labels.is_floating_point():
        raise ValueError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)} for {len(items)} items; "
            "give one class number for each item"
        )
    return labels.detach().cpu()


def split_classes(
    labels: Int[Tensor, " n"],
    *,
    held_out: float,
    generator: torch.Generator,
    groups: Int[Tensor, " n"] | None = None,
) -> Bool[Tensor, " n"]:
    """True for the items of held-out classes, about a share `held_out` of all: no class is on both sides.

    groups: families of classes that look alike; each goes to one side as a whole. Without them each class is a family.
    Raises ValueError when a class is in two groups, or when one side would be empty.
    """
    if not 0 < held_out < 1:
        raise ValueError(f"held_out is {held_out}; give the share of classes to hold out, between 0 and 1")
    families = labels if groups is None else groups
    if groups is not None:
        pairs = torch.stack([labels, groups]).unique(dim=1)[0]
        if len(pairs) > len(pairs.unique()):
            twice = int(pairs.mode().values)
            raise ValueError(f"class {twice} is in more than one of the groups; give all its items the same group")
    present, family_of = families.unique(return_inverse=True)
    n = round(held_out * len(present))
    if not 0 < n < len(present):
        raise ValueError(f"held_out={held_out} of {len(present)} families leaves one side empty; take more classes")
    chosen = torch.randperm(len(present), generator=generator)[:n]
    return torch.isin(family_of, chosen.to(family_of.device))


def one_hot(labels: Int[Tensor, "tasks shots"], n_way: int) -> Int[Tensor, "tasks shots way"]:
    """1 where a support example belongs to a class of its episode, else 0.

    Raises ValueError when a class has no example, or a label is not 0 … n_way − 1.
    """
    if int(labels.min()) < 0 or int(labels.max()) >= n_way:
        raise ValueError(f"labels run from {int(labels.min())} to {int(labels.max())}; expected 0 to {n_way - 1}")
    member = F.one_hot(labels, n_way)
    counts = member.sum(dim=1)
    if (counts == 0).any():
        task, empty = (counts == 0).nonzero()[0].tolist()
        raise ValueError(
            f"labels of episode {task} have no support example for class {empty} of {n_way}; "
            "sample every class at least once"
        )
    return member
