"""Weights drawn by a seed, without a trace in anybody else's random numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def drawn_by(seed: int) -> Iterator[None]:
    """What the block draws on the CPU is drawn by `seed`; afterwards torch's random state is as it was.

    `torch.manual_seed` would do for the CPU, but it also seeds every graphics card and does not put that back.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
