"""Batches whose rows go through different adapters, for a server with many users (the idea of S-LoRA, Sheng et al.
2023, arXiv:2311.03285, without its kernels)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from tlcourse.peft.inject import AdapterLayer
from tlcourse.peft.linear import home, is_linear
from tlcourse.peft.shelf import Place, active, chosen, switch


class RowWise(nn.Module):
    """Each row of a batch through the layer of its own adapter. `rows` are the rows of each layer."""

    def __init__(self, layers: Sequence[nn.Module], rows: Sequence[Sequence[int]]) -> None:
        super().__init__()
        device, _ = home(layers[0])
        self.layers = nn.ModuleList(layers)
        self.rows = [torch.tensor(each, device=device) for each in rows]
        self.back = torch.cat(self.rows).argsort()

    def forward(self, x: Float[Tensor, "n *rest in"]) -> Float[Tensor, "n *rest out"]:
        """Outputs in the order of the inputs."""
        if len(x) != len(self.back):
            raise ValueError(
                f"the batch has {len(x)} rows and {len(self.back)} adapters were named; name one for each row"
            )
        parts = [layer(x[rows]) for layer, rows in zip(self.layers, self.rows, strict=True)]
        return torch.cat(parts)[self.back]


@contextmanager
def mixed(model: nn.Module, names: Sequence[str | None]) -> Iterator[nn.Module]:
    """While the block lasts, row i of every batch goes through the adapter names[i] (None: through the bare model).

    Every row gets what its adapter alone would give it. Raises KeyError for an unknown name, TypeError for an adapter
    that is not made of single layers (prompt, prefix, BitFit), ValueError without names or while an adapter is merged.
    """
    if isinstance(names, str) or len(names) == 0:
        raise ValueError("names must be a list with one adapter for each row of the batch")
    rows = {name: [i for i, each in enumerate(names) if each == name] for name in dict.fromkeys(names)}
    before = active(model)
    layers = _by_place(model, [name for name in rows if name is not None])
    for name in (*rows, None):  # each adapter in turn, so that all come to where the model is
        switch(model, name)
    try:
        for spot, own in layers.values():
            groups: dict[nn.Module, list[int]] = {}
            for name, numbers in rows.items():
                groups.setdefault(own.get(name, spot.original), []).extend(numbers)
            spot.put(RowWise(list(groups), list(groups.values())))
        yield model
    finally:
        for spot, _ in layers.values():
            spot.put(spot.original)
        switch(model, before)


def _by_place(
    model: nn.Module, names: Sequence[str]
) -> dict[tuple[int, str], tuple[Place, dict[str | None, nn.Module]]]:
    """For each place that any of the adapters takes, its layer by the name of the adapter."""
    found: dict[tuple[int, str], tuple[Place, dict[str | None, nn.Module]]] = {}
    for name in names:
        for spot, layer in chosen(model, name).layers.items():
            if not (isinstance(layer, AdapterLayer) and is_linear(layer.base)):
                raise TypeError(f"adapter {name!r} is not made of single layers; batches cannot mix it with others")
            found.setdefault((id(spot.parent), spot.attribute), (spot, {}))[1][name] = layer
    return found
