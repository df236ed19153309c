"""How two sides are timed."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def medians(*runs: Callable[[], object], rounds: int) -> list[float]:
    """Median seconds of a run of each. The runs alternate, each round in the opposite order of the one before, so that
    a machine that slows down slows all of them."""
    taken: list[list[float]] = [[] for _ in runs]
    for k in range(rounds):
        for i in range(len(runs))[:: 1 if k % 2 else -1]:
            begun = time.perf_counter()
            runs[i]()
            taken[i].append(time.perf_counter() - begun)
    return [median(seconds) for seconds in taken]
