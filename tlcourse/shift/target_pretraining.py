"""Keep pre-training on texts of the target before any label is used (Gururangan, Marasović, Swayamdipta, Lo, Beltagy,
Downey and Smith 2020, arXiv:2004.10964), by guessing hidden tokens (Devlin et al. 2019, arXiv:1810.04805)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from tlcourse import models, training
from tlcourse.models.drawing import drawn_by
from tlcourse.shift.batches import endless

NOT_ASKED = -100
"""Target of a token that has no say in the loss."""


class MaskedTokenHead(nn.Module):
    """From a hidden state to logits of every token: a linear map, GELU and LayerNorm as in BERT, then the embeddings.

    The embeddings are the backbone's own (tied); the map begins as the identity, because a sentence encoder ships
    without its head.
    """

    embeddings: nn.Embedding

    def __init__(self, embeddings: nn.Embedding) -> None:
        super().__init__()
        vocabulary, dim = embeddings.weight.shape
        self.embeddings = embeddings
        with drawn_by(0):  # what PyTorch draws here is not kept
            self.map = nn.Linear(dim, dim)
        nn.init.eye_(self.map.weight)
        nn.init.zeros_(self.map.bias)
        self.norm = nn.LayerNorm(dim)
        self.bias = nn.Parameter(torch.zeros(vocabulary))

    def forward(self, hidden: Float[Tensor, "n dim"]) -> Float[Tensor, "n vocabulary"]:
        """Logits of the tokens at n places."""
        return F.linear(self.norm(F.gelu(self.map(hidden))), self.embeddings.weight, self.bias)


def hide(
    ids: Int64[Tensor, "n tokens"], tokenizer: Any, *, rate: float = 0.15, generator: torch.Generator
) -> tuple[Int64[Tensor, "n tokens"], Int64[Tensor, "n tokens"]]:
    """What the network reads, and what it has to say; NOT_ASKED where it is not asked.

    Each ordinary token is chosen with probability `rate`, one at least. Of these 80 % become the mask, 10 % a random
    token, 10 % stay. Raises ValueError unless 0 < rate < 1, and for texts without an ordinary token.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate is {rate}; give the share of tokens to hide, between 0 and 1, for example 0.15")
    special = torch.isin(ids, torch.tensor(tokenizer.all_special_ids))
    if special.all():
        raise ValueError("the texts hold no ordinary token; there is nothing to hide")
    draw = torch.rand(ids.shape, generator=generator).masked_fill(special, 2.0)
    chosen = (draw < rate) | (draw == draw.min())
    fate = torch.rand(ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate < 0.8), tokenizer.mask_token_id, ids)
    other = torch.randint(len(tokenizer), ids.shape, generator=generator)
    inputs = torch.where(chosen & (fate >= 0.9), other, inputs)
    return inputs, ids.masked_fill(~chosen, NOT_ASKED)


def pretrain_on_texts(
    backbone: models.TextBackbone,
    texts: Sequence[str],
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 5e-5,
    head_lr: float = 1e-3,
    rate: float = 0.15,
    warmup: float = 0.1,
    max_length: int = 48,
    head: MaskedTokenHead | None = None,
    seed: int = 0,
    progress: bool = False,
) -> tuple[float, ...]:
    """Train the backbone in place to guess hidden tokens of these texts; the loss (nats a token) of each step.

    Nothing but the texts is read: give the target's training texts, not its test texts. AdamW; the rate goes up over
    the share `warmup` of the steps, then down in a straight line. Texts are cut at `max_length` tokens. `head`: a new
    one by default, thrown away afterwards. The backbone ends in evaluation mode; features cached before are of no use.
    Raises ValueError for fewer than one step, no text, or a tokenizer without a mask.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; train for at least 1")
    if isinstance(texts, str) or len(texts) == 0:
        raise ValueError("texts must be a list with at least one text")
    tokenizer = backbone.tokenizer
    if tokenizer.mask_token_id is None:
        raise ValueError(f"the tokenizer of {backbone.name!r} has no mask token; take an encoder such as BERT")
    from tqdm.auto import trange

    home = training.device()
    head = (head or MaskedTokenHead(backbone.net.get_input_embeddings())).to(home)
    own = [p for name, p in head.named_parameters() if not name.startswith("embeddings")]
    backbone.to(home).train()
    groups = [{"params": list(backbone.parameters()), "lr": lr}, {"params": own, "lr": head_lr}]
    rule = torch.optim.AdamW(groups, weight_decay=0.01, fused=True)
    rates = training.LearningRates(rule, training.warmup(warmup), steps)
    generator = torch.Generator().manual_seed(seed)
    walk = endless(len(texts), batch_size, generator)
    everything = nn.ModuleList([backbone, head])
    losses = []
    with torch.random.fork_rng(devices=[home] if home.type == "cuda" else []):
        torch.manual_seed(seed)
        for step in trange(steps, disable=not progress):
            rates.set(step)
            batch = backbone.collate([texts[i] for i in next(walk).tolist()])
            batch = {name: tensor[:, :max_length] for name, tensor in batch.items()}
            batch["input_ids"], wanted = hide(batch["input_ids"], tokenizer, rate=rate, generator=generator)
            loss = masked_token_loss(backbone, head, {k: v.to(home) for k, v in batch.items()}, wanted.to(home))
            losses.append(training.update(everything, rule, loss, clip=1.0))
    backbone.eval()
    return tuple(losses)


def masked_token_loss(
    backbone: models.TextBackbone, head: MaskedTokenHead, batch: dict[str, Tensor], wanted: Int64[Tensor, "n tokens"]
) -> Float[Tensor, ""]:
    """Mean cross-entropy (nats) at the hidden places. The head is applied there alone: its matrix is the dearest."""
    hidden = backbone.net(**batch).last_hidden_state
    asked = wanted != NOT_ASKED
    return F.cross_entropy(head(hidden[asked]), wanted[asked])
