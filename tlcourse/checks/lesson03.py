"""Checks of lesson 03: freezing, learning rates by depth, gradual unfreezing, L2-SP."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from tlcourse.checks import frozen, penalties, unfreezing
from tlcourse.checks.base import CheckFailed, check
from tlcourse.checks.expect import expect

Answer = Callable[..., Any]
ELSEWHERE = 0.123  # the optimizer's own rate, for groups that name none


@check
def freeze_backbone(answer: Answer) -> None:
    """after any model.train() the backbone computes the same, with the same statistics, and the head learns"""
    frozen.check_frozen(answer)


@check
def layer_decay_groups(answer: Answer) -> None:
    """the head at lr, each stage below it slower by the factor decay; every trainable weight once, no frozen one"""
    for n in (4, 5):
        stages = _stages(n)
        groups = _groups(answer, stages, "layer_decay_groups(stages, lr, decay)")
        _check_members(groups, stages)
        _check_rates(groups, stages)
    stages = _stages(5)
    stages[1].requires_grad_(False)
    stages[3][0].requires_grad_(False)
    asked = [weight.requires_grad for stage in stages for weight in stage.parameters()]
    groups = _groups(answer, stages, "the same with stages[1], and the first layer of stages[3], frozen")
    expect(
        asked == [weight.requires_grad for stage in stages for weight in stage.parameters()],
        tried=groups.tried,
        got="requires_grad of some weights has changed",
        misconception="These groups only sort weights. What is frozen stays frozen, and what trains goes on.",
    )
    _check_members(groups, stages)
    _check_rates(groups, stages)


class _Groups:
    """What an optimizer makes of an answer's groups."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, decay: float, tried: str) -> None:
        self.lr, self.decay, self.tried = lr, decay, tried
        self.once = any(iter(group["params"]) is group["params"] for group in groups)
        try:
            with warnings.catch_warnings(action="ignore"):  # of weights listed twice, which are looked at below
                self.used = torch.optim.SGD(groups, lr=ELSEWHERE).param_groups
        except ValueError as error:
            why = "`parameters()` goes through nested layers already. Each weight belongs to one group, once."
            if "more than one parameter group" not in str(error):
                why = "An optimizer wants the weights themselves, as `stage.parameters()` gives them."
            got = f"torch.optim.SGD refuses the groups: {error}"
            raise CheckFailed(tried=tried, got=got, misconception=why) from None


def _stages(n: int) -> list[nn.Sequential]:
    """Stages with a layer, a normalisation and a nested layer each; the last one is the head."""
    inner = [nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Sequential(nn.Linear(5, 4))) for _ in range(n - 1)]
    return [*inner, nn.Sequential(nn.Linear(4, 3))]


def _groups(answer: Answer, stages: list[nn.Sequential], what: str) -> _Groups:
    lr, decay = 0.01 + 0.05 * float(torch.rand(())), 0.4 + 0.35 * float(torch.rand(()))
    tried = f"{what}: {len(stages)} stages, lr={lr:.4f}, decay={decay:.3f}"
    result = answer(stages, lr, decay)
    hint = "Is the `return` missing?" if result is None else "Return a list with a dict for each group."
    fits = isinstance(result, Iterable) and not isinstance(result, (dict, Tensor))
    expect(fits, tried=tried, got=type(result).__name__, misconception=hint)
    groups = list(result)
    for group in groups:
        fits = isinstance(group, dict) and isinstance(group.get("params"), Iterable)
        expect(
            fits, tried=tried, got=f"a group that is {group!r:.40}", misconception='A group is a dict with "params".'
        )
        rate = 'Without "lr" a group learns at the rate of the optimizer, whatever its depth.'
        expect("lr" in group, tried=tried, got=f"a group with only {', '.join(map(repr, group))}", misconception=rate)
    expect(groups, tried=tried, got="no group", misconception="There should be one for each stage that trains.")
    return _Groups(groups, lr, decay, tried)


def _check_members(groups: _Groups, stages: list[nn.Sequential]) -> None:
    """Every trainable weight is in a group, once, and nothing else is."""
    names = {weight: f"stages[{i}].{n}" for i, stage in enumerate(stages) for n, weight in stage.named_parameters()}
    found = list(chain.from_iterable(group["params"] for group in groups.used))
    foreign = "These are other tensors: copies, or `.data`. An optimizer moves only what it was given."
    asleep = [names[weight] for weight in found if weight in names and not weight.requires_grad]
    missing = [name for weight, name in names.items() if weight.requires_grad and not any(weight is w for w in found)]
    if groups.once:
        why = "A generator can be gone through once. What `any`, `list` or a first group has taken is gone: use a list."
    elif all(name.endswith("bias") for name in missing):
        why = "All biases are missing. An optimizer moves only what it is given, so they would never learn."
    else:
        why = "An optimizer moves only what it is given. `stage.parameters()` goes through nested layers too."
    twice = "`parameters()` goes through nested layers already, so that these weights would be updated twice."
    for bad, got, misconception in (
        ([w for w in found if w not in names], "tensors that are no weights of the stages", foreign),
        (asleep, f"frozen weights: {_some(asleep)}", "Keep only those whose requires_grad is True."),
        (missing, f"no group has {_some(missing)}", why),
        ([0] * (len(found) - len(set(found))), "weights that are listed twice", twice),
    ):
        expect(not bad, tried=groups.tried, got=got, misconception=misconception)


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _check_rates(groups: _Groups, stages: list[nn.Sequential]) -> None:
    """Each stage's rate is lr times decay to the number of stages above it."""
    lr, decay, top = groups.lr, groups.decay, len(stages) - 1
    rate = {weight: float(group["lr"]) for group in groups.used for weight in group["params"]}
    trains = [i for i, stage in enumerate(stages) if any(weight.requires_grad for weight in stage.parameters())]
    found = {i: sorted({rate[weight] for weight in stages[i].parameters() if weight.requires_grad}) for i in trains}
    for i, several in found.items():
        got = f"stages[{i}] learns at {len(several)} rates"
        depth = "All weights of a stage share a depth, and so a rate. Count stages, not layers or weights."
        expect(several[-1] - several[0] < 1e-9, tried=groups.tried, got=got, misconception=depth)
    rank = {i: place for place, i in enumerate(trains)}
    linear = "Every stage down multiplies by decay once more: a power of it, decay ** k, and not a multiple."
    shapes: list[tuple[Callable[[int], float], str]] = [
        (lambda i: lr * decay**i, "Reversed: here the input is the fastest. What is near the input is most general."),
        (lambda i: lr * decay ** (i + 1), "Reversed: here the input is the fastest, and even it is slower than lr."),
        (lambda i: lr, "All stages learn at lr: decay has no effect."),
        (
            lambda i: lr * decay ** (top + 1 - i),
            "Once too often. The head itself learns at lr, at decay to the power 0.",
        ),
        (
            lambda i: lr * decay ** max(0, top - 1 - i),
            "Once too few: the stage right below the head is slower already.",
        ),
        (lambda i: lr * (1 if i == top else decay), "Two rates only. Every stage down is slower once more."),
        (lambda i: lr / decay ** (top - i), "You divide by decay, and the stages get faster towards the input."),
        (lambda i: decay ** (top - i), "lr is missing: these are the factors alone."),
        (
            lambda i: lr * decay ** (len(trains) - 1 - rank[i]),
            "You count only stages that train. A frozen one has no group, but it still is a step of depth.",
        ),
        *((shape, linear) for shape in _linear(lr, decay, top)),
    ]
    right = {i: lr * decay ** (top - i) for i in trains}
    known = [why for shape, why in shapes if all(abs(found[i][0] - shape(i)) < 1e-6 * lr for i in trains)]
    expect(
        all(abs(found[i][0] - right[i]) < 1e-6 * lr for i in trains),
        tried=groups.tried,
        got=f"rates from shallow to deep: {', '.join(f'{found[i][0]:.3g}' for i in trains)}",
        misconception=known[0] if known else "lr · decay to the power of the number of stages above.",
    )


def _linear(lr: float, decay: float, top: int) -> list[Callable[[int], float]]:
    """Rates that fall in a straight line, as people write them."""
    return [
        lambda i: lr * (1 - (1 - decay) * (top - i)),
        lambda i: lr * (1 if i == top else decay * (top - i)),
        lambda i: lr * (1 if i == top else decay / (top - i)),
        lambda i: lr * decay * (top - i),
        lambda i: lr * decay * i,
        lambda i: lr * (i + 1) / (top + 1),
        lambda i: lr - decay * lr * (top - i) / (top + 1),
    ]


@check
def gradual(answer: Answer) -> None:
    """the head first, then a stage more in each phase, and Adam remembers those that were there before"""
    unfreezing.check_gradual(answer)


@check
def l2_sp(answer: Answer) -> None:
    """the backbone is held to its own start, the head to zero, at each call anew and with gradients"""
    penalties.check_l2_sp(answer)
