"""Small networks that are trained from scratch in a lesson."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse.models.drawing import drawn_by


class Conv4(nn.Module):
    """Four convolution blocks, the network of the few-shot literature (Vinyals et al. 2016, arXiv:1606.04080).

    Each block is a 3x3 convolution, batch norm, ReLU and 2x2 max pooling. What is left is averaged over positions, so
    that images of any size from 16x16 on give `dim` = `width` features.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, *, seed: int = 0) -> None:
        super().__init__()
        if in_channels < 1 or width < 1:
            raise ValueError(f"in_channels and width must be at least 1; got {in_channels} and {width}")
        self.dim = width
        self.in_channels = in_channels
        with drawn_by(seed):
            self.blocks = nn.Sequential(*(_block(in_channels if i == 0 else width, width) for i in range(4)))

    def forward(self, pixels: Float[Tensor, "n c h w"] | UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n width"]:
        """Features; uint8 pixels are scaled to 0…1.

        Raises ValueError when the images have other channels than `in_channels`, or are smaller than 16x16.
        """
        if pixels.ndim != 4 or pixels.shape[1] != self.in_channels or min(pixels.shape[2:]) < 16 or len(pixels) == 0:
            raise ValueError(
                f"pixels have shape {tuple(pixels.shape)}; expected (n, {self.in_channels}, h, w), at least 16x16"
            )
        scaled = pixels.float() / 255 if pixels.dtype == torch.uint8 else pixels
        return self.blocks(scaled).mean(dim=(2, 3))


def _block(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


class MLP(nn.Module):
    """Linear layers of the given sizes with ReLU between them: MLP([20, 64, 3]) maps 20 numbers to 3."""

    def __init__(self, sizes: Sequence[int], *, seed: int = 0) -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise ValueError(f"sizes are {list(sizes)}; give at least input and output, each 1 or more")
        self.dim = sizes[-1]
        self.inputs = sizes[0]
        layers: list[nn.Module] = []
        with drawn_by(seed):
            for before, after in pairwise(sizes):
                layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, inputs: Float[Tensor, "n inputs"]) -> Float[Tensor, "n outputs"]:
        """Raises ValueError when `inputs` are not as wide as the first size."""
        if inputs.ndim != 2 or inputs.shape[1] != self.inputs:
            raise ValueError(f"inputs have shape {tuple(inputs.shape)}; expected (n, {self.inputs})")
        return self.layers(inputs)
