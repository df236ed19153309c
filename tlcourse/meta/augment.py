"""More classes and more pictures of each, for data with few of either (Santoro et al. 2016, arXiv:1605.06065,
Section 4.1: Omniglot with quarter turns as new classes, small rotations and shifts)."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor

Pictures = UInt8[Tensor, "n c h w"] | Float[Tensor, "n c h w"]
Turned = UInt8[Tensor, "m c h w"] | Float[Tensor, "m c h w"]


def quarter_turns(pictures: Pictures, labels: Int[Tensor, " n"]) -> tuple[Turned, Int[Tensor, " m"]]:
    """All pictures turned by 0, 90, 180 and 270 degrees; each turn of a class is a class of its own.

    An N on its side is a Z: such pairs exist, and cost little. Raises ValueError for pictures that are not square.
    """
    if pictures.shape[-1] != pictures.shape[-2]:
        raise ValueError(f"pictures are {pictures.shape[-2]} x {pictures.shape[-1]}; a quarter turn needs squares")
    n_classes = int(labels.max()) + 1
    turned = [pictures.rot90(k, dims=(-2, -1)) for k in range(4)]
    return torch.cat(turned), torch.cat([labels + k * n_classes for k in range(4)])


def small_changes(
    pictures: Pictures, generator: torch.Generator, *, degrees: float = 20.0, zoom: float = 0.15, shift: float = 0.1
) -> Float[Tensor, "n c h w"]:
    """Each picture turned by up to `degrees`, made up to `zoom` larger or smaller, and moved by up to `shift` of its
    side; values 0 to 1, and 0 where the picture has been left. Draws are uniform, from a generator on the CPU.

    Raises ValueError for a negative amount, or a zoom of 1 or more.
    """
    if min(degrees, zoom, shift) < 0 or zoom >= 1:
        raise ValueError(f"degrees, zoom and shift are {degrees}, {zoom} and {shift}; give 0 or more, zoom below 1")
    draw = (2 * torch.rand(4, len(pictures), generator=generator) - 1).to(pictures.device)
    angle, scale = math.radians(degrees) * draw[0], 1 + zoom * draw[1]
    cos, sin = scale * angle.cos(), scale * angle.sin()
    tall = pictures.shape[-2] / pictures.shape[-1]  # the grid counts in halves of either side
    rows = (
        torch.stack([cos, -tall * sin, 2 * shift * draw[2]], dim=1),
        torch.stack([sin / tall, cos, 2 * shift * draw[3]], dim=1),
    )
    values = pictures.float() / 255 if pictures.dtype == torch.uint8 else pictures
    grid = F.affine_grid(torch.stack(rows, dim=1).to(values.dtype), list(pictures.shape), align_corners=False)
    return F.grid_sample(values, grid, align_corners=False)
