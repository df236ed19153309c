"""Checks of the loaders' arguments, so that all give the same helpful errors."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def pixels(size: object, low: int, high: int) -> int:
    """Return `size` if it is a whole number from low to high; raises ValueError."""
    if not isinstance(size, int) or not low <= size <= high:
        raise ValueError(f"size={size!r}: choose a whole number of pixels, {low} … {high}")
    return size


def one_of(argument: str, value: object, allowed: Iterable[str]) -> str:
    """Return `value` if it is one of the allowed names.

    Raises KeyError naming the argument, the near matches and all allowed names.
    """
    names = tuple(allowed)
    if isinstance(value, str) and value in names:
        return value
    near = get_close_matches(str(value), names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise KeyError(f"{argument}={value!r} is unknown.{hint} Choose from: {', '.join(names)}.")
