"""Continuing a text token by token, greedily or by drawing (temperature: Ackley, Hinton and Sejnowski 1985)."""

from __future__ import annotations

import torch

from tlcourse.foundation.tokenizer import END, Tokenizer
from tlcourse.foundation.transformer import Transformer
from tlcourse.training.evaluation import evaluating


@torch.no_grad()
def continue_text(
    model: Transformer,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    tokens: int = 40,
    temperature: float | int = 1.0,
    seed: int = 0,
) -> str:
    """The prompt and at most `tokens` more, until the text ends.

    Each token is drawn from softmax(logits / temperature); at temperature 0 it is the likeliest.
    Raises ValueError for an empty prompt, fewer than one token, a temperature below 0, a model that is not causal, and
    more tokens than the context holds.
    """
    if not prompt.strip() or tokens < 1 or temperature < 0:
        raise ValueError(
            f"prompt={prompt!r}, tokens={tokens}, temperature={temperature}: give some text, 1 token or more, and a "
            "temperature of 0 or above"
        )
    if not model.causal:
        raise ValueError("this model reads and does not continue; build it with causal=True")
    ids = tokenizer.encode(prompt)
    if len(ids) + tokens > model.context + 1:
        raise ValueError(
            f"the prompt has {len(ids)} tokens, {tokens} more are asked for and the context is {model.context}; "
            "shorten one of them"
        )
    generator = torch.Generator().manual_seed(seed)
    home = next(model.parameters()).device
    for _ in range(tokens):
        with evaluating(model):
            logits = model(torch.tensor([ids], device=home))[0, -1].cpu()
        if temperature == 0:
            token = int(logits.argmax())
        else:
            token = int(torch.multinomial((logits / temperature).softmax(dim=0), 1, generator=generator))
        if token == END:
            break
        ids.append(token)
    return tokenizer.decode(ids)
