"""The embedding networks of the few-shot papers (Vinyals et al. 2016, arXiv:1606.04080, Section 4.1.1; with two
poolings Sung et al. 2018, arXiv:1711.06025, Figure 3), for episodes: pictures may have any leading dimensions."""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse.models.drawing import drawn_by


class ConvMaps(nn.Module):
    """Four blocks of 3x3 convolution, batch norm and ReLU, the first `poolings` with 2x2 max pooling: feature maps.

    Weights have the names that `models.Conv4` gives them, so they can be loaded from one into the other.
    """

    def __init__(self, in_channels: int = 1, width: int = 64, *, poolings: int = 2, seed: int = 0) -> None:
        super().__init__()
        if in_channels < 1 or width < 1 or not 0 <= poolings <= 4:
            raise ValueError(
                f"in_channels, width and poolings are {in_channels}, {width} and {poolings}; "
                "give 1 or more, 1 or more, and 0 to 4"
            )
        self.in_channels, self.width, self.smallest = in_channels, width, 2**poolings
        with drawn_by(seed):
            channels = (in_channels, *[width] * 4)
            blocks = [_block(channels[i], width, pool=i < poolings) for i in range(4)]
            self.blocks = nn.Sequential(*blocks).to(memory_format=torch.channels_last)

    def forward(
        self, pictures: Float[Tensor, "*lead c h w"] | UInt8[Tensor, "*lead c h w"]
    ) -> Float[Tensor, "*lead width h2 w2"]:
        """Maps of every picture; uint8 pixels are scaled to 0…1.

        In training mode batch norm takes its statistics over all pictures of the call.
        Raises ValueError for other channels than `in_channels`, or pictures that the poolings leave nothing of.
        """
        shape = tuple(pictures.shape)
        if len(shape) < 4 or shape[-3] != self.in_channels or min(shape[-2:]) < self.smallest or 0 in shape:
            raise ValueError(
                f"pictures have shape {shape}; expected (…, {self.in_channels}, h, w), h and w ≥ {self.smallest}"
            )
        flat = pictures.flatten(0, -4)
        scaled = flat.float() / 255 if flat.dtype == torch.uint8 else flat
        maps = self.blocks(scaled.contiguous(memory_format=torch.channels_last))
        return maps.unflatten(0, shape[:-3])


class Conv4(ConvMaps):
    """Four blocks that all pool, averaged over the positions that are left: `width` features of a picture."""

    def __init__(self, in_channels: int = 1, width: int = 64, *, seed: int = 0) -> None:
        super().__init__(in_channels, width, poolings=4, seed=seed)
        self.dim = width

    def forward(
        self, pictures: Float[Tensor, "*lead c h w"] | UInt8[Tensor, "*lead c h w"]
    ) -> Float[Tensor, "*lead width"]:
        """Features of every picture; see `ConvMaps`."""
        return super().forward(pictures).mean(dim=(-2, -1))


def _block(in_channels: int, out_channels: int, *, pool: bool) -> nn.Sequential:
    """ReLU comes after the pooling: the maximum is the same, and there is a quarter of the numbers to cut off."""
    layers: list[nn.Module] = [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels)]
    return nn.Sequential(*layers, *([nn.MaxPool2d(2)] if pool else []), nn.ReLU())
