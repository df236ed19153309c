"""MAML: a start from which one step on a new task goes far (Finn, Abbeel and Levine 2017, arXiv:1703.03400).

FOMAML, which leaves out the second derivatives, is in their Section 5.2. ANIL, which adapts the head alone, is by
Raghu, Raghu, Bengio and Vinyals (2020, arXiv:1909.09157). `torch.func.vmap` computes all tasks of a batch at once.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn.modules.batchnorm import _BatchNorm

Parameters = dict[str, Tensor]
Examples = tuple[Shaped[Tensor, "tasks ..."], Shaped[Tensor, "tasks ..."]]  # inputs and labels


@dataclass(frozen=True)
class InnerLoop:
    """How one task is learned.

    lr:           α, the length of a step
    steps:        how many of them
    loss:         of outputs and labels, a mean over the examples
    only:         parameters whose names begin so are adapted, the others stay: "head." is ANIL, "" takes all
    first_order:  FOMAML: the gradient of the inner loss counts as a constant
    """

    lr: float
    steps: int = 1
    loss: Callable[[Tensor, Tensor], Tensor] = F.cross_entropy
    only: str = ""
    first_order: bool = False

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ValueError(f"lr is {self.lr}; give a step length above 0")
        if self.steps < 0:
            raise ValueError(f"steps is {self.steps}; give 0 or more")


def inner_step(
    model: nn.Module, parameters: Parameters, inputs: Shaped[Tensor, "n ..."], labels: Tensor, *, inner: InnerLoop
) -> Parameters:
    """θ' = θ − α ∇L(θ) on the support set (Algorithm 1, line 6): new tensors, which remember how they depend on θ."""
    moving = {name: tensor for name, tensor in parameters.items() if name.startswith(inner.only)}

    def support_loss(moving: Parameters) -> Tensor:
        return inner.loss(functional_call(model, parameters | moving, (inputs,)), labels)

    with torch.no_grad() if inner.first_order else nullcontext():
        gradient = grad(support_loss)(moving)
    return parameters | {name: tensor - inner.lr * gradient[name] for name, tensor in moving.items()}


def adapt(
    model: nn.Module, inputs: Shaped[Tensor, "n ..."], labels: Shaped[Tensor, "n ..."], *, inner: InnerLoop
) -> Parameters:
    """The parameters after `inner.steps` steps on one task; the model itself keeps its own.

    Raises ValueError when no parameter's name begins with `inner.only`.
    """
    fast = all_parameters(model, inner)
    for _ in range(inner.steps):
        fast = inner_step(model, fast, inputs, labels, inner=inner)
    return fast


def meta_loss(model: nn.Module, support: Examples, query: Examples, *, inner: InnerLoop) -> Float[Tensor, ""]:
    """Mean over the tasks of the loss on the queries, after adapting to the support (the sum of Algorithm 1, line 8).

    support, query: inputs and labels, each with the tasks in front. `backward()` gives the meta-gradient.
    Raises ValueError when the numbers of tasks differ, or a batch norm keeps running statistics.
    """
    check_tasks(support, query)
    check_batch_norm(model)

    def query_loss(inputs: Tensor, labels: Tensor, query_inputs: Tensor, query_labels: Tensor) -> tuple[Tensor]:
        fast = adapt(model, inputs, labels, inner=inner)
        return (inner.loss(functional_call(model, fast, (query_inputs,)), query_labels),)

    (losses,) = over_tasks(query_loss, model, *support, *query)
    return losses.mean()


def outputs_by_step(
    model: nn.Module,
    support: Examples,
    query_inputs: Shaped[Tensor, "tasks q ..."],
    *,
    inner: InnerLoop,
    chunk: int | None = None,
) -> Float[Tensor, "steps tasks q ..."]:
    """Outputs on the queries before the first step and after each: `inner.steps` + 1 in a row. Keeps no graph.

    chunk: how many tasks vmap computes at once; None is all
    """
    check_tasks(support, (query_inputs, query_inputs))
    check_batch_norm(model)

    def outputs(inputs: Tensor, labels: Tensor, queries: Tensor) -> tuple[Tensor]:
        fast = all_parameters(model, inner)
        found = [functional_call(model, fast, (queries,))]
        for _ in range(inner.steps):
            fast = inner_step(model, fast, inputs, labels, inner=inner)
            found.append(functional_call(model, fast, (queries,)))
        return (torch.stack(found),)

    with torch.no_grad():
        (by_task,) = over_tasks(outputs, model, *support, query_inputs, chunk=chunk)
    return by_task.transpose(0, 1)


def over_tasks(
    function: Callable[..., tuple[Tensor, ...]], model: nn.Module, *parts: Tensor, chunk: int | None = None
) -> tuple[Tensor, ...]:
    """What `function` returns for each task, stacked: by vmap, or one by one when the model has batch norm.

    vmap's second derivative of batch norm takes mean and spread for constants (PyTorch 2.14), which is wrong without a
    warning. With convolutions nothing is lost: each task has its own weights, and one by one is as fast.
    """
    if has_batch_norm(model):
        found = [function(*task) for task in zip(*parts, strict=True)]
        return tuple(torch.stack(results) for results in zip(*found, strict=True))
    stacked: tuple[Tensor, ...] = vmap(function, randomness="different", chunk_size=chunk)(*parts)
    return stacked


def all_parameters(model: nn.Module, inner: InnerLoop) -> Parameters:
    """The parameters by name. Raises ValueError when none begins with `inner.only`."""
    parameters: Parameters = dict(model.named_parameters())
    if not any(name.startswith(inner.only) for name in parameters):
        parts = sorted({name.split(".")[0] + "." for name in parameters})
        raise ValueError(f"only={inner.only!r} begins no parameter's name; the model has {', '.join(parts)}")
    return parameters


def check_tasks(support: Examples, query: Examples) -> None:
    """Raise ValueError unless all parts hold the same number of tasks, one or more."""
    lengths = [len(part) for part in (*support, *query)]
    if len(set(lengths)) > 1 or 0 in lengths:
        raise ValueError(
            f"support and query hold {lengths} tasks; give inputs and labels of the same tasks, one or more"
        )


def has_batch_norm(model: nn.Module) -> bool:
    """Whether outputs for one example depend on the others of its batch."""
    return any(isinstance(layer, _BatchNorm) for layer in model.modules())


def check_batch_norm(model: nn.Module) -> None:
    """Raise ValueError when a batch norm would write running statistics."""
    for name, layer in model.named_modules():
        if isinstance(layer, _BatchNorm) and layer.track_running_stats and layer.training:
            raise ValueError(
                f"{name} keeps running statistics, which tasks would share and overwrite; "
                "call torch.func.replace_all_batch_norm_modules_(model) to normalise each batch by its own"
            )
