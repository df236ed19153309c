"""Which processor, how many threads, which random numbers."""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def device() -> torch.device:
    """Where to compute: CUDA, then Apple's MPS, then the CPU; the environment variable TLCOURSE_DEVICE overrides.

    Raises ValueError when TLCOURSE_DEVICE names no device of this machine.
    """
    asked = os.environ.get("TLCOURSE_DEVICE")
    if not asked:
        best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(best)
    try:
        chosen = torch.device(asked)
        torch.empty(0, device=chosen)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(
            f'TLCOURSE_DEVICE is {asked!r}, which this machine lacks; use "cpu", "cuda", "cuda:1" or "mps", or unset it'
        ) from error
    return chosen


def is_main_process() -> bool:
    """Whether this process should write the results: the only one, or the first of `accelerate launch`."""
    return int(os.environ.get("RANK", "0")) == 0


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and PyTorch.

    Raises ValueError unless 0 <= seed < 2**32, NumPy's range.
    """
    check_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def check_seed(seed: int) -> None:
    """Raise ValueError unless 0 <= seed < 2**32."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed is {seed}; give a whole number from 0 to 2**32 - 1")


def threads(n: int | None = None) -> int:
    """Let PyTorch and NumPy's BLAS use `n` threads of the CPU; returns n.

    None: OMP_NUM_THREADS where it is set, else one for each processor that this process may use.
    Raises ValueError for fewer than one.
    """
    from threadpoolctl import threadpool_limits

    chosen = n if n is not None else int(os.environ.get("OMP_NUM_THREADS") or _processors())
    if chosen < 1:
        raise ValueError(f"n is {chosen}; at least one thread is needed")
    torch.set_num_threads(chosen)
    threadpool_limits(chosen)
    return chosen


def _processors() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
