"""Freezing: which weights stay as they are.

A frozen layer must not change what it computes. For most layers it is enough to train none of their weights. BatchNorm
(Ioffe and Szegedy 2015, arXiv:1502.03167) also has running statistics, which every forward pass in training mode moves,
and in that mode it does not even use them: it normalises by the statistics of the batch at hand. So a frozen BatchNorm
has to stay in evaluation mode, whatever the rest of the network does.
"""

from __future__ import annotations

from functools import partial

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tlcourse.finetuning.names import named


def freeze(model: nn.Module, patterns: list[str] | tuple[str, ...] = ("*",)) -> tuple[str, ...]:
    """Stop the training of all parameters that `patterns` name; returns the names of those that were still training.

    BatchNorm layers without a trainable parameter stay in evaluation mode from here on, also after `model.train()`;
    one that has no parameters at all (affine=False) goes with the module that holds it.
    For patterns see `finetuning.named`; the default is everything. Raises ValueError for a pattern that names nothing.
    """
    return _set(model, patterns, trainable=False)


def unfreeze(model: nn.Module, patterns: list[str] | tuple[str, ...] = ("*",)) -> tuple[str, ...]:
    """Let all parameters that `patterns` name train again; returns the names of those that were frozen."""
    return _set(model, patterns, trainable=True)


def train_only(model: nn.Module, patterns: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    """Freeze everything but what `patterns` name; returns the names of the parameters that train.

    Raises ValueError for a pattern that names nothing, or when no pattern is given; the model is then as it was.
    """
    names = list(dict.fromkeys(name for found in named(model, patterns).values() for name in found))
    if not names:
        raise ValueError("patterns is empty, so nothing would be trained; name at least the head, for example ['head']")
    freeze(model)
    unfreeze(model, patterns)
    return tuple(names)


def trainable(model: nn.Module) -> dict[str, int]:
    """Number of trainable weights by parameter name."""
    return {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}


def _set(model: nn.Module, patterns: list[str] | tuple[str, ...], *, trainable: bool) -> tuple[str, ...]:
    wanted = {name for found in named(model, patterns).values() for name in found}
    changed = [(name, p) for name, p in model.named_parameters() if name in wanted and p.requires_grad != trainable]
    for _, parameter in changed:
        parameter.requires_grad_(trainable)
    hold_batch_norms(model)
    return tuple(name for name, _ in changed)


def hold_batch_norms(model: nn.Module) -> None:
    """Keep each frozen BatchNorm in evaluation mode, and let go of the others."""
    for path, module in model.named_modules():
        if not isinstance(module, _BatchNorm):
            continue
        if not any(parameter.requires_grad for parameter in _parameters_at(model, path)):
            module.__dict__["train"] = partial(stay_in_evaluation, module)  # a partial can be copied and pickled
            module.eval()
        elif module.__dict__.pop("train", None) is not None:
            module.train(model.training)


def _parameters_at(model: nn.Module, path: str) -> list[nn.Parameter]:
    """Those of the module at `path` or, where it has none, of the nearest module around it that has some."""
    found = list(model.get_submodule(path).parameters())
    return found if found or not path else _parameters_at(model, path.rpartition(".")[0])


def stay_in_evaluation(module: nn.Module, mode: bool = True) -> nn.Module:
    """In place of a frozen layer's `train`, which `model.train()` calls on every layer."""
    return nn.Module.train(module, False)
