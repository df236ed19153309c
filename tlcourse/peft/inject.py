"""Find layers by name and put adapters in their place: the one way that all methods of this part use.

An adapter layer holds the layer that it stands for as `base` and never changes it. Everything else follows: taking an
adapter away puts the very same layers back, and several adapters share one backbone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

from torch import nn

from tlcourse.peft.linear import is_linear
from tlcourse.peft.shelf import Place, Recipe, attach, bare, place

Targets = str | Sequence[str]
"""Patterns of dotted names, see `find`."""


class AdapterLayer(nn.Module):
    """A layer with something small to learn beside it. `base` is the layer in whose place this one stands."""

    base: Any

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base = base

    def merged(self) -> nn.Module:
        """A plain layer that computes the same. Raises TypeError when there is none."""
        raise TypeError(f"{type(self).__name__} computes more than one linear layer can; it cannot be merged")


def find(
    model: nn.Module, targets: Targets, *, kind: Callable[[nn.Module], bool] = is_linear, called: str = "linear layer"
) -> list[Place]:
    """The places of the layers whose names match, in the order of the model.

    A pattern matches a dotted name, or the end of one after a dot, with * and ? as in file names: "q_proj" and
    "layers.[01].*.q_proj" and "*". A pattern that begins with ! takes its matches away: ("*", "!lm_head").

    Raises ValueError when a pattern matches no layer of this `kind`, with the names that come near, or when the model
    is a part of one that has adapters.
    """
    patterns = [targets] if isinstance(targets, str) else list(targets)
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    if not wanted:
        raise ValueError(f'targets are {patterns}; give at least one pattern of names to match, such as "q_proj"')
    modules = dict(model.named_modules(remove_duplicate=False))
    inside = next((name for name, module in modules.items() if isinstance(module, AdapterLayer)), None)
    if inside is not None:
        raise ValueError(f"{inside or 'the model'} is an adapter already; hand over the model that it was put on")
    names = [name for name, module in modules.items() if name and kind(module)]
    if not names:
        raise ValueError(f"{type(model).__name__} has no {called}")
    for pattern in patterns:
        if not any(_matches(name, pattern.removeprefix("!")) for name in names):
            raise ValueError(_no_match(pattern, names, list(modules), called))
    chosen = [
        name
        for name in names
        if any(_matches(name, pattern) for pattern in wanted)
        and not any(_matches(name, pattern[1:]) for pattern in patterns if pattern.startswith("!"))
    ]
    if not chosen:
        raise ValueError(f"targets {patterns} take away every {called} that they match; drop a pattern with !")
    return [place(model, name) for name in chosen]


def _matches(name: str, pattern: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"*.{pattern}")


def _no_match(pattern: str, names: list[str], everything: list[str], called: str) -> str:
    """What to say of a pattern that matches nothing: why, and which names come near."""
    inside = [name for name in everything if name and _matches(name, pattern.removeprefix("!"))]
    if inside:
        below = sorted({name.removeprefix(f"{inside[0]}.") for name in names if name.startswith(f"{inside[0]}.")})
        hint = f"inside it there are: {', '.join(below[:8])}" if below else "name another one"
        return f"target {pattern!r} matches {inside[0]!r}, which is no {called}; {hint}"
    leaves = list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in names))
    near = get_close_matches(pattern, leaves, n=5, cutoff=0.5) or get_close_matches(pattern, names, n=3, cutoff=0.5)
    known = f"near it: {', '.join(near)}" if near else f"the names end in: {', '.join(leaves[:12])}"
    return f"target {pattern!r} matches no {called}; {known}"


def inject(
    model: nn.Module,
    targets: Targets,
    make: Callable[[str, nn.Module], nn.Module],
    *,
    recipe: Recipe,
    name: str,
) -> nn.Module:
    """Put make(name of the layer, layer) in the place of every linear layer that matches, as the adapter `name`.

    The first adapter freezes the model. When anything is wrong the model stays as it was. Returns the model.
    """
    with bare(model, name):
        places = find(model, targets)
        made: dict[int, nn.Module] = {}  # by the layer, so that one that stands in two places gets one adapter
        for spot in places:
            if id(spot.original) in made:
                continue
            try:
                made[id(spot.original)] = make(spot.path, spot.original)
            except ValueError as error:
                raise ValueError(f"{spot.path}: {error}") from error
        layers = {spot: made[id(spot.original)] for spot in places}
    return attach(model, layers, recipe=recipe, name=name)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """How many numbers are trained, and how many there are, each counted once.

    Adapters that are not at work count in neither; the weights of a quantised layer count as what they stand for.
    """
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    packed = sum(getattr(module, "packed_parameters", 0) for module in model.modules())
    return sum(n for n, trained in counts if trained), sum(n for n, _ in counts) + packed
