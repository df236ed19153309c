"""Diffusion: add noise step by step, and learn to take it away (Ho, Jain and Abbeel 2020, arXiv:2006.11239)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

Denoiser = Callable[..., Tensor]
"""denoiser(noisy, t, condition): the predicted noise or velocity, in the shape of `noisy`."""

PREDICTIONS = ("epsilon", "v")


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """How much signal is left after each of T steps: `kept[t]` is ᾱ_t, for t = 0 … T − 1.

    Make one with `linear_schedule` or `cosine_schedule`. In 64 bits, because 1 − ᾱ has few digits left in 32 where ᾱ is
    close to 1. Raises ValueError unless ᾱ falls from step to step, between 1 and 0.
    """

    kept: Float[Tensor, " steps"]

    def __post_init__(self) -> None:
        if len(self.kept) == 0 or self.kept[0] >= 1 or self.kept[-1] <= 0 or (self.kept.diff() >= 0).any():
            raise ValueError("kept must fall from step to step, from below 1 to above 0: it is what noise leaves over")

    def __len__(self) -> int:
        return len(self.kept)

    def levels(self, t: Int[Tensor, " n"] | int, dtype: torch.dtype = torch.float32) -> tuple[Any, Any]:
        """√ᾱ_t and √(1 − ᾱ_t), the shares of signal and noise; t = −1 is the clean picture.

        Two numbers for one step, two tensors (n, 1, 1, 1) of type `dtype` for a step each.
        Raises ValueError for a step that is not in the schedule.
        """
        steps = torch.as_tensor(t)
        low, high = (int(steps.min()), int(steps.max())) if steps.numel() else (0, 0)
        if low < -1 or high >= len(self):
            raise ValueError(
                f"t goes from {low} to {high}; give steps 0 to {len(self) - 1}, or -1 for the clean picture"
            )
        kept = torch.cat([self.kept, self.kept.new_ones(1)])[steps.cpu()]  # the 1 is at place -1
        if isinstance(t, int):
            return math.sqrt(kept), math.sqrt(1 - kept)
        shares = torch.stack([kept.sqrt(), (1 - kept).sqrt()]).to(steps.device, dtype)
        return shares[0, :, None, None, None], shares[1, :, None, None, None]


def linear_schedule(steps: int = 1000, *, first: float = 1e-4, last: float = 0.02) -> NoiseSchedule:
    """β_t on a straight line; ᾱ_t is the product of all 1 − β up to t (Ho et al., Section 4 and Eq. 4)."""
    if steps < 1 or not 0 < first <= last < 1:
        raise ValueError(f"steps={steps}, first={first}, last={last}: give 1 step or more and 0 < first <= last < 1")
    beta = torch.linspace(first, last, steps, dtype=torch.float64)
    return NoiseSchedule((1 - beta).cumprod(dim=0))


def cosine_schedule(steps: int = 1000, *, offset: float | int = 0.008, largest: float = 0.999) -> NoiseSchedule:
    """ᾱ_t = f(t) / f(0), f(t) = cos²((t/T + s) / (1 + s) · π/2), with β at most `largest`.

    Nichol and Dhariwal 2021, arXiv:2102.09672, Eq. 17: information is lost more evenly than with the linear one.
    """
    if steps < 1 or offset < 0 or not 0 < largest < 1:
        raise ValueError(f"steps={steps}, offset={offset}, largest={largest}: give 1 or more, 0 or more, and 0 to 1")
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    f = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    beta = (1 - f[1:] / f[:-1]).clamp(max=largest)
    return NoiseSchedule((1 - beta).cumprod(dim=0))


def add_noise(
    clean: Float[Tensor, "n c h w"],
    t: Int[Tensor, " n"] | int,
    *,
    noise: Float[Tensor, "n c h w"],
    schedule: NoiseSchedule,
) -> Float[Tensor, "n c h w"]:
    """x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε: t steps of noise at once (Ho et al., Eq. 4)."""
    signal, spread = schedule.levels(t, clean.dtype)
    return signal * clean + spread * noise


def velocity(
    clean: Float[Tensor, "n c h w"],
    t: Int[Tensor, " n"] | int,
    *,
    noise: Float[Tensor, "n c h w"],
    schedule: NoiseSchedule,
) -> Float[Tensor, "n c h w"]:
    """v = √ᾱ_t ε − √(1 − ᾱ_t) x_0 (Salimans and Ho 2022, arXiv:2202.00512, Appendix D).

    Where hardly any signal is left, ε tells nothing about the picture; v still does.
    """
    signal, spread = schedule.levels(t, clean.dtype)
    return signal * noise - spread * clean


def clean_and_noise(
    noisy: Float[Tensor, "n c h w"],
    output: Float[Tensor, "n c h w"],
    t: Int[Tensor, " n"] | int,
    *,
    schedule: NoiseSchedule,
    predicts: str = "v",
) -> tuple[Float[Tensor, "n c h w"], Float[Tensor, "n c h w"]]:
    """The clean picture x_0 and the noise ε that a network's output stands for.

    predicts: "epsilon" (x_0 by Ho et al., Eq. 15) or "v" (Salimans and Ho, Appendix D: a rotation turned back).
    Raises ValueError for anything else.
    """
    check_prediction(predicts)
    signal, spread = schedule.levels(t, noisy.dtype)
    if predicts == "v":
        return signal * noisy - spread * output, spread * noisy + signal * output
    return (noisy - spread * output) / signal, output


def draw_steps(n: int, schedule: NoiseSchedule, *, generator: torch.Generator | None = None) -> Int[Tensor, " n"]:
    """n steps, uniform over the schedule but spread evenly within the batch, in random order.

    The same mean loss with less scatter (Kingma et al. 2021, arXiv:2107.00630, Appendix I.1).
    """
    places = (torch.randperm(n, generator=generator) + torch.rand(1, generator=generator)) / n
    return (places * len(schedule)).long().clamp(max=len(schedule) - 1)


def denoising_loss(
    denoiser: Denoiser,
    clean: Float[Tensor, "n c h w"],
    condition: Any,
    *,
    schedule: NoiseSchedule,
    predicts: str = "v",
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error of the predicted noise (Ho et al., Eq. 14), or of the predicted velocity.

    Steps and noise are drawn by `generator`, on the CPU. Raises ValueError for an unknown kind of prediction.
    """
    check_prediction(predicts)
    t = draw_steps(len(clean), schedule, generator=generator).to(clean.device)
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    noisy = add_noise(clean, t, noise=noise, schedule=schedule)
    target = noise if predicts == "epsilon" else velocity(clean, t, noise=noise, schedule=schedule)
    return F.mse_loss(denoiser(noisy, t, condition), target)


def check_prediction(predicts: str) -> None:
    """Raise ValueError for what no network here predicts."""
    if predicts not in PREDICTIONS:
        raise ValueError(f"predicts is {predicts!r}; choose from: {', '.join(PREDICTIONS)}")
