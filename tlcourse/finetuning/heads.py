"""A new last layer for new classes."""

from __future__ import annotations

from typing import Any

from torch import nn

from tlcourse.models.drawing import drawn_by

HEADS = ("head", "classifier", "fc", "heads.head", "score")
"""Where the classifiers of this course, timm, torchvision and transformers keep their last linear layer."""


def head_of(model: nn.Module, *, path: str | None = None) -> tuple[str, nn.Linear]:
    """Dotted name and module of the last linear layer: the one at `path`, else the first of HEADS that there is.

    Raises ValueError when there is no linear layer.
    """
    for name in (path,) if path is not None else HEADS:
        try:
            module = model.get_submodule(name)
        except AttributeError:
            continue
        if name and isinstance(module, nn.Linear):
            return name, module
    linear = [name for name, module in model.named_modules() if name and isinstance(module, nn.Linear)]
    raise ValueError(
        f"{type(model).__name__} has no linear layer at {path or ' or '.join(HEADS)}; give path=, the dotted name of "
        f"its last layer ({', '.join(map(repr, linear[-2:])) or 'it holds no linear layer at all'})"
    )


def replace_head(model: nn.Module, n_classes: int, *, path: str | None = None, seed: int = 0) -> nn.Linear:
    """Put a new linear layer with `n_classes` outputs in place of the last one, and return it.

    Width, bias, device and type follow the old layer; the weights are PyTorch's default, drawn by `seed`. What the
    model or its config say about the number of classes is set too.

    Raises ValueError for fewer than two classes, or where no last layer is found.
    """
    if n_classes < 2:
        raise ValueError(f"n_classes is {n_classes}; a classifier needs at least 2")
    name, old = head_of(model, path=path)
    with drawn_by(seed):
        new = nn.Linear(old.in_features, n_classes, bias=old.bias is not None)
    new.to(old.weight.device, old.weight.dtype)
    owner, _, leaf = name.rpartition(".")
    setattr(model.get_submodule(owner), leaf, new)
    for thing in (model, getattr(model, "config", None)):
        for count in ("num_labels", "num_classes"):
            if isinstance(getattr(thing, count, None), int):
                setattr(thing, count, n_classes)
    return new


def check_head(model: nn.Module, dataset: Any) -> None:
    """Raise ValueError unless the head has one output for each class of `dataset`."""
    _, head = head_of(model)
    if head.out_features != dataset.n_classes:
        raise ValueError(
            f"the head has {head.out_features} outputs, but {dataset.name} has {dataset.n_classes} classes; "
            f"call finetuning.replace_head(model, {dataset.n_classes}) first"
        )
