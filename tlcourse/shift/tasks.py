"""Three ways in which tasks can follow each other (van de Ven and Tolias 2019, arXiv:1904.07734)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Task:
    """`train`, `test`: containers whose labels are numbers of the network's outputs. `classes`: those that occur here;
    `outputs`: those among which the network has to choose."""

    name: str
    train: Any
    test: Any
    classes: tuple[int, ...]
    outputs: tuple[int, ...]


def class_incremental(train: Any, test: Any, groups: Sequence[Sequence[int]]) -> tuple[Task, ...]:
    """New classes in each task, and nobody says at test time which task it is: every output competes.

    Raises ValueError for a group without examples, or a class in two groups.
    """
    everything = tuple(range(train.n_classes))
    return tuple(_task(train, test, group, everything) for group in _checked(train, test, groups))


def task_incremental(train: Any, test: Any, groups: Sequence[Sequence[int]]) -> tuple[Task, ...]:
    """New classes in each task, and one is told which task it is: only its own outputs compete.

    Raises ValueError for a group without examples, or a class in two groups.
    """
    return tuple(_task(train, test, group, tuple(group)) for group in _checked(train, test, groups))


def domain_incremental(domains: Mapping[str, tuple[Any, Any]]) -> tuple[Task, ...]:
    """The same classes in each task, seen in another domain: name → (train, test).

    Raises ValueError for fewer than two domains, or domains with other classes.
    """
    if len(domains) < 2:
        raise ValueError(f"{len(domains)} domain; a sequence needs two or more")
    names = list(domains)
    first = tuple(domains[names[0]][0].classes)
    for name, parts in domains.items():
        if any(tuple(part.classes) != first for part in parts):
            raise ValueError(f"domain {name!r} has other classes than {names[0]!r}; use dataset.only([...])")
    outputs = tuple(range(len(first)))
    return tuple(Task(name, train, test, outputs, outputs) for name, (train, test) in domains.items())


def choose(logits: Float[Tensor, "n classes"], outputs: Sequence[int]) -> Float[Tensor, "n classes"]:
    """Logits with −∞ for outputs that do not compete, so that they get neither probability nor gradient."""
    allowed = torch.zeros(logits.shape[1], dtype=torch.bool, device=logits.device)
    allowed[list(outputs)] = True
    return logits.masked_fill(~allowed, -torch.inf)


def task_loss(logits: Float[Tensor, "n classes"], labels: Int[Tensor, " n"], task: Task) -> Float[Tensor, ""]:
    """Mean cross-entropy among the outputs of the task (nats)."""
    return F.cross_entropy(choose(logits, task.outputs), labels)


def _task(train: Any, test: Any, group: Sequence[int], outputs: tuple[int, ...]) -> Task:
    parts = [part.where(torch.isin(part.labels, torch.tensor(list(group)))) for part in (train, test)]
    return Task("+".join(train.classes[c] for c in group), parts[0], parts[1], tuple(group), outputs)


def _checked(train: Any, test: Any, groups: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    if tuple(train.classes) != tuple(test.classes):
        raise ValueError("train and test have other classes; take both from one dataset")
    flat = [c for group in groups for c in group]
    if len(groups) < 2 or len(set(flat)) < len(flat):
        raise ValueError(f"groups are {[list(g) for g in groups]}; give two or more, and each class in one of them")
    for name, part in (("train", train), ("test", test)):
        for group in groups:
            if not group or not torch.isin(torch.tensor(list(group)), part.labels).all():
                raise ValueError(f"{name} has no example of a class of {list(group)}; leave it out, or give more data")
    return [tuple(group) for group in groups]
