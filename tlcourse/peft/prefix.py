"""Prefix tuning: learned keys and values before those of the text, in every layer (Li and Liang 2021,
arXiv:2101.00190)."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from tlcourse.peft.linear import home, parameter
from tlcourse.peft.prompt import (
    TransformerAdapter,
    cached_tokens,
    check_tokens,
    extended,
    find_transformer,
    shift_positions,
    text_count,
)
from tlcourse.peft.shelf import Recipe, attach, bare


class Prefix(TransformerAdapter):
    """Keys and values of `tokens` virtual tokens for every layer (Eq. 3); the text attends to them as to a past.

    They are learned themselves, or computed by a network with a hidden layer of `hidden` units from smaller vectors
    (Section 4.3, P[i] = MLP(P'[i])), which is thrown away after training. Random at the start.
    """

    def __init__(
        self, base: nn.Module, tokens: int, *, hidden: int | None = None, generator: torch.Generator | None = None
    ) -> None:
        super().__init__(base)
        check_tokens(tokens)
        self.shape = key_value_shape(base)
        layers, heads, dim = self.shape
        width = 2 * layers * heads * dim
        self.network: nn.Sequential | None = None
        if hidden is not None:
            self.network = _network(heads * dim, hidden, width, base, generator)
        inputs = width if hidden is None else heads * dim
        self.prefix = parameter(torch.randn(tokens, inputs, generator=generator), like=base)

    def vectors(self) -> Float[Tensor, "tokens width"]:
        """Keys and values of all layers, side by side for each token."""
        return self.prefix if self.network is None else self.network(self.prefix)

    def cache(self, n: int) -> Any:
        """The prefix as the past of n texts, in the form that transformers take it."""
        from transformers import DynamicCache

        layers, heads, dim = self.shape
        past = self.vectors().view(-1, layers, 2, heads, dim).permute(1, 2, 3, 0, 4)
        cache = DynamicCache()
        for number, (keys, values) in enumerate(past[:, :, None].expand(-1, -1, n, -1, -1, -1)):
            cache.update(keys, values, number)
        return cache

    def forward(
        self,
        input_ids: Int[Tensor, "n text"] | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Float[Tensor, "n text dim"] | None = None,
        **inputs: Any,
    ) -> Any:
        """The transformer's output for the text, whose tokens attend to the prefix too.

        Raises ValueError when activations are checkpointed, because transformers then drop the prefix.
        """
        if self.base.training and getattr(self.base, "gradient_checkpointing", False):
            raise ValueError("gradient checkpointing drops the prefix; call model.gradient_checkpointing_disable()")
        n, tokens = text_count(input_ids, inputs_embeds), len(self.prefix)
        shift_positions(inputs, tokens)
        if cached_tokens(inputs) == 0:
            inputs[_cache_argument(self.base)] = self.cache(n)
        if attention_mask is not None:
            attention_mask = extended(attention_mask, tokens)
        return self.base(input_ids=input_ids, inputs_embeds=inputs_embeds, attention_mask=attention_mask, **inputs)


def key_value_shape(transformer: Any) -> tuple[int, int, int]:
    """Number of layers, of heads of keys and values, and the width of a head."""
    config = transformer.config
    heads = config.num_attention_heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return config.num_hidden_layers, getattr(config, "num_key_value_heads", None) or heads, dim


def _network(
    inputs: int, hidden: int, outputs: int, base: nn.Module, generator: torch.Generator | None
) -> nn.Sequential:
    """Linear, tanh, linear, with PyTorch's usual initialisation drawn by `generator`."""
    first, second = (nn.utils.skip_init(nn.Linear, *widths) for widths in ((inputs, hidden), (hidden, outputs)))
    for layer in (first, second):
        bound = layer.in_features**-0.5
        for values in (layer.weight, layer.bias):
            nn.init.uniform_(values, -bound, bound, generator=generator)
    device, dtype = home(base)
    return nn.Sequential(first, nn.Tanh(), second).to(device=device, dtype=dtype)


def _cache_argument(transformer: nn.Module) -> str:
    """What this version of transformers calls the past keys and values. Raises ValueError where there are none."""
    arguments = inspect.signature(transformer.forward).parameters
    for name in ("cache", "past_key_values"):
        if name in arguments:
            return name
    raise ValueError(f"{type(transformer).__name__} takes no keys and values from outside; use inject_prompt instead")


def inject_prefix(
    model: nn.Module, tokens: int, *, hidden: int | None = None, name: str = "default", seed: int = 0
) -> nn.Module:
    """Freeze the model and put a `Prefix` of so many tokens before its transformer.

    `hidden` is the hidden width of the reparameterisation; None learns the prefix itself.
    Returns the model. Raises ValueError when there is no transformer inside, or one that takes no past, and for less
    than one token.
    """
    generator = torch.Generator().manual_seed(seed)
    with bare(model, name):
        spot = find_transformer(model)
        _cache_argument(spot.original)
        layer = Prefix(spot.original, tokens, hidden=hidden, generator=generator)
    return attach(model, {spot: layer}, recipe=Recipe("prefix", {"tokens": tokens}), name=name)
