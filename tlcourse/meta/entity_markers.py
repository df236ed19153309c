"""Features of a relation between two marked entities (Baldini Soares, FitzGerald, Ling and Kwiatkowski 2019,
arXiv:1906.03158, Section 3.2, "mention pooling"): what the encoder says at the entities, not of the whole sentence.

The paper takes the maximum over an entity's tokens; this is the mean."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from tlcourse.models import TextBackbone


@torch.no_grad()
def entity_features(
    backbone: TextBackbone,
    texts: Sequence[str],
    *,
    heads: Int[Tensor, "n 2"],
    tails: Int[Tensor, "n 2"],
    batch_size: int = 64,
) -> Float[Tensor, "n both"]:
    """[head, tail] for each text: the mean of the token features in either entity, one after the other.

    The order matters: mother and child would be the same relation without it.
    heads, tails: first character of the entity and the one after its last
    Raises ValueError for a span in which no token lies, for example one that was cut off with the end of a long text.
    """
    if not len(texts) == len(heads) == len(tails):
        raise ValueError(f"{len(texts)} texts, {len(heads)} heads and {len(tails)} tails; give one of each")
    rows = []
    for part in torch.arange(len(texts)).split(batch_size):
        chosen = [texts[i] for i in part.tolist()]
        hidden, spans = _tokens(backbone, chosen)
        masks = [inside(spans, ends[part]) for ends in (heads, tails)]
        for name, mask in zip(("heads", "tails"), masks, strict=True):
            if not mask.any(dim=1).all():
                missed = int(part[int(mask.any(dim=1).int().argmin())])
                raise ValueError(
                    f"{name}[{missed}] is a span where no token of the text lies; give characters of the text, which "
                    f"is cut at {backbone.max_length} tokens"
                )
        rows.append(torch.cat([mean_inside(hidden, mask) for mask in masks], dim=1))
    return torch.cat(rows)


@torch.no_grad()
def sentence_features(backbone: TextBackbone, texts: Sequence[str], *, batch_size: int = 64) -> Float[Tensor, "n dim"]:
    """The mean over all tokens of each text: what the sentence is about, whoever does what to whom."""
    parts = [list(texts[i : i + batch_size]) for i in range(0, len(texts), batch_size)]
    return torch.cat([backbone(backbone.collate(part)).cpu() for part in parts])


def inside(spans: Int[Tensor, "n tokens 2"], ends: Int[Tensor, "n 2"]) -> Bool[Tensor, "n tokens"]:
    """True for tokens that share a character with the entity. Special tokens have empty spans and are in none."""
    overlap = torch.minimum(spans[:, :, 1], ends[:, None, 1]) - torch.maximum(spans[:, :, 0], ends[:, None, 0])
    return overlap > 0


def mean_inside(hidden: Float[Tensor, "n tokens dim"], mask: Bool[Tensor, "n tokens"]) -> Float[Tensor, "n dim"]:
    """Mean feature of the tokens for which the mask is true."""
    weights = mask.to(hidden)[:, :, None]
    return (hidden * weights).sum(dim=1) / weights.sum(dim=1)


def _tokens(backbone: TextBackbone, texts: list[str]) -> tuple[Tensor, Tensor]:
    """Features of every token, and the characters that each stands for, on the CPU."""
    batch = backbone.collate(texts)
    spans = backbone.tokenizer(
        texts, padding=True, truncation=True, max_length=backbone.max_length, return_offsets_mapping=True
    )["offset_mapping"]
    device = next(backbone.net.parameters()).device
    hidden = backbone.net(**{key: value.to(device) for key, value in batch.items()}).last_hidden_state
    return hidden.cpu(), torch.tensor(spans)
