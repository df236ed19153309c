"""Learning from text alone: guess the next token (Radford et al. 2018), or hidden ones (Devlin et al. 2019,
arXiv:1810.04805, Section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from tlcourse import training
from tlcourse.foundation.tokenizer import MASK, SPECIAL
from tlcourse.foundation.transformer import Transformer
from tlcourse.training.evaluation import evaluating

Objective = Callable[[Transformer, Tensor, torch.Generator], Tensor]
"""objective(model, windows of the stream, generator) is a mean loss in nats a token."""
NOT_ASKED = -100
"""Target of a token that has no say in the loss: PyTorch's cross-entropy leaves it out."""


def windows(
    stream: Int64[Tensor, " tokens"], *, length: int, batch: int, generator: torch.Generator
) -> Int64[Tensor, "batch length"]:
    """Pieces of the stream that begin anywhere. Raises ValueError when the stream is shorter than one."""
    if len(stream) < length:
        raise ValueError(f"the stream has {len(stream)} tokens and a window {length}; give more text")
    starts = torch.randint(len(stream) - length + 1, (batch,), generator=generator)
    return stream[starts[:, None] + torch.arange(length)]


def next_token_loss(
    model: Transformer, ids: Int64[Tensor, "n tokens"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """−mean log p(token | tokens before it): every place asks for the token after it. Nothing is drawn.

    Raises ValueError for a model that sees the answer.
    """
    if not model.causal:
        raise ValueError("this model looks at the tokens that it would have to guess; build it with causal=True")
    logits = model(ids[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten())


def masked_token_loss(
    model: Transformer, ids: Int64[Tensor, "n tokens"], generator: torch.Generator
) -> Float[Tensor, ""]:
    """−mean log p(token | the text with some tokens corrupted), over those tokens alone.

    Raises ValueError for a causal model, which would have to guess from one side.
    """
    if model.causal:
        raise ValueError("this model sees only what is before a hidden token; build it with causal=False")
    inputs, targets = corrupt(ids, vocabulary=model.vocabulary, generator=generator)
    asked = targets != NOT_ASKED
    # The head costs as much as a block or two, so it is applied to the hidden places only.
    logits = F.linear(model.hidden(inputs)[asked], model.tokens.weight)
    return F.cross_entropy(logits, targets[asked])


def corrupt(
    ids: Int64[Tensor, "n tokens"], *, vocabulary: int, generator: torch.Generator, rate: float = 0.15
) -> tuple[Int64[Tensor, "n tokens"], Int64[Tensor, "n tokens"]]:
    """What a masked language model reads, and what it has to say; `NOT_ASKED` where it is not asked.

    Each token is chosen with probability `rate`, special ones never, and one at least. Of the chosen, 80 % become
    `MASK`, 10 % a random token, and 10 % stay: at test time there is no mask, so the model must not count on one.
    Raises ValueError unless 0 < rate < 1, and for a batch of special tokens alone.
    """
    if not 0 < rate < 1:
        raise ValueError(f"rate is {rate}; give the share of tokens to hide, between 0 and 1, for example 0.15")
    ordinary = ids >= len(SPECIAL)
    if not ordinary.any():
        raise ValueError("ids hold special tokens alone; there is nothing to hide")
    draw = torch.rand(ids.shape, generator=generator).to(ids.device).masked_fill(~ordinary, 1.0)
    chosen = (draw < rate) | (draw == draw.min())
    fate = torch.rand(ids.shape, generator=generator).to(ids.device)
    other = torch.randint(len(SPECIAL), vocabulary, ids.shape, generator=generator).to(ids.device)
    inputs = torch.where(chosen & (fate < 0.8), MASK, ids)
    inputs = torch.where(chosen & (fate >= 0.9), other, inputs)
    return inputs, ids.masked_fill(~chosen, NOT_ASKED)


def pretrain(
    model: Transformer,
    stream: Int64[Tensor, " tokens"],
    objective: Objective,
    *,
    steps: int,
    batch_size: int = 32,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    warmup: float = 0.05,
    clip: float = 1.0,
    seed: int = 0,
    progress: bool = False,
) -> tuple[float, ...]:
    """Train on random windows of the stream, in place; the loss of each step. The model ends in evaluation mode.

    AdamW; the rate goes up over the share `warmup` of the steps, then down along a cosine. `seed` draws the windows
    and what the objective draws. Raises ValueError for fewer than one step, or a stream shorter than a window.
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}; train for at least 1")
    from tqdm.auto import trange

    home = training.device()
    model.to(home).train()
    optimizer = make_optimizer(model, lr=lr, weight_decay=weight_decay)
    rates = training.LearningRates(optimizer, training.warmup(warmup, fall=training.cosine), steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for step in trange(steps, disable=not progress):
        rates.set(step)
        ids = windows(stream, length=window_length(model), batch=batch_size, generator=generator).to(home)
        losses.append(training.update(model, optimizer, objective(model, ids, generator), clip=clip))
    model.eval()
    return tuple(losses)


def window_length(model: Transformer) -> int:
    """Tokens of a window: what the model can read, and for a causal one the token after it."""
    return model.context + int(model.causal)


def make_optimizer(model: Transformer, *, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that shrinks matrices, not biases and norms (GPT-3, Brown et al. 2020, appendix B, uses the same 0.95)."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95), fused=True)


@dataclass(frozen=True, eq=False)
class Scores:
    """How a causal model did on each token of a stream but the first: the loss in nats, and whether its likeliest
    guess was right."""

    losses: Float[Tensor, " n"]
    hits: Bool[Tensor, " n"]

    @property
    def perplexity(self) -> float:
        """exp(mean loss): as unsure as between so many equally likely tokens."""
        return math.exp(float(self.losses.double().mean()))


@torch.no_grad()
def score(model: Transformer, stream: Int64[Tensor, " tokens"], *, batch_size: int = 32) -> Scores:
    """Loss and hit of every token but the first, read in windows that follow each other without a gap.

    A window knows nothing of the one before it, so that the first tokens of each are harder than they would have to be.
    Raises ValueError for a model that is not causal, or fewer than two tokens.
    """
    if not model.causal or len(stream) < 2:
        raise ValueError("scores of next tokens need a model with causal=True and a stream of two tokens or more")
    inputs, targets = stream[:-1], stream[1:]
    whole = len(inputs) // model.context * model.context
    pieces = [piece for piece in (inputs[:whole].view(-1, model.context), inputs[None, whole:]) if piece.numel()]
    losses, hits = [], []
    done = 0
    with evaluating(model.to(training.device())):
        for ids in (part for piece in pieces for part in piece.split(batch_size)):
            logits = model(ids.to(training.device())).flatten(0, 1).cpu()
            wanted = targets[done : done + ids.numel()]
            losses.append(F.cross_entropy(logits, wanted, reduction="none"))
            hits.append(logits.argmax(dim=1) == wanted)
            done += ids.numel()
    return Scores(torch.cat(losses), torch.cat(hits))


def nats_per_character(losses: Float[Tensor, " n"], texts: Sequence[str]) -> float:
    """The loss of a whole stream by its characters, which does not depend on how the tokenizer cuts.

    The mark at the end of a text counts as one character. Divide by log 2 for bits.
    """
    return float(losses.double().sum()) / (sum(map(len, texts)) + len(texts))


def bits(nats: float) -> float:
    """Nats in bits."""
    return nats / math.log(2)
