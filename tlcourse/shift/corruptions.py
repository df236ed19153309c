"""Pictures as a worse camera would take them, in five degrees (after Hendrycks and Dietterich 2019, arXiv:1903.12261).

The kinds are theirs; the degrees are set for small pictures, so error rates do not compare with those of ImageNet-C.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from tlcourse.data import Images

Pixels = Float[Tensor, "n c h w"]


def noise(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Gaussian noise on every value, as in dim light."""
    spread = (0.04, 0.08, 0.12, 0.18, 0.26)[severity - 1]
    return pixels + spread * torch.randn(pixels.shape, generator=generator)


def shot_noise(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Light comes in grains: a count of them with the right mean, fewer at a higher degree."""
    grains = (120, 50, 25, 12, 6)[severity - 1]
    return torch.poisson(pixels.clamp(min=0) * grains, generator=generator) / grains


def blur(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Out of focus: a Gaussian blur, in pixels of a picture 64 wide. Nothing is drawn."""
    sigma = (0.5, 0.8, 1.2, 1.8, 2.6)[severity - 1] * pixels.shape[-1] / 64
    radius = max(1, round(3 * sigma))
    steps = torch.arange(-radius, radius + 1, dtype=pixels.dtype)
    line = torch.exp(-(steps**2) / (2 * sigma**2))
    line = line / line.sum()
    channels = pixels.shape[1]
    padded = F.pad(pixels, (radius,) * 4, mode="replicate")
    rows = F.conv2d(padded, line.reshape(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
    return F.conv2d(rows, line.reshape(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)


def brightness(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Too long in the light: every value rises. Nothing is drawn."""
    return pixels + (0.1, 0.2, 0.3, 0.4, 0.5)[severity - 1]


def contrast(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Fog: values move towards the mean of their picture. Nothing is drawn."""
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    return mean + (0.6, 0.45, 0.3, 0.2, 0.12)[severity - 1] * (pixels - mean)


def pixelate(pixels: Pixels, severity: int, generator: torch.Generator) -> Pixels:
    """Fewer pixels, drawn large. Nothing is drawn at random."""
    height, width = pixels.shape[2:]
    share = (0.5, 0.4, 0.3, 0.22, 0.16)[severity - 1]
    few = F.interpolate(pixels, (max(1, round(height * share)), max(1, round(width * share))), mode="area")
    return F.interpolate(few, (height, width), mode="nearest")


CORRUPTIONS: dict[str, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    "noise": noise,
    "shot noise": shot_noise,
    "blur": blur,
    "brightness": brightness,
    "contrast": contrast,
    "pixelate": pixelate,
}
"""Name: function of pixels (0 … 1), degree (1 … 5) and a generator."""


def corrupt(images: Images, kind: str, *, severity: int = 3, seed: int = 0) -> Images:
    """The pictures with one corruption; labels and everything else stay.

    Raises KeyError for an unknown kind, ValueError for a severity that is not 1 … 5.
    """
    if kind not in CORRUPTIONS:
        raise KeyError(f"kind={kind!r} is unknown; choose from: {', '.join(CORRUPTIONS)}")
    if severity not in range(1, 6):
        raise ValueError(f"severity is {severity}; give a whole number from 1 (weak) to 5 (strong)")
    generator = torch.Generator().manual_seed(seed)
    changed = CORRUPTIONS[kind](images.pixels.float() / 255, severity, generator)
    pixels = (255 * changed.clamp(0, 1)).round().to(torch.uint8)
    return replace(images, name=f"{images.name}, {kind} {severity}", pixels=pixels)
