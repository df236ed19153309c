"""Gradual unfreezing (Howard and Ruder 2018, arXiv:1801.06146, Section 3.3)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from tlcourse import training
from tlcourse.finetuning.depth import depths
from tlcourse.finetuning.freezing import freeze, unfreeze
from tlcourse.training.schedules import Schedule


def unfreezing_plan(model: nn.Module, *, phases: int, stages: Sequence[str] | None = None) -> list[list[str]]:
    """Names of the parameters that join the training in each phase: the head first, the stages nearest the input last.

    With fewer phases than stages, phases after the first take several stages at once, so that all train in the end.
    Raises ValueError for fewer than two phases, or more than there are stages and a head.
    """
    depth = depths(model, stages=stages)
    levels = sorted(set(depth.values()), reverse=True)
    if not 2 <= phases <= len(levels):
        raise ValueError(
            f"phases is {phases}; give 2 or more, and at most {len(levels)}: one for each stage and the head"
        )
    below = torch.tensor(levels[1:]).tensor_split(phases - 1)
    parts = [levels[:1], *(part.tolist() for part in below)]
    return [[name for name, d in depth.items() if d in part] for part in parts]


def gradual_unfreezing(
    model: nn.Module,
    dataset: Any,
    *,
    steps: int,
    lr: float,
    phases: int = 4,
    stages: Sequence[str] | None = None,
    batch_size: int = 32,
    weight_decay: float = 0.01,
    schedule: Schedule | None = None,
    augment: Callable[[Any], Any] | None = None,
    clip: float | None = None,
    train_mode: bool = True,
    seed: int = 0,
) -> list[training.History]:
    """Train the head alone, then unfreeze stage after stage from the top; `steps` are shared between the phases.

    All phases use ONE optimizer: a stage that joins is a new parameter group. A new optimizer in each phase would
    forget the step sizes that Adam has learned for the head, and begin each phase with a jolt.
    The other arguments are those of `training.fit`; a schedule starts anew in each phase, as in the paper.

    Raises ValueError for fewer steps than phases, and as `unfreezing_plan` does.
    """
    plan = unfreezing_plan(model, phases=phases, stages=stages)
    if steps < phases:
        raise ValueError(f"steps is {steps} for {phases} phases; give each at least one")
    parameters = dict(model.named_parameters())
    freeze(model)
    optimizer: torch.optim.Optimizer | None = None
    histories = []
    for phase, names in enumerate(plan):
        unfreeze(model, names)
        group = {"params": [parameters[name] for name in names]}
        if optimizer is None:
            optimizer = torch.optim.AdamW([group], lr=lr, weight_decay=weight_decay, fused=True)
        else:
            optimizer.add_param_group(group)
        histories.append(
            training.fit(
                model,
                dataset,
                steps=steps * (phase + 1) // phases - steps * phase // phases,
                optimizer=optimizer,
                batch_size=batch_size,
                schedule=schedule,
                augment=augment,
                clip=clip,
                train_mode=train_mode,
                seed=seed + phase,
            )
        )
    return histories
