"""Transfer learning in nineteen lessons.

`import tlcourse as tl` costs next to nothing: each room of the house loads when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tlcourse.lesson import start as start

__version__ = "0.1.0"

_ROOMS = (
    "assets",
    "data",
    "models",
    "training",
    "concepts",
    "finetuning",
    "peft",
    "foundation",
    "shift",
    "meta",
    "lesson",
    "checks",
    "recipes",
)


def __getattr__(name: str) -> Any:
    if name == "start":
        return import_module("tlcourse.lesson").start
    if name in _ROOMS:
        try:
            return import_module(f"tlcourse.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"tlcourse.{name}":
                raise
    raise AttributeError(f"module 'tlcourse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_ROOMS, "start"])
