"""How far fine-tuning has moved a network from where it began, in its features and in its weights."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn


def feature_drift(before: Float[Tensor, "n dim"], after: Float[Tensor, "n dim"]) -> float:
    """Mean over the examples of ‖f' − f‖ / ‖f‖: 0 where nothing has moved, 1 where the change is as long as f itself.

    Raises ValueError for other shapes, or an example whose features before are all zero.
    """
    if before.shape != after.shape or before.ndim != 2 or len(before) == 0:
        raise ValueError(
            f"before has shape {tuple(before.shape)} and after {tuple(after.shape)}; give features of the same examples"
        )
    length = before.norm(dim=1)
    if (length == 0).any():
        raise ValueError("before has an example whose features are all 0; there is no length to compare with")
    return float(((after - before).norm(dim=1) / length).mean())


def weight_drift(model: nn.Module, start: Mapping[str, Tensor], depth: Mapping[str, int]) -> dict[int, float]:
    """‖w − w⁰‖ / ‖w⁰‖ of all weights at each depth, for the parameters that `start` knows.

    `start`: parameters by name as they were; `depth`: from `finetuning.depths`.
    Raises ValueError when `start` and the model have no parameter in common.
    """
    moved: dict[int, float] = {}
    length: dict[int, float] = {}
    for name, parameter in model.named_parameters():
        if name in start and start[name].shape == parameter.shape:
            level, old = depth[name], start[name].detach().to(parameter)
            moved[level] = moved.get(level, 0.0) + float((parameter.detach() - old).square().sum())
            length[level] = length.get(level, 0.0) + float(old.square().sum())
    if not length:
        raise ValueError("start has no parameter of this model; clone its named_parameters() before training")
    tiny = torch.finfo(torch.float32).tiny
    return {level: (moved[level] / max(length[level], tiny)) ** 0.5 for level in sorted(moved)}
