"""Learning without forgetting (Li and Hoiem 2016, arXiv:1606.09282): on new examples, say what you said before."""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.shift.sequence import Naive
from tlcourse.shift.tasks import Task, task_loss


def distillation(
    logits: Float[Tensor, "n classes"], before: Float[Tensor, "n classes"], *, temperature: float = 2.0
) -> Float[Tensor, ""]:
    """T² · KL(before ‖ now), both softened by the temperature (Eqs. 2 and 3; 2 is theirs).

    The paper has the cross-entropy, which differs by the entropy of `before`: the same gradient, but not 0 where both
    agree. T² keeps the gradient's size (Hinton, Vinyals and Dean 2015, arXiv:1503.02531, Section 2).
    """
    now, old = (F.log_softmax(v / temperature, dim=1) for v in (logits, before))
    return temperature**2 * F.kl_div(now, old, reduction="batchmean", log_target=True)


class LwF(Naive):
    """The loss of the task, plus `weight` · distillation from the network as it was before this task.

    No old example is kept: the old network is asked about the new examples, task by task among the outputs that
    competed there and had been seen. On the first task there is nobody to ask, and the term is 0.
    """

    def __init__(self, *, weight: float = 1.0, temperature: float = 2.0) -> None:
        if weight < 0 or not temperature > 0:
            raise ValueError(f"weight is {weight} and temperature {temperature}; give weight ≥ 0 and temperature > 0")
        self.weight, self.temperature = weight, temperature
        self.teacher: nn.Module | None = None
        self.seen: set[int] = set()
        self.finished: list[tuple[int, ...]] = []

    def is_new(self) -> bool:
        """Whether there is no teacher."""
        return self.teacher is None

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, task: Task) -> Float[Tensor, ""]:
        """Cross-entropy plus distillation."""
        logits = model(inputs)
        return task_loss(logits, labels, task) + self.weight * self.memory_loss(logits, inputs)

    def memory_loss(self, logits: Float[Tensor, "n classes"], inputs: Tensor) -> Float[Tensor, ""]:
        """The distillation alone; 0 before the first task is finished."""
        if self.teacher is None:
            return logits.new_zeros(())
        with torch.no_grad():
            before = self.teacher(inputs)
        groups = {tuple(sorted(self.seen.intersection(outputs))) for outputs in self.finished}
        losses = [distillation(logits[:, list(g)], before[:, list(g)], temperature=self.temperature) for g in groups]
        return torch.stack(losses).sum()

    def finish(self, model: nn.Module, task: Task) -> None:
        """Keep the network as it is now."""
        self.teacher = copy.deepcopy(model).eval().requires_grad_(False)
        self.seen.update(task.classes)
        self.finished.append(task.outputs)
