"""One line of the report of `tlcourse doctor`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of the report. `remedy` says what to do, empty when there is nothing to do."""

    topic: str
    state: Literal["ok", "note", "problem"]
    value: str
    remedy: str = ""


Check = Callable[[], Finding]
