"""How much of its training text a model gives away: exposure of canaries (Carlini, Liu, Erlingsson, Kos and Song 2019,
arXiv:1802.08232).

A canary is a sentence with a random secret that is put into the training text on purpose. A model that has not seen it
finds it as likely as any other secret of the same form; one that remembers finds it likelier.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tlcourse.foundation.tokenizer import END, Tokenizer
from tlcourse.foundation.transformer import Transformer
from tlcourse.training.evaluation import evaluating


@dataclass(frozen=True)
class CanaryForm:
    """A sentence with one place, {}, for a secret of `length` letters of `alphabet`: the randomness space R."""

    template: str
    length: int
    alphabet: str = "0123456789"

    def __post_init__(self) -> None:
        if self.template.count("{}") != 1:
            raise ValueError(f"template {self.template!r} must have one place for the secret; write {{}} there")
        if self.length < 1 or len(set(self.alphabet)) != len(self.alphabet) or len(self.alphabet) < 2:
            raise ValueError(f"length={self.length}, alphabet={self.alphabet!r}: give 1 or more, and different letters")

    @property
    def size(self) -> int:
        """How many secrets there are, |R|."""
        return len(self.alphabet) ** self.length

    def fill(self, secret: str) -> str:
        """The sentence with a secret. Raises ValueError for one that is not of this form."""
        if len(secret) != self.length or not set(secret) <= set(self.alphabet):
            raise ValueError(f"secret {secret!r} is not {self.length} letters of {self.alphabet!r}")
        return self.template.replace("{}", secret)

    def draw(self, generator: torch.Generator) -> str:
        """A secret at random."""
        picks = torch.randint(len(self.alphabet), (self.length,), generator=generator).tolist()
        return "".join(self.alphabet[i] for i in picks)

    def all(self) -> list[str]:
        """Every secret, in alphabetical order of `alphabet`. Raises ValueError for more than 100,000: sample those."""
        if self.size > 100_000:
            raise ValueError(f"there are {self.size} secrets; compare with a sample, made with draw()")
        return ["".join(letters) for letters in product(self.alphabet, repeat=self.length)]


def exposure(secret: float, others: Float[Tensor, " n"], *, size: int | None = None) -> float:
    """log₂|R| − log₂ rank (Definition 5), in bits: from 0, the least likely secret, to log₂|R|, the likeliest.

    secret: the loss (−log probability) of the inserted one. others: the losses of all the other secrets; of secrets
    that are equally likely it comes last. With `size` = |R| they are a random sample: the share of them that is as
    likely estimates the rank, and no exposure above log₂(n + 1) can be seen.
    Raises ValueError for no others, losses that are not finite, or a size below their number.
    """
    if others.ndim != 1 or len(others) == 0 or not torch.isfinite(others).all() or not math.isfinite(secret):
        raise ValueError("others must be a list of finite losses, at least one, and secret a finite number")
    total = len(others) + 1
    if size is not None and size < total:
        raise ValueError(f"size is {size} and there are {total} secrets here; it is the number of all that could be")
    return math.log2(total) - math.log2(int((others <= secret).sum()) + 1)


@torch.no_grad()
def text_losses(
    model: Transformer, tokenizer: Tokenizer, texts: Sequence[str], *, batch_size: int = 128
) -> Float[Tensor, " n"]:
    """−log p of each text as a whole, in nats (Definition 1, there in bits), as the beginning of a stream.

    Raises ValueError for no text, an empty one, a text longer than the context and a model that is not causal.
    """
    if isinstance(texts, str) or len(texts) == 0 or not all(texts):
        raise ValueError("texts must be a list of texts, none of them empty; put a single text into a list")
    if not model.causal:
        raise ValueError("this model gives no probability of a text; build it with causal=True")
    home = next(model.parameters()).device
    losses = []
    for start in range(0, len(texts), batch_size):
        # Each begins after the end of another text, as in the stream that the model was trained on.
        ids = [torch.tensor([END, *tokenizer.encode(text)]) for text in texts[start : start + batch_size]]
        padded = pad_sequence(ids, batch_first=True, padding_value=-1)
        wanted = padded[:, 1:].to(home)
        with evaluating(model):
            logits = model(padded[:, :-1].clamp(min=0).to(home))
        each = F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-1, reduction="none")
        losses.append(each.sum(dim=1).cpu())
    return torch.cat(losses)


def with_canaries(texts: Sequence[str], canaries: Sequence[str], repeats: Sequence[int], *, seed: int = 0) -> list[str]:
    """The texts with each canary put in so many times, at random places.

    Raises ValueError for lists that do not match or repeats below 0.
    """
    if len(canaries) != len(repeats) or any(r < 0 for r in repeats):
        raise ValueError(f"{len(canaries)} canaries and repeats {list(repeats)}; give 0 or more for each canary")
    everything = [*texts, *(canary for canary, n in zip(canaries, repeats, strict=True) for _ in range(n))]
    order = torch.randperm(len(everything), generator=torch.Generator().manual_seed(seed)).tolist()
    return [everything[i] for i in order]
