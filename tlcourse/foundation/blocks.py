"""The residual block that the autoencoder and the U-Net are built of (He et al. 2016, arXiv:1512.03385)."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """x + f(x), where f is norm, SiLU and convolution, twice; a 1×1 convolution carries x to another width.

    With `condition_dim`, a vector scales and shifts the channels after the second norm (FiLM, Perez et al. 2018,
    arXiv:1709.07871; "adaptive group normalisation" in Dhariwal and Nichol 2021, arXiv:2105.05233, Eq. 3).
    The last convolution starts at zero, so that every block starts by handing x on.
    """

    def __init__(self, channels: int, out_channels: int, *, condition_dim: int = 0, groups: int = 8) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, channels)
        self.conv1 = nn.Conv2d(channels, out_channels, kernel_size=3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1)
        self.film = nn.Linear(condition_dim, 2 * out_channels) if condition_dim else None
        self.skip = nn.Conv2d(channels, out_channels, kernel_size=1) if channels != out_channels else nn.Identity()
        for parameter in self.conv2.parameters():
            nn.init.zeros_(parameter)

    def forward(
        self, x: Float[Tensor, "n c h w"], condition: Float[Tensor, "n k"] | None = None
    ) -> Float[Tensor, "n c2 h w"]:
        """The block's output, at the same height and width."""
        h = self.norm2(self.conv1(F.silu(self.norm1(x))))
        if self.film is not None:
            scale, shift = self.film(condition)[:, :, None, None].chunk(2, dim=1)
            h = h * (1 + scale) + shift
        return self.skip(x) + self.conv2(F.silu(h))
