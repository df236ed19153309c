"""Typical wrong answers to the exercises of lesson 10, each with the message that it should get."""

from __future__ import annotations

import torch


def mixture(picture, noise):
    """add_noise with other shares of picture and noise."""

    def add_noise(clean, fresh, kept):
        share = kept[:, None, None, None]
        return picture(share) * clean + noise(share) * fresh

    return add_noise


def stepper(
    *, signal=lambda now, later: later**0.5, spread=lambda now, later: (1 - later) ** 0.5, fresh=False, x0=True
):
    """ddim_step with other shares."""

    def ddim_step(noisy, noise, now, later):
        clean = (noisy - (1 - now) ** 0.5 * noise) / (now**0.5 if x0 else 1)
        back = torch.randn_like(noisy) if fresh else noise
        return signal(now, later) * clean + spread(now, later) * back

    return ddim_step


def distance(*, mean=True, root=True, reduce=lambda d: d.min(dim=1)):
    """nearest with another distance."""

    def nearest(samples, training):
        gaps = (samples[:, None] - training[None]).square().flatten(2)
        gaps = gaps.mean(dim=2) if mean else gaps.sum(dim=2)
        return tuple(reduce(gaps.sqrt() if root else gaps))

    return nearest


WRONG = {
    "add_noise": [
        ("no roots", mixture(lambda k: k, lambda k: 1 - k), "roots are missing"),
        ("1 - root", mixture(torch.sqrt, lambda k: 1 - k.sqrt()), "not 1 − √ᾱ"),
        ("turned round", mixture(lambda k: (1 - k).sqrt(), torch.sqrt), "Turned round"),
        ("picture stays", mixture(torch.ones_like, lambda k: (1 - k).sqrt()), "has to get weaker"),
    ],
    "ddim_step": [
        ("jump", stepper(signal=lambda n, w: 1, spread=lambda n, w: 0), "one jump to the end"),
        ("no noise", stepper(spread=lambda n, w: 0), "No noise is put back"),
        ("old level", stepper(spread=lambda n, w: (1 - n) ** 0.5), "has the old level"),
        ("picture not scaled", stepper(signal=lambda n, w: 1), "scaled by the root of the next"),
        ("x_0 not divided", stepper(x0=False), "Divide by the root of this step's"),
        ("fresh noise", stepper(fresh=True), "fresh noise is DDPM"),
    ],
    "guided": [
        ("away", lambda c, u, w: c + w * (u - c), "changed places"),
        ("paper's w", lambda c, u, w: c + w * (c - u), "the paper's w"),
        ("sum", lambda c, u, w: w * c + u, "not taken off"),
        ("scaled", lambda c, u, w: w * c, "scales the difference"),
    ],
    "nearest": [
        ("squares", distance(root=False), "Take the root"),
        ("sum", distance(mean=False), "mean over pixels, not the sum"),
        ("mean of all", distance(reduce=lambda d: (d.mean(dim=1), d.argmin(dim=1))), "A copy hides in it"),
        ("farthest", distance(reduce=lambda d: d.max(dim=1)), "least alike"),
        ("other axis", distance(reduce=lambda d: d.min(dim=0)), "One result for each sample"),
    ],
}
