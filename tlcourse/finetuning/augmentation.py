"""Augmentation for frozen features: a few labelled pictures become many views of the same pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from tlcourse.data import Images
from tlcourse.models.drawing import drawn_by

Pixels = UInt8[Tensor, "n c h w"]


def recolour(pixels: Pixels) -> Pixels:
    """Colours changed, shapes kept: channels in a random order, contrast × 0.6 … 1.4, three in ten pictures grey.

    Each picture is drawn for itself, by torch's global random numbers. For targets whose colours cannot be relied on.
    Raises ValueError unless there are three channels.
    """
    if pixels.ndim != 4 or pixels.shape[1] != 3:
        raise ValueError(f"pixels have shape {tuple(pixels.shape)}; expected (n, 3, height, width)")
    n = len(pixels)
    order = torch.rand(n, 3).argsort(dim=1)[:, :, None, None].expand_as(pixels)
    mixed = pixels.float().gather(1, order)
    grey = (torch.rand(n, 1, 1, 1) < 0.3).float()
    mixed = grey * mixed.mean(dim=1, keepdim=True) + (1 - grey) * mixed
    centre = mixed.mean(dim=(2, 3), keepdim=True)
    contrast = 0.6 + 0.8 * torch.rand(n, 1, 1, 1)
    return ((mixed - centre) * contrast + centre).clamp(0, 255).to(torch.uint8)


def with_copies(images: Images, augment: Callable[[Pixels], Pixels], *, copies: int, seed: int) -> Images:
    """The pictures and `copies` augmented versions of each, which share its label and group.

    Raises ValueError for fewer than one copy.
    """
    if copies < 1:
        raise ValueError(f"copies is {copies}; give 1 or more")
    with drawn_by(seed):
        versions = [images.pixels, *(augment(images.pixels) for _ in range(copies))]
    repeated = images.take(list(range(len(images))) * (copies + 1))
    return replace(repeated, pixels=torch.cat(versions))
