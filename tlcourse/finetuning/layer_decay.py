"""Layer-wise learning-rate decay, also called discriminative fine-tuning (Howard and Ruder 2018, arXiv:1801.06146,
Section 3.2; with one factor for all layers as in Clark et al. 2020, arXiv:2003.10555, and Bao et al. 2022,
arXiv:2106.08254)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn

from tlcourse.finetuning.depth import depths
from tlcourse.finetuning.names import named

NOTHING = "model has no parameter that requires a gradient; unfreeze some before training"


def layer_decay_groups(
    model: nn.Module, *, lr: float, decay: float, weight_decay: float = 0.01, stages: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for an optimizer: a parameter at depth d learns at lr · decay^(D − d).

    D is the depth of the head, which learns at `lr`; each stage below it is slower by the factor `decay`. Biases and
    scales (one dimension) have no weight decay. Frozen parameters are left out. For depths and `stages` see
    `finetuning.depths`. Each group also has its "depth" and the "names" of its parameters.

    Raises ValueError unless lr > 0 and 0 < decay <= 1, when nothing is trainable, or the stages are not known.
    """
    if not lr > 0 or not 0 < decay <= 1:
        raise ValueError(f"lr is {lr} and decay {decay}; expected lr > 0, and a factor 0 < decay <= 1 for each stage")
    depth = depths(model, stages=stages)
    head = max(depth.values())
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        d, plain = depth[name], parameter.ndim <= 1
        empty = {
            "params": [],
            "lr": lr * decay ** (head - d),
            "weight_decay": 0.0 if plain else weight_decay,
            "depth": d,
            "names": [],
        }
        group = groups.setdefault((d, plain), empty)
        group["params"].append(parameter)
        group["names"].append(name)
    if not groups:
        raise ValueError(NOTHING)
    return list(groups.values())


def parameter_groups(model: nn.Module, settings: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One group for each pattern, with its settings: {"backbone": {"lr": 1e-4}, "head": {"lr": 1e-3}}.

    For patterns see `finetuning.named`. Every trainable parameter must be named exactly once.
    Raises ValueError for one that is named twice or not at all, for a pattern that names nothing, and when nothing is
    trainable.
    """
    owner: dict[str, str] = {}
    for pattern, names in named(model, settings).items():
        for name in names:
            if name in owner:
                raise ValueError(
                    f"parameter {name!r} is named by {owner[name]!r} and by {pattern!r}; it would be updated twice, so "
                    "make the patterns exclude each other"
                )
            owner[name] = pattern
    training = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not training:
        raise ValueError(NOTHING)
    if left := [name for name in training if name not in owner]:
        raise ValueError(f"no pattern names {left[0]!r} (and {len(left) - 1} more); add one for them, or freeze them")
    groups = {pattern: [training[n] for n in training if owner[n] == pattern] for pattern in settings}
    return [{"params": params, **settings[pattern]} for pattern, params in groups.items() if params]
