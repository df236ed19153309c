"""Learning-rate schedules: a factor for the learning rate at each step, for `fit(schedule=…)`."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import TracebackType

from torch.optim import Optimizer

Schedule = Callable[[int, int], float]
"""schedule(step, steps) is the factor of the learning rate at `step`, 0 … steps - 1."""


def cosine(step: int, steps: int) -> float:
    """From 1 down to nearly 0 along half a cosine (Loshchilov and Hutter 2017, arXiv:1608.03983, Eq. 5)."""
    return 0.5 * (1 + math.cos(math.pi * step / steps))


def warmup(share: float, fall: Schedule | None = None) -> Schedule:
    """Up in a straight line over the first `share` of the steps, then down in a straight line to nearly 0.

    The usual one for transformers (Devlin et al. 2019, arXiv:1810.04805, appendix A.2, with share = 0.1 or less).
    `fall`: another way down, a schedule over the steps that are left, such as `training.cosine`.
    Raises ValueError unless 0 <= share < 1.
    """
    if not 0 <= share < 1:
        raise ValueError(f"share is {share}; give the part of all steps that warms up, 0 or more and less than 1")

    def factor(step: int, steps: int) -> float:
        rising = math.ceil(share * steps)
        if step < rising:
            return (step + 1) / (rising + 1)
        if fall is not None:
            return fall(step - rising, steps - rising)
        return (steps - step) / (steps - rising)

    return factor


class LearningRates:
    """The rates of an optimizer's parameter groups, scaled by a schedule for as long as the `with` block lasts.

    Afterwards they are what they were, so that the same optimizer can go on with another schedule.
    """

    def __init__(self, optimizer: Optimizer, schedule: Schedule | None, steps: int) -> None:
        self.optimizer = optimizer  # not its groups: loading a state puts others in their place
        self.schedule = schedule
        self.steps = steps
        self.base = [group["lr"] for group in optimizer.param_groups]

    def set(self, step: int) -> None:
        """Scale the rates for `step`, counted from 0."""
        if self.schedule is not None:
            self._scale(self.schedule(step, self.steps))

    def __enter__(self) -> LearningRates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._scale(1.0)

    def _scale(self, factor: float) -> None:
        for group, rate in zip(self.optimizer.param_groups, self.base, strict=True):
            group["lr"] = rate * factor
