"""A small U-Net (Ronneberger et al. 2015, arXiv:1505.04597) that predicts noise in latents, told the time and a wish.

The layout of Ho, Jain and Abbeel 2020 (arXiv:2006.11239, Appendix B), with attention to words as in Rombach et al. 2022
(arXiv:2112.10752).
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlcourse.foundation.attention import ContextAttention
from tlcourse.foundation.blocks import ResidualBlock
from tlcourse.foundation.condition import NO_STYLE, Condition
from tlcourse.models.drawing import drawn_by


class UNet(nn.Module):
    """Predicts the noise or the velocity in `channels` × h × w latents; h and w must be even.

    widths: channels at full and at half size. blocks: at each size on the way down, and again on the way up.
    A sentence embedding of `text_dim` becomes `tokens` tokens and the style one more, which attention reads; their sum
    and the time scale and shift the channels of every block.
    """

    def __init__(
        self,
        channels: int,
        *,
        n_styles: int,
        text_dim: int = 384,
        widths: tuple[int, int] = (64, 128),
        blocks: int = 2,
        embedding: int = 256,
        context: int = 96,
        tokens: int = 4,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(channels, n_styles, text_dim, blocks, tokens) < 1 or any(width % 8 or width < 8 for width in widths):
            raise ValueError(
                f"channels={channels}, n_styles={n_styles}, text_dim={text_dim}, blocks={blocks}, tokens={tokens}, "
                f"widths={widths}: give 1 or more of each, and widths that are multiples of 8"
            )
        self.channels, self.n_styles, self.text_dim = channels, n_styles, text_dim
        full, half = widths
        with drawn_by(seed):
            self.time = TimeEmbedding(embedding)
            self.wish = ConditionEmbedding(text_dim, n_styles, embedding=embedding, context=context, tokens=tokens)
            self.first = nn.Conv2d(channels, full, 3, padding=1)
            self.down_full = nn.ModuleList(Stage(full, full, embedding, context) for _ in range(blocks))
            self.shrink = nn.Conv2d(full, half, 3, stride=2, padding=1)
            self.down_half = nn.ModuleList(Stage(half, half, embedding, context) for _ in range(blocks))
            self.middle = ResidualBlock(half, half, condition_dim=embedding)
            self.up_half = nn.ModuleList(Stage(2 * half, half, embedding, context) for _ in range(blocks))
            self.grow = nn.Sequential(nn.Conv2d(half, 4 * full, 1), nn.PixelShuffle(2))
            self.up_full = nn.ModuleList(Stage(2 * full, full, embedding, context) for _ in range(blocks))
            self.last = nn.Sequential(nn.GroupNorm(8, full), nn.SiLU(), nn.Conv2d(full, channels, 3, padding=1))

    def forward(
        self, noisy: Float[Tensor, "n c h w"], t: Int[Tensor, " steps"], condition: Condition
    ) -> Float[Tensor, "n c h w"]:
        """The predicted noise or velocity, whichever the network was trained for, at step t of the schedule.

        Raises ValueError for latents, steps or conditions that do not fit the network or each other.
        """
        self._check(noisy, t, condition)
        summary, context = self.wish(condition)
        told = F.silu(self.time(t) + summary)
        x = self.first(noisy)
        kept = []
        for stage in self.down_full:
            x = stage(x, told, context)
            kept.append(x)
        x = self.shrink(x)
        for stage in self.down_half:
            x = stage(x, told, context)
            kept.append(x)
        x = self.middle(x, told)
        for stage in self.up_half:
            x = stage(torch.cat([x, kept.pop()], dim=1), told, context)
        x = self.grow(x)
        for stage in self.up_full:
            x = stage(torch.cat([x, kept.pop()], dim=1), told, context)
        return self.last(x)

    def _check(self, noisy: Tensor, t: Tensor, condition: Condition) -> None:
        n = len(noisy)
        if noisy.ndim != 4 or noisy.shape[1] != self.channels or noisy.shape[2] % 2 or noisy.shape[3] % 2:
            raise ValueError(f"noisy has shape {tuple(noisy.shape)}; give (n, {self.channels}, h, w) with h and w even")
        if len(t) != n or len(condition.text) != n or len(condition.style) != n:
            raise ValueError(
                f"{n} latents, {len(t)} steps t, {len(condition.text)} texts and {len(condition.style)} styles: "
                "give as many of each"
            )
        if condition.text.shape[1] != self.text_dim:
            raise ValueError(
                f"condition.text has {condition.text.shape[1]} features; this network was made for {self.text_dim}"
            )
        if n and not (int(condition.style.min()) >= NO_STYLE and int(condition.style.max()) < self.n_styles):
            raise ValueError(
                f"condition.style is {condition.style.tolist()}; give 0 to {self.n_styles - 1}, or {NO_STYLE} for none"
            )


class Stage(nn.Module):
    """A residual block, then attention."""

    def __init__(self, channels: int, out_channels: int, embedding: int, context: int) -> None:
        super().__init__()
        self.block = ResidualBlock(channels, out_channels, condition_dim=embedding)
        self.attention = ContextAttention(out_channels, context)

    def forward(
        self, x: Float[Tensor, "n c h w"], told: Float[Tensor, "n k"], context: Float[Tensor, "n tokens m"]
    ) -> Float[Tensor, "n c2 h w"]:
        """The output at the same height and width."""
        return self.attention(self.block(x, told), context)


class TimeEmbedding(nn.Module):
    """Sines and cosines of t at many wavelengths (Vaswani et al. 2017, Section 3.5), through two linear layers."""

    rates: Tensor

    def __init__(self, dim: int, *, waves: int = 64, longest: float = 10_000.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * waves, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.register_buffer("rates", torch.exp(-math.log(longest) * torch.arange(waves) / waves), persistent=False)

    def forward(self, t: Int[Tensor, " n"]) -> Float[Tensor, "n dim"]:
        """One vector for each step."""
        angles = t[:, None] * self.rates
        return self.layers(torch.cat([angles.sin(), angles.cos()], dim=1))


class ConditionEmbedding(nn.Module):
    """A wish as one vector, and as a few tokens to attend to. No words are zeros, no style a style of its own."""

    def __init__(self, text_dim: int, n_styles: int, *, embedding: int, context: int, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens
        self.text_summary = nn.Linear(text_dim, embedding)
        self.text_tokens = nn.Linear(text_dim, tokens * context)
        self.style_summary = nn.Embedding(n_styles + 1, embedding)
        self.style_token = nn.Embedding(n_styles + 1, context)

    def forward(self, condition: Condition) -> tuple[Float[Tensor, "n k"], Float[Tensor, "n tokens m"]]:
        """The vector and the tokens. Texts count by their direction alone."""
        text = F.normalize(condition.text, dim=1) * math.sqrt(condition.text.shape[1])
        style = condition.style - NO_STYLE
        words = self.text_tokens(text).unflatten(1, (self.tokens, -1))
        context = torch.cat([words, self.style_token(style)[:, None]], dim=1)
        return self.text_summary(text) + self.style_summary(style), context
