"""Fold an adapter into the weights, so that it costs nothing at inference (LoRA, Section 4.1)."""

from __future__ import annotations

from torch import nn

from tlcourse.peft.linear import home
from tlcourse.peft.shelf import Shelf, shelf


def merge(model: nn.Module) -> nn.Module:
    """Put plain layers with the adapter at work folded into their weights in the place of its layers.

    The backbone's own layers wait beside the model with their weights as they are: `unmerge` is exact, and until then
    these layers are in memory twice. Returns the model.

    Raises ValueError when no adapter is at work or it is merged already, TypeError for one that is more than a change
    of weights. The model then stays as it was.
    """
    here, name = _at_work(model)
    if here.merged:
        raise ValueError(
            f"adapter {name!r} is merged already; a second time would add its change twice. Call unmerge first"
        )
    layers = here.adapters[name].layers
    for layer in layers.values():
        if not hasattr(layer, "merged"):
            raise TypeError(f"adapter {name!r} trains parameters of the model itself; there is nothing to merge")
    plain = {spot: layer.merged() for spot, layer in layers.items()}
    for spot, layer in plain.items():
        spot.put(layer)
    here.merged = True
    return model


def unmerge(model: nn.Module) -> nn.Module:
    """Put the adapter's layers back, with the very weights from before `merge`. Returns the model.

    Raises ValueError when nothing is merged.
    """
    here, name = _at_work(model)
    if not here.merged:
        raise ValueError(f"adapter {name!r} is not merged; there is nothing to undo")
    for spot, layer in here.adapters[name].layers.items():
        plain = getattr(spot.parent, spot.attribute)
        if home(plain) != home(spot.original):  # the model moved to another device or type meanwhile
            layer.to(*home(plain))
        spot.put(layer.train(plain.training))
    here.merged = False
    return model


def _at_work(model: nn.Module) -> tuple[Shelf, str]:
    here = shelf(model)
    if here.active is None:
        raise ValueError(f"no adapter is at work; switch(model, name) to one of {list(here.adapters)} first")
    return here, here.active
