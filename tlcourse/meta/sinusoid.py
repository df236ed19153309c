"""Sinusoids: the regression tasks of MAML (Finn, Abbeel and Levine 2017, arXiv:1703.03400, Section 5.1)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

AMPLITUDES, PHASES, INPUTS = (0.1, 5.0), (0.0, math.pi), (-5.0, 5.0)


@dataclass(frozen=True, eq=False)
class Sinusoids:
    """Tasks y = amplitude · sin(x − phase), one for each entry."""

    amplitude: Float[Tensor, " tasks"]
    phase: Float[Tensor, " tasks"]

    def __len__(self) -> int:
        return len(self.amplitude)

    def at(self, inputs: Float[Tensor, "tasks n 1"]) -> Float[Tensor, "tasks n 1"]:
        """The values of each task at its inputs."""
        return self.amplitude[:, None, None] * torch.sin(inputs - self.phase[:, None, None])

    def points(
        self, n: int, *, generator: torch.Generator
    ) -> tuple[Float[Tensor, "tasks n 1"], Float[Tensor, "tasks n 1"]]:
        """n examples of each task: inputs drawn uniformly, and their values. The generator is on the CPU."""
        if n < 1:
            raise ValueError(f"n is {n}; give 1 point or more")
        inputs = _uniform((len(self), n, 1), INPUTS, generator).to(self.amplitude.device)
        return inputs, self.at(inputs)


def sample_sinusoids(tasks: int, *, generator: torch.Generator, device: torch.device | str = "cpu") -> Sinusoids:
    """Tasks with an amplitude from 0.1 to 5 and a phase from 0 to π, both uniform. The generator is on the CPU."""
    if tasks < 1:
        raise ValueError(f"tasks is {tasks}; give 1 or more")
    amplitude, phase = (_uniform((tasks,), bounds, generator).to(device) for bounds in (AMPLITUDES, PHASES))
    return Sinusoids(amplitude, phase)


def _uniform(shape: tuple[int, ...], bounds: tuple[float, float], generator: torch.Generator) -> Tensor:
    low, high = bounds
    return low + (high - low) * torch.rand(shape, generator=generator)
