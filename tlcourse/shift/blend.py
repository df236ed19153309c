"""MNIST-M: digits blended into photographs (Ganin et al. 2016, arXiv:1505.07818, Section 5.2.4)."""

from __future__ import annotations

from dataclasses import replace

import torch

from tlcourse.data import Images


def blend(digits: Images, photographs: Images, *, seed: int = 0) -> Images:
    """|digit − patch| in each of three colours, with a random patch of a random photograph behind every digit.

    `digits`: grey, on black; `photographs`: in colour, each larger than a digit, such as `data.photographs()`. The
    paper takes BSDS500; other photographs give another target, so that numbers compare in kind only.
    Raises ValueError for pictures of other kinds or sizes.
    """
    n, channels, height, width = digits.pixels.shape
    colours, tall, wide = photographs.pixels.shape[1:]
    if channels != 1 or colours != 3 or tall < height or wide < width:
        raise ValueError(
            f"digits are {tuple(digits.pixels.shape[1:])} and photographs {tuple(photographs.pixels.shape[1:])}; give "
            "grey digits, and colour photographs at least as large"
        )
    generator = torch.Generator().manual_seed(seed)
    which = torch.randint(len(photographs), (n,), generator=generator)
    top = torch.randint(tall - height + 1, (n,), generator=generator)
    left = torch.randint(wide - width + 1, (n,), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, :, None]
    columns = (left[:, None] + torch.arange(width))[:, None, :]
    patches = photographs.pixels[which[:, None, None], :, rows, columns].permute(0, 3, 1, 2)
    pixels = (digits.pixels.int() - patches.int()).abs().to(torch.uint8)
    return replace(digits, name=f"{digits.name}-m", pixels=pixels)


def in_colour(images: Images) -> Images:
    """Grey pictures with three equal channels, for a network that also reads coloured ones."""
    return replace(images, pixels=images.pixels.expand(-1, 3, -1, -1).contiguous())
