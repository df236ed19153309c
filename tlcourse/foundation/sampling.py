"""From noise to pictures: the steps of DDPM and DDIM, and classifier-free guidance."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from tlcourse.foundation.condition import Condition
from tlcourse.foundation.diffusion import Denoiser, NoiseSchedule, clean_and_noise


def ddpm_step(
    noisy: Float[Tensor, "n c h w"],
    output: Float[Tensor, "n c h w"],
    *,
    t: int,
    previous: int,
    schedule: NoiseSchedule,
    noise: Float[Tensor, "n c h w"],
    predicts: str = "v",
) -> Float[Tensor, "n c h w"]:
    """Draw x at step `previous` from the posterior given x_t and x_0 (Ho et al. 2020, arXiv:2006.11239, Eqs. 6 and 7).

    With previous = t − 1 it is one ancestral step (Algorithm 2); a longer way skips the steps between. −1 is clean.
    """
    check_direction(t, previous)
    clean, _ = clean_and_noise(noisy, output, t, schedule=schedule, predicts=predicts)
    signal, spread = schedule.levels(t)
    signal_next, spread_next = schedule.levels(previous)
    alpha = (signal / signal_next) ** 2
    mean = (signal_next * (1 - alpha) * clean + alpha**0.5 * spread_next**2 * noisy) / spread**2
    return mean + ((1 - alpha) * spread_next**2 / spread**2) ** 0.5 * noise


def ddim_step(
    noisy: Float[Tensor, "n c h w"],
    output: Float[Tensor, "n c h w"],
    *,
    t: int,
    previous: int,
    schedule: NoiseSchedule,
    predicts: str = "v",
    eta: float | int = 0.0,
    noise: Float[Tensor, "n c h w"] | None = None,
) -> Float[Tensor, "n c h w"]:
    """From x_t to x at step `previous` without chance (Song, Meng and Ermon 2021, arXiv:2010.02502, Eq. 12).

    The picture that the network sees behind the noise, with the noise that it sees put back, but less of it.
    eta: share of fresh noise (Eq. 16), 0 for DDIM and 1 for DDPM. Raises ValueError outside 0 … 1, and above 0 without
    `noise`.
    """
    check_direction(t, previous)
    clean, epsilon = clean_and_noise(noisy, output, t, schedule=schedule, predicts=predicts)
    signal, spread = schedule.levels(t)
    signal_next, spread_next = schedule.levels(previous)
    if not 0 <= eta <= 1 or (eta > 0 and noise is None):
        raise ValueError(f"eta is {eta}; give 0, or a share up to 1 together with noise=, drawn anew for each step")
    if eta == 0:
        return signal_next * clean + spread_next * epsilon
    sigma = eta * (spread_next / spread) * (1 - (signal / signal_next) ** 2) ** 0.5
    return signal_next * clean + (spread_next**2 - sigma**2) ** 0.5 * epsilon + sigma * noise


def guided(
    conditional: Float[Tensor, "n c h w"], unconditional: Float[Tensor, "n c h w"], *, weight: float | int
) -> Float[Tensor, "n c h w"]:
    """unconditional + weight · (conditional − unconditional): 0 asks for nothing, 1 is plain, above 1 exaggerates.

    Ho and Salimans 2022, arXiv:2207.12598, Eq. 6, whose w is weight − 1. Raises ValueError for a weight below 0.
    """
    check_weight(weight)
    return unconditional + weight * (conditional - unconditional)


def sampling_steps(schedule: NoiseSchedule, steps: int) -> list[int]:
    """`steps` places in the schedule, evenly spread, from the last one down.

    They begin at T − 1, where sampling does (Lin et al. 2024, arXiv:2305.08891, Section 3.3).
    Raises ValueError unless 1 <= steps <= T.
    """
    if not 1 <= steps <= len(schedule):
        raise ValueError(f"steps is {steps}; the schedule has {len(schedule)}, so give 1 to {len(schedule)}")
    return [round(len(schedule) * (steps - i) / steps) - 1 for i in range(steps)]


@torch.no_grad()
def sample(
    denoiser: Denoiser,
    condition: Condition,
    *,
    shape: tuple[int, int, int],
    schedule: NoiseSchedule,
    steps: int = 40,
    guidance: float | int = 2.0,
    predicts: str = "v",
    seed: int = 0,
) -> Float[Tensor, "n c h w"]:
    """One latent of this shape for each condition, all at once, by DDIM with classifier-free guidance.

    The first noise is drawn by `seed` on the CPU, so that every device starts alike. A network in training mode is
    used as it is: call eval() first. Raises ValueError for guidance below 0 and for more steps than the schedule has.
    """
    check_weight(guidance)
    places = sampling_steps(schedule, steps)
    n = len(condition.style)
    both = condition.joined(condition.empty())
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn((n, *shape), generator=generator).to(condition.text)
    for t, previous in zip(places, [*places[1:], -1], strict=True):
        step = torch.full((2 * n,), t, device=x.device)
        conditional, unconditional = denoiser(torch.cat([x, x]), step, both).chunk(2)
        output = guided(conditional, unconditional, weight=guidance)
        x = ddim_step(x, output, t=t, previous=previous, schedule=schedule, predicts=predicts)
    return x


def check_weight(weight: float | int) -> None:
    """Raise ValueError for guidance away from what was asked for."""
    if not weight >= 0:  # also true of NaN
        raise ValueError(f"guidance is {weight}; give 0 (no condition), 1 (plain) or more (exaggerated)")


def check_direction(t: int, previous: int) -> None:
    """Raise ValueError unless the step goes towards the clean picture."""
    if not -1 <= previous < t:
        raise ValueError(f"t is {t} and previous {previous}; a step goes down, to previous = t - 1 or less (-1: clean)")
