"""Several adapters on one backbone, by name (the setting of S-LoRA, Sheng et al. 2023, arXiv:2311.03285).

The adapter at work is part of the network; the others wait beside it, and are in neither its parameters nor its
state. Switching puts other modules in the same places: nothing is loaded, copied or computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from torch import Tensor, nn

from tlcourse.peft.linear import home

Thing = nn.Module | nn.Parameter
_SHELF = "_tlcourse_adapters"


@dataclass(frozen=True, eq=False)
class Place:
    """Where something stands in the network, and what stood there at first."""

    path: str
    parent: nn.Module
    attribute: str
    original: Any

    def put(self, thing: Thing) -> None:
        """Let `thing` stand here. Written to the register itself, because setattr takes several times as long."""
        if isinstance(thing, nn.Parameter):
            self.parent._parameters[self.attribute] = thing
        else:
            self.parent._modules[self.attribute] = thing


@dataclass(frozen=True)
class Recipe:
    """How an adapter was made: the method, and the settings that its file needs."""

    method: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Adapter:
    """An adapter: how it was made, and what it puts where."""

    recipe: Recipe
    layers: dict[Place, Any]


@dataclass(eq=False)
class Shelf:
    """The adapters of one model. `frozen` are the parameters that the first one froze."""

    adapters: dict[str, Adapter] = field(default_factory=dict)
    active: str | None = None
    merged: bool = False
    frozen: list[nn.Parameter] = field(default_factory=list)


def place(model: nn.Module, path: str) -> Place:
    """The place with this dotted name."""
    before, _, attribute = path.rpartition(".")
    parent = model.get_submodule(before)
    return Place(path, parent, attribute, getattr(parent, attribute))


def trainable_copies(model: nn.Module, paths: Iterable[str]) -> dict[Place, Thing]:
    """For each of these parameters, a copy of it that is trained in its place; what was shared stays shared."""
    places = [place(model, path) for path in paths]
    copies = {id(spot.original): nn.Parameter(spot.original.detach().clone()) for spot in places}
    return {spot: copies[id(spot.original)] for spot in places}


def shelf(model: nn.Module) -> Shelf:
    """The adapters of this model; a new shelf when there is none.

    Raises ValueError when the adapters were put on a part of this model, and names it.
    """
    found = model.__dict__.get(_SHELF)
    if found is None:
        for path, module in model.named_modules():
            if _SHELF in module.__dict__:
                raise ValueError(f"the adapters are on a part of this model; hand over that part: model.{path}")
        found = Shelf()
    return found


def adapters(model: nn.Module) -> tuple[str, ...]:
    """Names of the adapters that the model has, in the order in which they came."""
    return tuple(shelf(model).adapters)


def active(model: nn.Module) -> str | None:
    """Name of the adapter at work; None for the bare model."""
    return shelf(model).active


def chosen(model: nn.Module, name: str | None) -> Adapter:
    """The adapter of this name; of None, the one at work. Raises KeyError when there is none."""
    here = shelf(model)
    wanted = here.active if name is None else name
    if wanted is None:
        raise KeyError(f"no adapter is at work; give a name, one of {list(here.adapters)}")
    if wanted not in here.adapters:
        raise KeyError(f"no adapter {wanted!r} on this model; it has {list(here.adapters)}")
    return here.adapters[wanted]


def switch(model: nn.Module, name: str | None) -> None:
    """Let the adapter `name` work, or the bare model (None).

    Raises KeyError for an unknown name, ValueError while an adapter is merged.
    """
    here = shelf(model)
    if here.merged:
        raise ValueError(f"adapter {here.active!r} is merged into the weights; call unmerge(model) first")
    new = chosen(model, name) if name is not None else None
    if here.active is not None:
        _put_back(here.adapters[here.active])
    if new is not None:
        _follow(new)
        for spot, layer in new.layers.items():
            spot.put(layer)
    here.active = name


def own(thing: Thing) -> list[Tensor]:
    """What an adapter holds in one place, without the layer that it stands for."""
    if isinstance(thing, nn.Parameter):
        return [thing]
    named = chain(thing.named_parameters(), thing.named_buffers())
    return [tensor for name, tensor in named if not name.startswith("base.")]


def _put_back(adapter: Adapter) -> None:
    """The layers that were there before. Those that stood outside the model meanwhile follow it first."""
    for spot in adapter.layers:
        now = getattr(spot.parent, spot.attribute)
        if isinstance(spot.original, nn.Parameter):
            device, dtype = home(now)
            spot.original.data = spot.original.data.to(device=device, dtype=dtype)
        elif all(module is not spot.original for module in now.modules()):  # merged
            spot.original.to(*home(now)).train(now.training)
        spot.put(spot.original)


def _follow(adapter: Adapter) -> None:
    """Bring a waiting adapter to where the model went meanwhile: another device, type of number or mode."""
    first, layer = next(iter(adapter.layers.items()))
    moved = any((tensor.device, tensor.dtype) != home(first.original) for tensor in own(layer)[:1])
    for spot, layer in adapter.layers.items():
        if moved:
            device, dtype = home(spot.original)
            for tensor in own(layer):
                tensor.data = tensor.data.to(device=device, dtype=dtype)
        if isinstance(layer, nn.Module) and layer.training != spot.original.training:
            layer.train(spot.original.training)


@contextmanager
def bare(model: nn.Module, name: str) -> Iterator[None]:
    """The model without adapters while the block lasts, to add one called `name`; then as it was before.

    Raises ValueError when the name is taken or an adapter is merged.
    """
    here = shelf(model)
    if name in here.adapters:
        raise ValueError(
            f"the model has an adapter {name!r}; give another name=, or call remove(model, {name!r}) first"
        )
    before = here.active
    switch(model, None)
    try:
        yield
    finally:
        switch(model, before)


def attach(model: nn.Module, layers: Mapping[Place, Thing], *, recipe: Recipe, name: str) -> nn.Module:
    """Keep `layers` as the adapter `name` and let it work. The first one freezes the model."""
    here = shelf(model)
    if not here.adapters:
        here.frozen = [parameter for parameter in model.parameters() if parameter.requires_grad]
        for parameter in here.frozen:
            parameter.requires_grad_(False)
        model.__dict__[_SHELF] = here
    here.adapters[name] = Adapter(recipe, dict(layers))
    switch(model, name)
    return model


def remove(model: nn.Module, name: str | None = None) -> nn.Module:
    """Take the adapter `name` away, or all of them. With the last one the model is what it was: same layers, same
    weights, and trainable where it was. Returns the model. Raises KeyError for an unknown name.
    """
    here = shelf(model)
    names = list(here.adapters) if name is None else [name]
    for each in names:
        adapter = chosen(model, each)
        if here.active == each:
            _put_back(adapter)
            here.active, here.merged = None, False
        del here.adapters[each]
    if not here.adapters and _SHELF in model.__dict__:
        for parameter in here.frozen:
            parameter.requires_grad_(True)
        del model.__dict__[_SHELF]
    return model
