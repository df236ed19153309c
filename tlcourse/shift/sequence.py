"""Learning one task after the other, with something against forgetting or with nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse import training
from tlcourse.shift.batches import endless
from tlcourse.shift.tasks import Task, choose, task_loss
from tlcourse.training.batches import Examples, prepare


class Naive:
    """Nothing against forgetting: the loss of the task at hand. The other strategies begin from here."""

    def is_new(self) -> bool:
        """Whether nothing is remembered yet of any task."""
        return True

    def loss(self, model: nn.Module, inputs: Any, labels: Tensor, task: Task) -> Float[Tensor, ""]:
        """What a batch of the present task is trained on."""
        return task_loss(model(inputs), labels, task)

    def finish(self, model: nn.Module, task: Task) -> None:
        """Called once a task has been learned, with the network in evaluation mode."""


@dataclass(frozen=True, eq=False)
class TaskSequence:
    """`matrix`: accuracy on task j (column) after learning task i (row); `start`: that before any training."""

    matrix: Float[Tensor, "tasks tasks"]
    start: Float[Tensor, " tasks"]


def learn_sequence(
    model: nn.Module,
    tasks: Sequence[Task],
    strategy: Naive,
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None,
    seed: int = 0,
) -> TaskSequence:
    """Train in place on each task for `steps` batches, then never again on its data but for what `strategy` keeps.

    `model`: logits of the outputs that all tasks need together. A new optimizer for each task, Adam(lr) by default. The
    same seed gives the same weights. The model ends in evaluation mode.
    Raises ValueError for fewer than two tasks, a strategy that remembers another run, or arguments that make no sense.
    """
    if len(tasks) < 2 or steps < 1 or batch_size < 2:
        raise ValueError(f"{len(tasks)} tasks, {steps} steps, batch_size {batch_size}; give at least 2, 1 and 2")
    if not strategy.is_new():
        raise ValueError("this strategy remembers the tasks of an earlier run; make a new one for each run")
    home = training.device()
    model.to(home).eval()
    start = torch.tensor([task_accuracy(model, task) for task in tasks])
    rows = []
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[home] if home.type == "cuda" else []):
        torch.manual_seed(seed)
        for task in tasks:
            parameters = [p for p in model.parameters() if p.requires_grad]
            rule = optimizer(parameters) if optimizer else torch.optim.Adam(parameters, lr=lr, fused=True)
            examples = Examples(task.train)
            walk = endless(examples.n, batch_size, generator)
            model.train()
            for _ in range(steps):
                inputs, labels = examples.batch(next(walk))
                loss = strategy.loss(model, prepare(inputs, model, home), labels.to(home), task)
                training.update(model, rule, loss)
            model.eval()
            strategy.finish(model, task)
            rows.append(torch.tensor([task_accuracy(model, other) for other in tasks]))
    return TaskSequence(torch.stack(rows), start)


@torch.no_grad()
def task_accuracy(model: nn.Module, task: Task, *, batch_size: int = 512) -> float:
    """Share of the task's test examples that are right among its outputs; the model should be in evaluation mode."""
    examples, home = Examples(task.test), training.device()
    right = 0
    for indices in torch.arange(examples.n).split(batch_size):
        inputs, labels = examples.batch(indices)
        guesses = choose(model(prepare(inputs, model, home)), task.outputs).argmax(dim=1)
        right += int((guesses.cpu() == labels).sum())
    return right / examples.n
