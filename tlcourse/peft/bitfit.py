"""BitFit: train the bias terms and nothing else (Ben Zaken, Ravfogel and Goldberg 2021, arXiv:2106.10199)."""

from __future__ import annotations

from torch import nn

from tlcourse.peft.inject import Targets, find
from tlcourse.peft.shelf import Recipe, attach, bare, trainable_copies


def has_bias(module: nn.Module) -> bool:
    """Whether the module has a bias of its own."""
    return isinstance(getattr(module, "bias", None), nn.Parameter)


def inject_bitfit(model: nn.Module, targets: Targets = "*", *, name: str = "default") -> nn.Module:
    """Freeze the model, and let copies of its biases be trained in their place (Section 3).

    `targets` are patterns of the layers whose biases are trained, normalisation layers among them (see `find`); the
    paper's smaller variant takes those of the queries and of the first feed-forward layer.

    Returns the model. Raises ValueError for a pattern that matches no layer with a bias.
    """
    with bare(model, name):
        layers = find(model, targets, kind=has_bias, called="layer with a bias")
        copies = trainable_copies(model, [f"{layer.path}.bias" for layer in layers])
    return attach(model, copies, recipe=Recipe("bitfit", {}), name=name)
