"""One transformer for both uses: causal, to continue a text (GPT-2, Radford et al. 2019), or looking both ways, to read
one (BERT, Devlin et al. 2019, arXiv:1810.04805).

The equations are those of Vaswani et al. 2017 (arXiv:1706.03762), with the norm before each part of a block and one
more at the end, as in GPT-2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from tlcourse.models.drawing import drawn_by


class SelfAttention(nn.Module):
    """softmax(Q Kᵀ / √d) V in several heads (Eq. 1 and Section 3.2.2)."""

    def __init__(self, width: int, heads: int, *, causal: bool) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"width={width} cannot be shared between heads={heads}; give a divisor of the width")
        self.heads = heads
        self.causal = causal
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self, x: Float[Tensor, "n tokens width"], visible: Bool[Tensor, "n 1 tokens tokens"] | None = None
    ) -> Float[Tensor, "n tokens width"]:
        """`visible[i, 0, a, b]`: whether token a of text i may look at token b. None: at all of them, or at b ≤ a."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v, visible, is_causal=self.causal and visible is None)
        return self.out(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """x ← x + attention(norm(x)), then x ← x + MLP(norm(x)); the MLP is four times as wide as x."""

    def __init__(self, width: int, heads: int, *, causal: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads, causal=causal)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "n tokens width"], visible: Bool[Tensor, "n 1 tokens tokens"] | None = None
    ) -> Float[Tensor, "n tokens width"]:
        """The residual stream after this block."""
        x = x + self.dropout(self.attention(self.norm1(x), visible))
        return x + self.dropout(self.mlp(self.norm2(x)))


class Transformer(nn.Module):
    """Token and position embeddings, blocks, a norm, and the token embedding once more as the head.

    `causal` decides what a token may look at: what is before it, or everything. Nothing else differs. `dropout` acts
    on the embeddings and on what a block adds. `seed` draws the weights: normal, with GPT-2's 0.02 at its width of 768
    and more at smaller widths, as 1/√width; less in the layers that write into the residual stream.
    """

    def __init__(
        self,
        vocabulary: int,
        *,
        context: int,
        width: int,
        layers: int,
        heads: int,
        causal: bool,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if min(vocabulary, context, width, layers) < 1:
            raise ValueError(
                f"vocabulary={vocabulary}, context={context}, width={width}, layers={layers}: each must be 1 or more"
            )
        self.vocabulary, self.context, self.dim, self.causal = vocabulary, context, width, causal
        with drawn_by(seed):
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(context, width)
            self.blocks = nn.ModuleList(Block(width, heads, causal=causal, dropout=dropout) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self._draw(seed)

    def forward(
        self, ids: Int64[Tensor, "n tokens"], mask: Bool[Tensor, "n tokens"] | None = None
    ) -> Float[Tensor, "n tokens vocabulary"]:
        """A score of every token of the vocabulary at every place: the one that is there, or, causal, the next one.

        See `hidden` for `mask` and for errors.
        """
        return F.linear(self.hidden(ids, mask), self.tokens.weight)

    def hidden(
        self, ids: Int64[Tensor, "n tokens"], mask: Bool[Tensor, "n tokens"] | None = None
    ) -> Float[Tensor, "n tokens width"]:
        """The residual stream after the last norm. `mask`: false where a text is over and the rest is filling.

        Raises ValueError for empty texts, texts longer than the context, and numbers that are no tokens.
        """
        check_ids(ids, self.vocabulary, self.context, mask)
        visible = None if mask is None else visible_tokens(mask, causal=self.causal)
        x = self.dropout(self.tokens(ids) + self.positions.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x, visible)
        return self.norm(x)

    def _draw(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        usual = 0.02 * math.sqrt(768 / self.dim)
        for name, parameter in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.ndim == 2:
                writes = name.endswith(("attention.out.weight", "mlp.2.weight"))
                std = usual / math.sqrt(2 * len(self.blocks)) if writes else usual
                nn.init.normal_(parameter, std=std, generator=generator)


def visible_tokens(mask: Bool[Tensor, "n tokens"], *, causal: bool) -> Bool[Tensor, "n 1 tokens tokens"]:
    """What each token may look at: tokens that are there and, when causal, not after it."""
    seen = mask[:, None, None, :].expand(-1, 1, mask.shape[1], -1)
    if not causal:
        return seen
    return seen & torch.ones(mask.shape[1], mask.shape[1], dtype=torch.bool, device=mask.device).tril()


def check_ids(ids: Tensor, vocabulary: int, context: int, mask: Tensor | None = None) -> None:
    """Raise ValueError, with the remedy, for token numbers that the transformer cannot read."""
    if ids.ndim != 2 or 0 in ids.shape:
        raise ValueError(f"ids have shape {tuple(ids.shape)}; give (texts, tokens), at least one of each")
    if ids.shape[1] > context:
        raise ValueError(f"a text has {ids.shape[1]} tokens and the context is {context}; cut it to {context}")
    if int(ids.min()) < 0 or int(ids.max()) >= vocabulary:
        raise ValueError(
            f"ids run from {int(ids.min())} to {int(ids.max())} and the vocabulary has {vocabulary} tokens; "
            "use the tokenizer that the model was trained with"
        )
    if mask is not None and not mask[:, 0].all():
        raise ValueError("mask leaves out the first token of a text; fill texts up at their end, not at their start")


def count_parameters(model: Transformer) -> int:
    """All parameters. The token embedding is the head too and counts once, as it does in 6ND: looking up is free."""
    return sum(parameter.numel() for parameter in model.parameters())
