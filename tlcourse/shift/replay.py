"""Experience replay from a reservoir (Vitter 1985, ACM Transactions on Mathematical Software 11, Algorithm R; for
neural networks Chaudhry et al. 2019, arXiv:1902.10486)."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import training
from tlcourse.shift.sequence import Naive
from tlcourse.shift.tasks import Task, choose
from tlcourse.training.batches import Examples, prepare

T = TypeVar("T")


class Reservoir(Generic[T]):
    """At most `capacity` items of a stream of unknown length, each item of it with the same chance to be here."""

    def __init__(self, capacity: int, *, seed: int = 0) -> None:
        if capacity < 1:
            raise ValueError(f"capacity is {capacity}; keep 1 item or more")
        self.capacity = capacity
        self.items: list[T] = []
        self.seen = 0
        self.generator = torch.Generator().manual_seed(seed)

    def add(self, item: T) -> None:
        """The k-th item stays with probability capacity / k, in the place of a random one."""
        self.seen += 1
        if len(self.items) < self.capacity:
            self.items.append(item)
            return
        place = int(torch.randint(self.seen, (), generator=self.generator))
        if place < self.capacity:
            self.items[place] = item

    def draw(self, count: int) -> list[T]:
        """So many different items at random, or all if there are fewer."""
        order = torch.randperm(len(self.items), generator=self.generator)[:count]
        return [self.items[i] for i in order.tolist()]


class Replay(Naive):
    """Each batch of the new task goes together with `batch_size` old examples, from `capacity` that were kept.

    An old example competes among the outputs of its own task.
    """

    def __init__(self, *, capacity: int = 200, batch_size: int = 32, seed: int = 0) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size is {batch_size}; replay 1 example or more")
        self.memory: Reservoir[tuple[Any, int, tuple[int, ...]]] = Reservoir(capacity, seed=seed)
        self.batch_size = batch_size

    def is_new(self) -> bool:
        """Whether the reservoir has seen no example."""
        return self.memory.seen == 0

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, task: Task) -> Float[Tensor, ""]:
        """Mean cross-entropy over new and old examples together."""
        old = self.memory.draw(self.batch_size)
        outputs = [task.outputs] * len(labels) + [item[2] for item in old]
        if old:
            kept = torch.stack([item[0] for item in old]).to(inputs.device)
            inputs = torch.cat([inputs, kept])
            labels = torch.cat([labels, torch.tensor([item[1] for item in old], device=labels.device)])
        logits = model(inputs)
        rows: dict[tuple[int, ...], list[int]] = {}
        for row, group in enumerate(outputs):
            rows.setdefault(group, []).append(row)
        losses = [
            F.cross_entropy(choose(logits[where], group), labels[where], reduction="sum")
            for group, where in rows.items()
        ]
        return torch.stack(losses).sum() / len(labels)

    def finish(self, model: nn.Module, task: Task) -> None:
        """Offer every example of the task to the reservoir. Raises TypeError for inputs that are no tensor."""
        data = Examples(task.train)
        inputs, labels = data.batch(torch.arange(data.n))
        if not isinstance(prepared := prepare(inputs, model, training.device()), Tensor):
            raise TypeError("replay keeps tensors; for texts give the features of a backbone as a Table")
        for row, label in zip(prepared.cpu(), labels.tolist(), strict=True):
            self.memory.add((row, label, task.outputs))
        # A row is a view: without a copy each would keep the whole task alive.
        self.memory.items = [(row.clone(), *rest) for row, *rest in self.memory.items]
