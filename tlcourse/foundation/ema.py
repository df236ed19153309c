"""The average of a network's weights along its training (Polyak and Juditsky 1992; Ho et al. 2020, Appendix B)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def averaged(model: nn.Module, *, decay: float | int = 0.999) -> AveragedModel:
    """A copy of the model that follows it: call `update_parameters(model)` after each step.

    After step k the average moves by max(1 − decay, 9 / (10 + k)) of the way, so that it forgets the first, random
    weights quickly. Diffusion is sampled with the average, whose pictures are much cleaner than the last weights'.
    Raises ValueError for a decay outside 0 … 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f"decay is {decay}; give 0 or more and less than 1, such as 0.999")

    def follow(average: Any, current: Any, updates: Tensor | int) -> None:
        torch._foreach_lerp_(average, current, max(1 - decay, 9 / (10 + int(updates))))

    return AveragedModel(model, multi_avg_fn=follow)
