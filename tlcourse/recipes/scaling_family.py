"""Lesson 08: six sizes of one language model, to fit laws to (about half an hour).

"equal tokens": every size reads the same number of tokens. "equal compute": every size gets the same 6ND, so that large
ones read less. "emergence": small models learn a phone book by heart; digits and whole numbers that are right.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor

from tlcourse import training
from tlcourse.foundation import (
    Tokenizer,
    Transformer,
    count_parameters,
    exact_match,
    nats_per_character,
    next_token_loss,
    pretrain,
    score,
    token_accuracy,
    tokens_for,
    train_bpe,
)
from tlcourse.foundation.pretrain import make_optimizer
from tlcourse.recipes import course_gpt

# width, layers, heads
SIZES = {
    "8x1": (8, 1, 1),
    "16x1": (16, 1, 1),
    "24x2": (24, 2, 2),
    "32x3": (32, 3, 2),
    "48x4": (48, 4, 4),
    "64x4": (64, 4, 4),
}
VOCABULARY, CONTEXT, BATCH = 259, 64, 32
RATE = 0.04  # over the square root of the width
TOKENS = 2_000_000
COMPUTE = (1e11, 4e11)
SEEDS = (0, 1, 2)
HELD_OUT = 200_000  # characters

WIDTHS = (4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 32)
BOOK_SEEDS = (0, 1, 2)
ENTRIES, DIGITS = 100, 6
BOOK_STEPS, BOOK_BATCH, BOOK_RATE = 600, 256, 0.05
NAMES, FIRST_NAME = 10, 13  # a name is two of ten letters; tokens 3 to 12 are the digits


def settings() -> dict[str, Any]:
    """What the numbers depend on. parameters: of each size, the embedding counted once."""
    return {
        "sizes": SIZES,
        "parameters": {name: count_parameters(network(name, seed=0)) for name in SIZES},
        "texts": "the texts of course_gpt",
        "seeds": SEEDS,
        "book_seeds": BOOK_SEEDS,
        "vocabulary": VOCABULARY,
        "context": CONTEXT,
        "batch": BATCH,
        "rate": RATE,
        "tokens": TOKENS,
        "compute": COMPUTE,
        "held_out": HELD_OUT,
        "widths": WIDTHS,
        "entries": ENTRIES,
        "digits": DIGITS,
        "book_steps": BOOK_STEPS,
        "book_batch": BOOK_BATCH,
        "book_rate": BOOK_RATE,
    }


def jobs() -> list[dict[str, Any]]:
    """Every size at equal tokens, at equal compute, and every width of the phone book."""
    tokens = [{"part": "equal tokens", "size": size, "seed": seed} for seed in SEEDS for size in SIZES]
    compute = [
        {"part": "equal compute", "compute": budget, "size": size, "seed": seed}
        for budget in COMPUTE
        for seed in SEEDS
        for size in SIZES
    ]
    book = [{"part": "emergence", "width": width, "seed": seed} for seed in BOOK_SEEDS for width in WIDTHS]
    return tokens + compute + book


def work(job: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Train one model and measure it."""
    if job["part"] == "emergence":
        return recited(job["width"], job["seed"])
    model = network(job["size"], seed=job["seed"])
    parameters = count_parameters(model)
    tokens = TOKENS if job["part"] == "equal tokens" else tokens_for(job["compute"], parameters)
    steps = max(1, round(tokens / (BATCH * CONTEXT)))
    rate = RATE / model.dim**0.5
    losses = pretrain(model, stream("train"), next_token_loss, steps=steps, batch_size=BATCH, lr=rate, seed=job["seed"])
    found = score(model, stream("test"))
    return {
        "parameters": parameters,
        "tokens": steps * BATCH * CONTEXT,
        "rate": round(rate, 5),
        "training_loss": round(sum(losses[-20:]) / len(losses[-20:]), 4),
        "loss": round(nats_per_character(found.losses, held_out()), 5),
        "accuracy": round(float(found.hits.double().mean()), 5),
    }


def network(size: str, *, seed: int) -> Transformer:
    """A model that reads and writes bytes."""
    width, layers, heads = SIZES[size]
    return Transformer(VOCABULARY, context=CONTEXT, width=width, layers=layers, heads=heads, causal=True, seed=seed)


@lru_cache(maxsize=1)
def held_out() -> tuple[str, ...]:
    """Texts of the test part, about HELD_OUT characters of all domains."""
    chosen, total = [], 0
    for text in course_gpt.texts("test"):
        if total >= HELD_OUT:
            break
        chosen.append(text)
        total += len(text) + 1
    return tuple(chosen)


@lru_cache(maxsize=1)
def tokenizer() -> Tokenizer:
    """Single bytes, without a merge."""
    return train_bpe(["any text"], vocabulary=VOCABULARY)


@lru_cache(maxsize=2)
def stream(part: str) -> Tensor:
    """The texts as bytes."""
    return tokenizer().stream(course_gpt.texts("train") if part == "train" else held_out())


def recited(width: int, seed: int, *, steps: int = BOOK_STEPS) -> dict[str, Any]:
    """What a model of one block knows of the phone book: its loss, right digits, and right numbers."""
    book, model = phone_book(seed), reciter(width, seed=seed)
    losses = learn_by_heart(model, book, seed=seed, steps=steps)
    with torch.no_grad():
        logits = answers(model, book)
    hits = logits.argmax(dim=2) == book[:, 2:]
    return {
        "parameters": count_parameters(model),
        "first_loss": round(losses[0], 4),
        "loss": round(F.cross_entropy(logits.flatten(0, 1), book[:, 2:].flatten()).item(), 4),
        "digits": round(token_accuracy(hits), 5),
        "numbers": round(exact_match(hits), 5),
    }


def phone_book(seed: int) -> Int64[Tensor, "entries tokens"]:
    """A name of two letters and a random number for each entry, as tokens."""
    generator = torch.Generator().manual_seed(seed)
    entry = torch.arange(ENTRIES)
    names = torch.stack([entry // NAMES, entry % NAMES], dim=1) + FIRST_NAME
    numbers = torch.randint(3, FIRST_NAME, (ENTRIES, DIGITS), generator=generator)
    return torch.cat([names, numbers], dim=1)


def reciter(width: int, *, seed: int) -> Transformer:
    """One block of this width, with tokens for digits and letters."""
    return Transformer(FIRST_NAME + NAMES, context=1 + DIGITS, width=width, layers=1, heads=1, causal=True, seed=seed)


def learn_by_heart(model: Transformer, book: Tensor, *, seed: int, steps: int = BOOK_STEPS) -> tuple[float, ...]:
    """Train on entries in random order; only the digits are asked for. The loss of each step."""
    home = training.device()
    model.to(home)
    optimizer = make_optimizer(model, lr=BOOK_RATE / model.dim**0.5, weight_decay=0.0)
    rates = training.LearningRates(optimizer, training.warmup(0.1, fall=training.cosine), steps)
    generator = torch.Generator().manual_seed(seed)
    losses = []
    for step in range(steps):
        rates.set(step)
        entries = book[torch.randint(len(book), (BOOK_BATCH,), generator=generator)].to(home)
        loss = F.cross_entropy(answers(model, entries).flatten(0, 1), entries[:, 2:].flatten())
        losses.append(training.update(model, optimizer, loss, clip=1.0))
    model.cpu().eval()
    return tuple(losses)


def answers(model: Transformer, entries: Tensor) -> Tensor:
    """Logits of each digit, given the name and the right digits before it."""
    return model(entries[:, :-1])[:, 1:]


def finish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Nothing to add: the rows are the result."""
