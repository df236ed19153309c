"""One update of the weights, for trainings that do not go through examples with labels, as `fit` does."""

from __future__ import annotations

import math

from jaxtyping import Float
from torch import Tensor, nn
from torch.optim import Optimizer


def update(model: nn.Module, optimizer: Optimizer, loss: Float[Tensor, ""], *, clip: float | None = None) -> float:
    """One step of the optimizer along the gradient of the loss, whose norm is at most `clip`; the loss.

    Raises ValueError for a `clip` that is not above 0, and FloatingPointError when the loss is not finite; the weights
    are then those before this update.
    """
    if clip is not None and not clip > 0:
        raise ValueError(f"clip is {clip}; give the largest norm of the gradient, above 0, or None")
    value = loss.item()
    if not math.isfinite(value):
        raise FloatingPointError(f"the training loss is {value}; lower lr, or start from other weights")
    optimizer.zero_grad()
    model.zero_grad()  # also what the optimizer does not train: clipping would count it
    loss.backward()
    if clip is not None:
        nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return value
