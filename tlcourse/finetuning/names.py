"""Which parameters a pattern names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import nn


def named(model: nn.Module, patterns: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The parameters that each pattern names, in the order of the model.

    A pattern is the dotted name of a module or parameter and may hold shell wildcards: "head", "backbone.net.blocks.6",
    "*.bias", "layer.[0-3]". A module stands for everything below it.

    Raises ValueError for a pattern that names nothing, with the nearest names there are, and TypeError for a text
    where a list of patterns belongs.
    """
    if isinstance(patterns, str):
        raise TypeError(f"patterns is the text {patterns!r}; give a list: [{patterns!r}]")
    found = {
        pattern: tuple(
            name for name, _ in model.named_parameters() if any(fnmatchcase(p, pattern) for p in _path(name))
        )
        for pattern in patterns
    }
    for pattern, names in found.items():
        if not names:
            raise ValueError(
                f"pattern {pattern!r} names no parameter of {type(model).__name__}; {_near(model, pattern)}"
            )
    return found


def _path(name: str) -> list[str]:
    """A parameter's own name and those of the modules that hold it: "a", "a.b", "a.b.weight"."""
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


def _near(model: nn.Module, pattern: str) -> str:
    known = dict.fromkeys(path for name, _ in model.named_parameters() for path in _path(name))
    near = difflib.get_close_matches(pattern, known, n=3, cutoff=0.5)
    if near:
        return f"did you mean {', '.join(map(repr, near))}?"
    parts = dict.fromkeys(name.split(".")[0] for name in known)
    return f"its parts are {', '.join(parts)}" if parts else "it has no parameters"
