"""Attention of a picture's positions to each other and to what it should show (Rombach et al. 2022, Section 3.3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn


class ContextAttention(nn.Module):
    """Every position asks all positions and all context tokens, in one softmax.

    Rombach et al. use two layers, one for self-attention and one for cross-attention; one that reads both is cheaper.
    The output starts at zero, so that the layer starts by handing the picture on.
    """

    def __init__(self, channels: int, context_dim: int, *, heads: int = 4, groups: int = 8) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"channels={channels} cannot be shared between heads={heads}; give a divisor")
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.to_q = nn.Linear(channels, channels)
        self.to_k = nn.Linear(channels, channels)
        self.to_v = nn.Linear(channels, channels)
        self.context_k = nn.Linear(context_dim, channels)
        self.context_v = nn.Linear(context_dim, channels)
        self.to_out = nn.Linear(channels, channels)
        nn.init.zeros_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)

    def forward(self, x: Float[Tensor, "n c h w"], context: Float[Tensor, "n tokens k"]) -> Float[Tensor, "n c h w"]:
        """x and what its positions took from each other and from the context."""
        positions = self.norm(x).flatten(2).transpose(1, 2)
        k = torch.cat([self.to_k(positions), self.context_k(context)], dim=1)
        v = torch.cat([self.to_v(positions), self.context_v(context)], dim=1)
        mixed = F.scaled_dot_product_attention(self._split(self.to_q(positions)), self._split(k), self._split(v))
        out = self.to_out(mixed.transpose(1, 2).flatten(2))
        return x + out.transpose(1, 2).reshape(x.shape)

    def _split(self, tokens: Float[Tensor, "n m c"]) -> Float[Tensor, "n heads m part"]:
        return tokens.unflatten(-1, (self.heads, -1)).transpose(1, 2)
