"""Elastic weight consolidation (Kirkpatrick et al. 2017, arXiv:1612.00796): weights that mattered are hard to move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from tlcourse import training
from tlcourse.shift.sequence import Naive
from tlcourse.shift.tasks import Task, choose, task_loss
from tlcourse.training.batches import Examples, prepare
from tlcourse.training.evaluation import evaluating


def diagonal_fisher(
    model: nn.Module,
    inputs: Tensor,
    labels: Int64[Tensor, " n"],
    *,
    outputs: Sequence[int] | None = None,
    batch_size: int = 128,
) -> dict[str, Tensor]:
    """Mean over the examples of (∂ log p(label | input) / ∂ θ)², for each parameter that trains.

    The gradient of each example is squared by itself. The square of a batch's mean gradient is another, much smaller
    number: gradients of several examples cancel. `vmap` takes all examples of a batch in one pass.
    With labels drawn from the model (`sample_labels`) this is the Fisher information; with the true ones the
    "empirical" Fisher. `outputs`: the classes that compete, all by default. Evaluation mode, so that no example has a
    say in another's normalisation.
    Raises TypeError for inputs that are no tensor, ValueError for counts that differ.
    """
    if not isinstance(inputs, Tensor):
        raise TypeError(f"inputs are {type(inputs).__name__}; give a tensor, for texts the features of a backbone")
    if len(inputs) != len(labels) or len(labels) == 0:
        raise ValueError(f"{len(inputs)} inputs and {len(labels)} labels; give one for each, at least one")
    trained = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    rest = {name: p.detach() for name, p in (*model.named_parameters(), *model.named_buffers()) if name not in trained}

    def loss(parameters: dict[str, Tensor], example: Tensor, label: Tensor) -> Tensor:
        logits = functional_call(model, {**rest, **parameters}, (example[None],))
        return F.cross_entropy(logits if outputs is None else choose(logits, outputs), label[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))
    total = {name: torch.zeros_like(p) for name, p in trained.items()}
    with evaluating(model):
        for rows in torch.arange(len(labels)).split(batch_size):
            for name, gradient in each(trained, inputs[rows], labels[rows]).items():
                total[name] += gradient.detach().square().sum(dim=0)
    return {name: squares / len(labels) for name, squares in total.items()}


def sample_labels(logits: Float[Tensor, "n classes"], generator: torch.Generator) -> Int64[Tensor, " n"]:
    """A label for each row, drawn from the model's own probabilities, as the Fisher information asks."""
    drawn = torch.multinomial(logits.detach().softmax(dim=1).cpu(), 1, generator=generator)
    return drawn.flatten().to(logits.device)


def ewc_penalty(model: nn.Module, fisher: Mapping[str, Tensor], anchor: Mapping[str, Tensor]) -> Float[Tensor, ""]:
    """½ Σ F (θ − θ*)² (Eq. 3 without λ)."""
    now = dict(model.named_parameters())
    return torch.stack([(f * (now[name] - anchor[name]).square()).sum() for name, f in fisher.items()]).sum() / 2


class EWC(Naive):
    """The loss of the task, plus `weight` · the penalty of every task before.

    The Fisher is taken from `examples` random training examples of a finished task.
    """

    def __init__(self, *, weight: float = 100.0, examples: int = 256, seed: int = 0) -> None:
        if weight < 0 or examples < 1:
            raise ValueError(
                f"weight is {weight} and examples {examples}; give a weight of 0 or more, and 1 example or more"
            )
        self.weight, self.examples = weight, examples
        self.generator = torch.Generator().manual_seed(seed)
        self.memories: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []

    def is_new(self) -> bool:
        """Whether no weights are held."""
        return not self.memories

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, task: Task) -> Float[Tensor, ""]:
        """Cross-entropy plus the penalties."""
        penalties = [ewc_penalty(model, fisher, anchor) for fisher, anchor in self.memories]
        return task_loss(model(inputs), labels, task) + self.weight * sum(penalties)

    def finish(self, model: nn.Module, task: Task) -> None:
        """Keep the weights, and how much each mattered."""
        home, data = training.device(), Examples(task.train)
        rows = torch.randperm(data.n, generator=self.generator)[: self.examples]
        inputs = prepare(data.inputs(rows), model, home)
        with torch.no_grad():
            drawn = sample_labels(choose(model(inputs), task.outputs), self.generator).to(home)
        fisher = diagonal_fisher(model, inputs, drawn, outputs=task.outputs)
        anchor = {name: p.detach().clone() for name, p in model.named_parameters() if name in fisher}
        self.memories.append((fisher, anchor))
