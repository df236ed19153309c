"""A variational autoencoder (Kingma and Welling 2014, arXiv:1312.6114): pictures to small latents and back.

The first stage of latent diffusion (Rombach et al. 2022, arXiv:2112.10752, Section 3.1), where the divergence has a
very small weight: the latents should be easy to model, not look like noise.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from tlcourse.foundation.blocks import ResidualBlock
from tlcourse.models.drawing import drawn_by

PATCH = 4  # one position of the latents stands for 4 × 4 pixels


class Posterior(NamedTuple):
    """q(z | x): a normal distribution for each number of the latents."""

    mean: Float[Tensor, "n z h w"]
    log_variance: Float[Tensor, "n z h w"]

    def sample(self, *, generator: torch.Generator | None = None) -> Float[Tensor, "n z h w"]:
        """mean + standard deviation · noise, so that gradients reach both (Eq. 10 of Kingma and Welling)."""
        noise = torch.randn(self.mean.shape, generator=generator).to(self.mean)
        return self.mean + (self.log_variance / 2).exp() * noise

    def divergence(self) -> Float[Tensor, ""]:
        """KL(q(z | x) ‖ N(0, 1)) in nats, the mean over all numbers of the latents (Appendix B)."""
        return 0.5 * (self.mean**2 + self.log_variance.exp() - 1 - self.log_variance).mean()


class Autoencoder(nn.Module):
    """Pictures 3 × h × w, −1 … 1, to latents `channels` × h/4 × w/4, and back.

    A straight line and a network run side by side in both directions. The line is a linear map of each 4 × 4 patch;
    `start_from_pca` makes it the best one, so that the network has to learn only what a linear map cannot do.
    `widths`: channels at half and at a quarter of the picture's size. `blocks`: residual blocks of the encoder at a
    quarter, of the decoder at a quarter, and of the decoder at half.
    """

    latent_mean: Tensor
    latent_scale: Tensor
    component_spread: Tensor

    def __init__(
        self,
        channels: int = 12,
        *,
        widths: tuple[int, int] = (32, 128),
        blocks: tuple[int, int, int] = (1, 3, 2),
        seed: int = 0,
    ) -> None:
        super().__init__()
        if channels < 1 or any(width < 8 or width % 8 for width in widths) or min(blocks) < 1:
            raise ValueError(
                f"channels={channels}, widths={widths}, blocks={blocks}: give at least 1 channel and 1 block each, "
                "and widths that are multiples of 8 (the norms work on 8 groups of channels)"
            )
        self.channels = channels
        half, quarter = widths
        pixels = 3 * PATCH**2
        with drawn_by(seed):
            self.line_in = nn.Sequential(nn.PixelUnshuffle(PATCH), nn.Conv2d(pixels, 2 * channels, 1))
            self.line_out = nn.Sequential(nn.Conv2d(channels, pixels, 1), nn.PixelShuffle(PATCH))
            self.encoder = nn.Sequential(
                nn.PixelUnshuffle(2),
                nn.Conv2d(12, half, 3, padding=1),
                ResidualBlock(half, half),
                nn.PixelUnshuffle(2),
                nn.Conv2d(4 * half, quarter, 1),
                *(ResidualBlock(quarter, quarter) for _ in range(blocks[0])),
                *_out(quarter, 2 * channels),
            )
            self.decoder = nn.Sequential(
                nn.Conv2d(channels, quarter, 3, padding=1),
                *(ResidualBlock(quarter, quarter) for _ in range(blocks[1])),
                nn.Conv2d(quarter, 4 * half, 1),
                nn.PixelShuffle(2),
                *(ResidualBlock(half, half) for _ in range(blocks[2])),
                *_out(half, 12),
                nn.PixelShuffle(2),
            )
        self.register_buffer("latent_mean", torch.zeros(channels, 1, 1))
        self.register_buffer("latent_scale", torch.ones(channels, 1, 1))
        self.register_buffer("component_spread", torch.ones(channels, 1, 1))

    def encode(self, pictures: Float[Tensor, "n c h w"]) -> Posterior:
        """The posterior of the latents. Raises ValueError for pictures that are not 3 × h × w with sides of 4·k."""
        if pictures.ndim != 4 or pictures.shape[1] != 3 or pictures.shape[2] % PATCH or pictures.shape[3] % PATCH:
            raise ValueError(
                f"pictures have shape {tuple(pictures.shape)}; give (n, 3, h, w) with h and w multiples of {PATCH}"
            )
        mean, log_variance = (self.line_in(pictures) + self.encoder(pictures)).chunk(2, dim=1)
        return Posterior(mean, log_variance.clamp(-12, 4))

    def decode(self, z: Float[Tensor, "n z h4 w4"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures from latents as `encode` makes them. Raises ValueError for another number of channels."""
        if z.ndim != 4 or z.shape[1] != self.channels:
            raise ValueError(f"z has shape {tuple(z.shape)}; give latents (n, {self.channels}, h, w)")
        return self.line_out(z) + self.decoder(z)

    @torch.no_grad()
    def start_from_pca(self, pictures: Float[Tensor, "n 3 h w"]) -> None:
        """Make the autoencoder the best linear one, patch by patch: principal components of all 4 × 4 patches.

        Each component is stretched to variance 1, which the network learns best from.
        Raises ValueError for fewer patches than pixels in a patch.
        """
        patches = F.pixel_unshuffle(pictures, PATCH).movedim(1, -1).flatten(0, -2)
        if len(patches) < patches.shape[1]:
            raise ValueError(f"pictures have {len(patches)} patches; give at least {patches.shape[1]} to find axes in")
        centre = patches.mean(dim=0)
        variance, axes = (part.flip(-1)[..., : self.channels] for part in torch.linalg.eigh(torch.cov(patches.T)))
        spread = variance.clamp(min=1e-6).sqrt()
        into: Any = self.line_in[1]
        out: Any = self.line_out[0]
        for last in (self.encoder[-1], self.decoder[-2], into):
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        into.weight[: self.channels] = (axes / spread).T[:, :, None, None]
        into.bias[: self.channels] = -centre @ (axes / spread)
        into.bias[self.channels :] = -6  # a standard deviation of 1/20
        out.weight.copy_((axes * spread)[:, :, None, None])
        out.bias.copy_(centre)
        self.component_spread.copy_(spread[:, None, None])

    @torch.no_grad()
    def calibrate(self, pictures: Float[Tensor, "n 3 h w"]) -> None:
        """Note mean and spread of these pictures' latents, for `to_latents` and `to_pictures`."""
        means = self.encode(pictures).mean
        self.latent_mean.copy_(means.mean(dim=(0, 2, 3))[:, None, None])
        spread = (means - self.latent_mean).square().mean(dim=(0, 2, 3)).sqrt()[:, None, None]
        self.latent_scale.copy_(spread * self.component_spread.square().mean().sqrt() / self.component_spread)

    @torch.no_grad()
    def to_latents(self, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n z h4 w4"]:
        """What diffusion works on: the posterior's mean, with mean 0 and variance 1 over all channels together.

        The channels are as large, to each other, as the principal components that they started from. So a distance
        between latents is about one between pictures, and coarse structure comes out of the noise first.
        """
        return (self.encode(pictures).mean - self.latent_mean) / self.latent_scale

    @torch.no_grad()
    def to_pictures(self, latents: Float[Tensor, "n z h4 w4"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures, −1 … 1, from latents as `to_latents` makes them."""
        return self.decode(latents * self.latent_scale + self.latent_mean).clamp(-1, 1)


def _out(width: int, channels: int) -> tuple[nn.Module, ...]:
    return nn.GroupNorm(8, width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1)


def autoencoder_loss(
    model: Autoencoder,
    pictures: Float[Tensor, "n 3 h w"],
    *,
    kl_weight: float | int = 3e-4,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """How far the reconstruction is off, absolute and squared, and `kl_weight` times the divergence.

    The squared error is what PSNR measures; the absolute one keeps edges sharp. Raises ValueError for a weight below 0.
    """
    if kl_weight < 0:
        raise ValueError(f"kl_weight is {kl_weight}; give 0 or more")
    posterior = model.encode(pictures)
    rebuilt = model.decode(posterior.sample(generator=generator))
    error = F.mse_loss(rebuilt, pictures) + F.l1_loss(rebuilt, pictures)
    return error + kl_weight * posterior.divergence()


def psnr(rebuilt: Float[Tensor, "n ..."], pictures: Float[Tensor, "n ..."]) -> Float[Tensor, " n"]:
    """Peak signal-to-noise ratio of each picture in dB: 10 log10(2² / MSE), for values −1 … 1.

    Raises ValueError for tensors of different shapes.
    """
    if rebuilt.shape != pictures.shape:
        raise ValueError(f"rebuilt has shape {tuple(rebuilt.shape)}, pictures {tuple(pictures.shape)}; give pairs")
    return 10 * torch.log10(4 / (rebuilt - pictures).square().flatten(1).mean(dim=1))


def to_unit(pixels: UInt8[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
    """Bytes 0 … 255 as numbers −1 … 1."""
    return pixels.float() / 127.5 - 1


def to_bytes(pictures: Float[Tensor, "n c h w"]) -> UInt8[Tensor, "n c h w"]:
    """Numbers −1 … 1 as bytes 0 … 255; what is outside is cut."""
    return ((pictures.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
