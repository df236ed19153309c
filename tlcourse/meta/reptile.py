"""Reptile: move the start to where the tasks' training ends (Nichol, Achiam and Schulman 2018, arXiv:1803.02999)."""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from tlcourse.meta.maml import InnerLoop, Parameters, all_parameters, check_batch_norm, inner_step, over_tasks


def reptile_gradient(
    model: nn.Module,
    inputs: Shaped[Tensor, "tasks steps n ..."],
    labels: Shaped[Tensor, "tasks steps n ..."],
    *,
    inner: InnerLoop,
) -> Parameters:
    """(θ − mean of θ̃) / α over the tasks, with θ̃ after one step on each batch (Algorithm 2; over α as in Section 2).

    For an optimiser that goes downhill. With a single batch it is the mean gradient, so Reptile is then joint training.
    inputs, labels: `inner.steps` batches of each task, one for each step
    Raises ValueError for another number of batches.
    """
    if inputs.shape[:2] != labels.shape[:2] or inputs.shape[1] != inner.steps or inner.steps < 1:
        raise ValueError(
            f"inputs and labels hold {inputs.shape[1]} and {labels.shape[1]} batches for {inner.steps} inner steps; "
            "give one batch for each, as (tasks, steps, n, ...), and one step or more"
        )
    check_batch_norm(model)
    start = all_parameters(model, inner)

    def end(inputs: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        fast = start
        for x, y in zip(inputs, labels, strict=True):
            fast = inner_step(model, fast, x, y, inner=inner)
        return tuple(fast.values())

    with torch.no_grad():
        ends = over_tasks(end, model, inputs, labels)
        return {
            name: (tensor - after.mean(dim=0)) / inner.lr
            for (name, tensor), after in zip(start.items(), ends, strict=True)
        }


def set_gradient(model: nn.Module, gradient: Parameters) -> None:
    """Put a gradient where an optimiser finds it."""
    for name, parameter in model.named_parameters():
        parameter.grad = gradient[name].detach().clone()
